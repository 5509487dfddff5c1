"""One image large: the picture, what is known of it, its most probable classes, its nearest neighbours."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult, RenderResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from workbench.dataset.review import Correction
from workbench.runs.opinion_columns import Opinion
from workbench.runs.opinions import Likely
from workbench.tui.pictures.tile_drawing import Tile
from workbench.tui.screens.inspect.captions import bars, facts, share
from workbench.tui.screens.inspect.explanations import Explanations, Nearest, Neighbour, Saliency
from workbench.tui.screens.inspect.material import ImageFiles, size_words
from workbench.tui.text import plain, plain_lines
from workbench.tui.themes import Palette, palette_of
from workbench.tui.widgets.picture import Picture
from workbench.tui.widgets.tiles import TileGrid

_SETTLE_SECONDS = 0.3
"""An image is left again sooner than this by someone who pages through; no process is started for it."""


@dataclass(frozen=True, slots=True)
class ImageView:
    """What the panel shows of an image."""

    opinion: Opinion
    correction: Correction | None
    likely: tuple[Likely, ...]
    files: ImageFiles
    """Where this image lies, and those that are near."""
    ahead: tuple[str, ...]
    """This image and the next ones: their neighbours are found at once."""
    by_teacher: bool
    """Whose word it is: the teacher's, else the final model's."""
    is_large: bool
    """Whether it has the place of the grid; a saliency map is drawn only there."""
    has_room: bool
    """Whether neighbours are shown without being asked for."""

    @property
    def path(self) -> Path | None:
        """The image's file; None where it is not on this machine."""
        return self.files.paths.get(self.opinion.id)


