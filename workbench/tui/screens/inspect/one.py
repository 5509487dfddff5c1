"""One image large: the picture, what is known of it, its most probable classes, its nearest neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult, RenderResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from workbench.dataset.review import Correction
from workbench.runs.choices import Likely
from workbench.runs.opinions import Opinion
from workbench.tui.pictures.tile_drawing import Tile
from workbench.tui.screens.inspect.helped import Neighbour
from workbench.tui.screens.inspect.words import bars, facts, share
from workbench.tui.text import plain, plain_lines
from workbench.tui.themes import palette_of
from workbench.tui.widgets.picture import Picture
from workbench.tui.widgets.tiles import TileGrid


@dataclass(frozen=True, slots=True)
class Shown:
    """What the panel shows of an image."""

    opinion: Opinion
    correction: Correction | None
    likely: tuple[Likely, ...]
    picture: Path | None
    """The image's file, or what was drawn over it."""
    caption: str
    """What was drawn over it, or that it is being computed; empty for the plain image."""
    no_picture: str
    """Why there is no picture."""
    size: str
    """Of the file, in words."""


class OnePanel(Widget, can_focus=True):
    """Beside the grid, or in its place; left and right go to the images before and after."""

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

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._near_said = ""

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

    def show(self, shown: Shown | None) -> None:
        """Show an image; None empties the panel."""
        colours = palette_of(self.app.theme)
        photo = self.query_one(Picture)
        if shown is None:
            photo.show(None)
            self.query_one("#facts", Static).update("", layout=False)
            self.query_one(Bars).show((), None)
            return
        caption = Text(shown.caption, style=colours.muted) if shown.caption else None
        photo.show(shown.picture, caption=caption, words=shown.no_picture)
        about = facts(shown.opinion, shown.correction, shown.size, colours)
        self.query_one("#facts", Static).update(about, layout=False)
        self.query_one(Bars).show(shown.likely, shown.opinion)

    def show_neighbours(
        self, opinion: Opinion, near: Sequence[Neighbour], said: str, files: Mapping[str, Path]
    ) -> None:
        """The nearest labelled images, under a line that says what they are or why there are none."""
        if said != self._near_said:  # its height may change, and with it the layout
            self._near_said = said
            self.query_one("#near-title", Static).update(plain_lines(said))
        colours = palette_of(self.app.theme)

        def tile(index: int) -> Tile:
            one = near[index]
            if one.label == opinion.true:
                style = colours.good
            else:
                style = colours.accent if one.label == opinion.said else ""
            caption = (
                plain(one.label, f"bold {style}".strip()),
                Text(share(one.similarity)),
                plain(one.id, colours.muted),
            )
            return Tile(files.get(one.id), caption, one.id)

        self.query_one("#near", TileGrid).show(len(near), tile)

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
