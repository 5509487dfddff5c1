"""One picture, as large as its place allows: by Kitty's protocol, by Sixel, in blocks, or as words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from rich.segment import Segment
from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.containers import Container
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Static

from workbench.support.units import human_bytes
from workbench.tui.pictures.blocks import Blocks, draw, fit, shrink
from workbench.tui.pictures.image_protocol import Drawing, Protocol, chosen_drawing
from workbench.tui.text import plain

if TYPE_CHECKING:
    from PIL.Image import Image
    from textual_image.widget import SixelImage, TGPImage

_LARGEST_SIDE = 1600  # pixels: more than a terminal shows even through Kitty's protocol


class Picture(Widget):
    """A picture in its proportions, centred, with a caption below; files are read off the event loop.

    What cannot be read leaves the reason in its place. Under `--images off` the file's name and size stand
    there.
    """

    DEFAULT_CSS = """
    Picture { layout: vertical; width: 1fr; height: 1fr; }
    Picture > Cells { width: 1fr; height: 1fr; }
    Picture > #room { width: 1fr; height: 1fr; align: center middle; }
    Picture > #room > * { width: auto; height: auto; }
    Picture > #words { width: 1fr; height: 1fr; content-align: center middle; color: $text-muted; }
    Picture > #words { display: none; }
    Picture > #caption { width: 1fr; height: auto; text-align: center; display: none; }
    Picture.-words > #words { display: block; }
    Picture.-words > Cells, Picture.-words > #room { display: none; }
    """

    @dataclass
    class Ready(Message):
        """A file was read, or could not be; `reason` says why then."""

        path: Path
        image: Image | None
        reason: str

    def __init__(
        self, *, drawing: Drawing | None = None, id: str | None = None, classes: str | None = None
    ) -> None:
        """`drawing`: the way to draw; default what was chosen for this terminal at start."""
        super().__init__(id=id, classes=classes)
        self._drawing = drawing or chosen_drawing()
        self._canvas: Cells | TGPImage | SixelImage | None = None
        self._path: Path | None = None
        self._caption: Text | None = None

    def compose(self) -> ComposeResult:
        """The canvas that goes with the protocol; beneath it the caption."""
        match self._drawing.protocol:
            case Protocol.CELLS:
                self._canvas = Cells(self._drawing.blocks)
                yield self._canvas
            case Protocol.KITTY | Protocol.SIXEL:
                self._canvas = _graphic(self._drawing.protocol)
                yield Container(self._canvas, id="room")
            case Protocol.OFF:
                pass
            case _:
                assert_never(self._drawing.protocol)
        yield Static(id="words", markup=False)
        yield Static(id="caption", markup=False)

    def show(
        self, image: Path | Image | None, *, caption: Text | None = None, words: str | Text = ""
    ) -> None:
        """Show a file or an image in memory in place of what is there; None leaves `words`, or nothing.

        While a file is being read the picture before it stays, so that going through many does not flicker.
        """
        if caption != self._caption:
            self._caption = caption
            below = self.query_one("#caption", Static)
            below.update(caption or "")
            below.display = caption is not None
        if isinstance(image, Path):
            self._path = image
            self._read(image)
            return
        self._path = None
        if image is None:
            self._say(plain(words) if isinstance(words, str) else words)
        else:
            self._draw(image)

    @work(thread=True, exclusive=True, group="picture")
    def _read(self, path: Path) -> None:
        self.post_message(self.Ready(path, *read_picture(path)))

    @on(Ready)
    def _take(self, message: Ready) -> None:
        message.stop()
        if message.path != self._path:
            return
        if self._canvas is None or message.image is None:
            self._say(_in_words(message))
        else:
            self._draw(message.image)

    def _draw(self, image: Image) -> None:
        if self._canvas is None:
            self._say(plain(f"{image.width} × {image.height}"))
            return
        self.remove_class("-words")
        self._canvas.image = image

    def _say(self, words: Text) -> None:
        if self._canvas is not None:
            self._canvas.image = None
        self.query_one("#words", Static).update(words)
        self.add_class("-words")


class Cells(Widget):
    """An image drawn in block characters, centred, anew at every size."""

    def __init__(self, blocks: Blocks) -> None:
        super().__init__()
        self._blocks = blocks
        self._image: Image | None = None
        self._lines: list[list[Segment]] = []
        self._drawn_for: tuple[int, int] = (0, 0)

    @property
    def image(self) -> Image | None:
        """What is shown."""
        return self._image

    @image.setter
    def image(self, image: Image | None) -> None:
        self._image = image
        self._drawn_for = (0, 0)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """One row of cells."""
        width, height = self.size
        if self._image is None:
            return Strip.blank(width, self.rich_style)
        if self._drawn_for != (width, height):
            cells = fit(self._image.size, width, height)
            self._lines = draw(shrink(self._image, *cells, self._blocks))
            self._drawn_for = (width, height)
        row = y - (height - len(self._lines)) // 2
        if not 0 <= row < len(self._lines):
            return Strip.blank(width, self.rich_style)
        line = Strip(self._lines[row])
        left = (width - line.cell_length) // 2
        right = width - left - line.cell_length
        return Strip.join([Strip.blank(left, self.rich_style), line, Strip.blank(right, self.rich_style)])


def read_picture(path: Path) -> tuple[Image | None, str]:
    """The file as a picture of at most 1600 pixels a side; or None and the reason."""
    from PIL import Image as Pillow

    from workbench.dataset.probe import UnreadableImage, decode_image

    try:
        image = Pillow.fromarray(decode_image(path))
    except UnreadableImage as error:
        return None, error.reason
    image.thumbnail((_LARGEST_SIDE, _LARGEST_SIDE))
    return image, ""


def _graphic(protocol: Protocol) -> TGPImage | SixelImage:
    from textual_image import widget

    return widget.TGPImage() if protocol is Protocol.KITTY else widget.SixelImage()


def _in_words(message: Picture.Ready) -> Text:
    name = plain(message.path.name, "bold")
    if message.image is None:
        return Text("\n").join([name, plain(message.reason)])
    size = plain(f"{message.image.width} × {message.image.height}")
    try:
        size.append(f", {human_bytes(message.path.stat().st_size)}")
    except OSError:
        size.append(", gone")
    return Text("\n").join([name, size])