class ImagePanel(Widget, can_focus=True):
    """Beside the grid, or in its place; left and right go to the images before and after.

    What explains the network's word on the image is looked for when it is wanted, and shown when it is there.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,up", "step(-1)", "image before", show=False),
        Binding("right,down", "step(1)", "next image", show=False),
        Binding("pageup", "step(-10)", "ten before", show=False),
        Binding("pagedown", "step(10)", "ten on", show=False),
    ]

    @dataclass
    class Step(Message):
        """The image so many places on is wanted."""

        by: int

    @dataclass
    class Measured(Message):
        """A file's header was read."""

        path: Path
        size: str

    def __init__(self, explanations: Explanations, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._explanations = explanations
        self._view: ImageView | None = None
        self._with_saliency = False
        self._with_nearest: bool | None = None
        """None: where there is room."""
        self._near_words = ""
        self._sizes: dict[Path, str] = {}

    def compose(self) -> ComposeResult:
        """The picture, and everything in words beside or below it."""
        yield Picture(id="photo")
        with Vertical(id="about"):
            yield Static(id="facts", markup=False)
            yield Bars(id="bars")
            yield Static(id="near-title", markup=False)
            near = TileGrid(id="near")
            near.can_focus = False
            yield near

    # What is shown

    def turn_saliency(self) -> bool:
        """Show the saliency map, or no longer; what failed is tried again. Whether it is shown now."""
        self._with_saliency = not self._with_saliency
        if self._with_saliency:
            self._explanations.forget_failures()
        return self._with_saliency

    def turn_nearest(self, has_room: bool) -> bool:
        """Show the neighbours, or no longer; what failed is tried again. Whether they are shown now."""
        self._with_nearest = not self._shows_nearest(has_room)
        self._explanations.forget_failures()
        return self._with_nearest

    def _shows_nearest(self, has_room: bool) -> bool:
        return has_room if self._with_nearest is None else self._with_nearest

    def show(self, view: ImageView | None) -> None:
        """Show an image; None empties the panel."""
        self._view = view
        if view is None:
            self.query_one(Picture).show(None)
            self.query_one("#facts", Static).update("", layout=False)
            self.query_one(Bars).show((), None)
        else:
            self._draw(view)

    def _draw(self, view: ImageView) -> None:
        """Draw what is known by now; have the rest looked for."""
        colours, path = palette_of(self.app.theme), view.path
        saliency = self._saliency(view)
        caption = Text(saliency.words, style=colours.muted) if saliency.words else None
        photo = self.query_one(Picture)
        photo.show(saliency.picture or path, caption=caption, words=view.files.why_no_picture)
        size = self._size_words(path) if path is not None else ""
        about = facts(view.opinion, view.correction, size, colours)
        self.query_one("#facts", Static).update(about, layout=False)
        self.query_one(Bars).show(view.likely, view.opinion)
        near = self._nearest(view)
        if near.words != self._near_words:  # its height may change, and with it the layout
            self._near_words = near.words
            self.query_one("#near-title", Static).update(plain_lines(near.words))
        tile = partial(_near_tile, near.neighbours, view, colours)
        self.query_one("#near", TileGrid).show(len(near.neighbours), tile)

    def _draw_again(self) -> None:
        if self._view is not None:
            self._draw(self._view)

    # What explains it

    def _saliency(self, view: ImageView) -> Saliency:
        if not self._with_saliency or not view.is_large or view.path is None:
            return Saliency(None, "")
        found = self._explanations.saliency(view.opinion.id, teacher=view.by_teacher)
        if found.to_draw:
            self._draw_saliency(view.opinion.id, view.by_teacher)
        return found

    @work(exclusive=True, group="saliency", exit_on_error=False)
    async def _draw_saliency(self, image: str, teacher: bool) -> None:
        await asyncio.sleep(_SETTLE_SECONDS)
        await self._explanations.draw_saliency(image, teacher=teacher)
        self._draw_again()

    def _nearest(self, view: ImageView) -> Nearest:
        is_on = self._shows_nearest(view.has_room)
        self.set_class(is_on, "-near")
        if not is_on:
            return Nearest((), "n  nearest labelled images")
        found = self._explanations.nearest(view.opinion.id)
        if found.to_find:
            self._find_neighbours(view.ahead)
        return found

    @work(exclusive=True, group="neighbours", exit_on_error=False)
    async def _find_neighbours(self, images: Sequence[str]) -> None:
        await asyncio.sleep(_SETTLE_SECONDS)
        await self._explanations.find_neighbours(images)
        self._draw_again()

    # The file

    def _size_words(self, path: Path) -> str:
        """Of a file, in words; empty until its header was read."""
        if path not in self._sizes:
            self._sizes[path] = ""
            self._measure(path)
        return self._sizes[path]

    @work(thread=True, group="measure")
    def _measure(self, path: Path) -> None:
        self.post_message(self.Measured(path, size_words(path)))

    @on(Measured)
    def _measured(self, message: Measured) -> None:
        message.stop()
        self._sizes[message.path] = message.size
        if self._view is not None and self._view.path == message.path:
            self._draw(self._view)

    def action_step(self, by: int) -> None:
        """Ask for another image."""
        self.post_message(self.Step(by))


class Bars(Widget):
    """The five most probable classes, as wide as there is room."""

    DEFAULT_CSS = "Bars { height: 5; width: 1fr; }"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._likely: tuple[Likely, ...] = ()
        self._opinion: Opinion | None = None

    def show(self, likely: Sequence[Likely], opinion: Opinion | None) -> None:
        """Show other classes."""
        self._likely, self._opinion = tuple(likely), opinion
        self.refresh()

    def render(self) -> RenderResult:
        if self._opinion is None:
            return Text()
        return bars(self._likely, self._opinion, palette_of(self.app.theme), self.size.width)


def _near_tile(near: Sequence[Neighbour], view: ImageView, colours: Palette, index: int) -> Tile:
    one = near[index]
    if one.label == view.opinion.true:
        style = colours.good
    else:
        style = colours.accent if one.label == view.opinion.said else ""
    words = (
        plain(one.label, f"bold {style}".strip()),
        Text(share(one.similarity)),
        plain(one.id, colours.muted),
    )
    return Tile(view.files.paths.get(one.id), words, one.id)
