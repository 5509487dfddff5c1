"""A grid of thumbnails with captions, a page at a time, and a cursor that goes through all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import events, on, work
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget
from textual.worker import get_current_worker

from workbench.tui.pictures.blocks import draw
from workbench.tui.pictures.image_protocol import Protocol, chosen_drawing
from workbench.tui.pictures.thumbnails import Thumbnails
from workbench.tui.pictures.tile_drawing import Drawn, Painter, Tile
from workbench.tui.pictures.tiling import CAPTION_LINES, LARGEST, Tiling, tiling
from workbench.tui.themes import palette_of

_KEPT_PICTURES = 2_000
_BATCH_SECONDS = 0.03  # pictures that are ready within this are drawn at once


class TileGrid(Widget, can_focus=True):
    """Shows `count` tiles, made one by one as they come into sight.

    Arrows move by tiles and rows, page up and down by screens, home and end to the first and last; a click
    moves there. Pictures are read in a thread and appear as they are ready.
    """

    DEFAULT_CSS = "TileGrid { width: 1fr; height: 1fr; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "step('left')", "left", show=False),
        Binding("right", "step('right')", "right", show=False),
        Binding("up", "step('up')", "up", show=False),
        Binding("down", "step('down')", "down", show=False),
        Binding("pageup,ctrl+b", "step('pageup')", "page before", show=False),
        Binding("pagedown,ctrl+f", "step('pagedown')", "next page", show=False),
        Binding("home", "step('home')", "first", show=False),
        Binding("end,G", "step('end')", "last", show=False),
    ]

    @dataclass
    class _OfGrid(Message):
        grid: TileGrid

        @property
        def control(self) -> TileGrid:
            """The grid, for `@on` with a selector."""
            return self.grid

    @dataclass
    class Moved(_OfGrid):
        """The cursor stands on another tile."""

        index: int

    @dataclass
    class Opened(_OfGrid):
        """The tile under the cursor was clicked once more."""

        index: int

    @dataclass
    class Clicked(_OfGrid):
        """A tile was clicked; the cursor stands on it now, wherever it was before."""

        index: int

    @dataclass
    class Paged(_OfGrid):
        """Other tiles are in sight: those from `first` on, `count` of them."""

        first: int
        count: int

    @dataclass
    class _Read(Message):
        drawn: dict[Path, Drawn]
        size: tuple[int, int]

    def __init__(
        self,
        *,
        plan: Callable[[int, int, bool], Tiling] | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        """`plan`: how tiles lie in so many columns and rows, with pictures or without; default `tiling`."""
        super().__init__(id=id, classes=classes)
        drawing = chosen_drawing()
        self._plan = plan
        self._pictures = drawing.protocol is not Protocol.OFF
        self._thumbnails = Thumbnails(blocks=drawing.blocks)
        self._zoom = 0
        self._count, self._cursor = 0, 0
        self._tile: Callable[[int], Tile] = _no_tile
        self._tiles: list[Tile] = []
        self._then: tuple[Path, ...] = ()
        self._page = (0, 0)
        self._read: dict[tuple[Path, int, int], Drawn] = {}
        self._painter: Painter | None = None

    # What it shows

    @property
    def cursor(self) -> int:
        """The tile under the cursor."""
        return self._cursor

    @property
    def tiling(self) -> Tiling:
        """How the tiles lie at the present size."""
        place = max(1, self.size.width), max(1, self.size.height)
        if self._plan is not None:
            return self._plan(*place, self._pictures)
        return tiling(*place, pictures=self._pictures, zoom=self._zoom)

    @property
    def zoom(self) -> int:
        """How large the tiles are without a plan: 0, as many as can be judged, to `LARGEST`."""
        return self._zoom

    @zoom.setter
    def zoom(self, zoom: int) -> None:
        self._zoom = max(0, min(zoom, LARGEST))
        self._turn()

    @property
    def in_sight(self) -> range:
        """The tiles on the page."""
        first = self.tiling.first_on_page(self._cursor)
        return range(first, min(first + self.tiling.per_page, self._count))

    @property
    def is_complete(self) -> bool:
        """Whether every picture in sight is there, or told why it is not."""
        size = (self.tiling.picture_columns, self.tiling.picture_rows)
        return all(tile.path is None or (tile.path, *size) in self._read for tile in self._tiles)

    def forget_pictures(self) -> None:
        """Have every picture read again when it is next needed; benchmarks time that."""
        self._read.clear()

    def show(
        self, count: int, tile: Callable[[int], Tile], cursor: int = 0, *, then: Sequence[Path] = ()
    ) -> None:
        """Show other tiles; `tile` makes the one at an index, and the files `then` are read after them."""
        self._count, self._tile, self._then = count, tile, tuple(then)
        self._cursor = max(0, min(cursor, count - 1))
        self._turn()

    def again(self) -> None:
        """Make the tiles in sight anew: what they say has changed."""
        self._turn()

    def move_to(self, index: int) -> None:
        """Put the cursor there, and say so where it was elsewhere."""
        index = max(0, min(index, self._count - 1))
        if index == self._cursor or not self._count:
            return
        self._cursor = index
        if self.in_sight != range(*self._page):
            self._turn()
        self.refresh()
        self.post_message(self.Moved(self, index))

    def on_resize(self) -> None:
        """The grid fits itself anew around the cursor."""
        self._turn()

    def _turn(self) -> None:
        if not self.size.width or not self.size.height:
            return
        sight = self.in_sight
        self._tiles = [self._tile(index) for index in sight]
        self.refresh()
        if (sight.start, sight.stop) != self._page:
            self._page = (sight.start, sight.stop)
            self.post_message(self.Paged(self, sight.start, len(sight)))
        if self._pictures:
            ahead = range(sight.stop, min(sight.stop + len(sight), self._count))
            wanted = [*self._tiles, *(self._tile(index) for index in ahead)]
            size = (self.tiling.picture_columns, self.tiling.picture_rows)
            files = [*(tile.path for tile in wanted if tile.path is not None), *self._then]
            paths = [path for path in dict.fromkeys(files) if (path, *size) not in self._read]
            if paths:
                self._fetch(paths, size)

    # Pictures

    @work(thread=True, exclusive=True, group="thumbnails")
    def _fetch(self, paths: Sequence[Path], size: tuple[int, int]) -> None:
        worker = get_current_worker()
        ready: dict[Path, Drawn] = {}
        posted = time.monotonic()
        for found in self._thumbnails.many(paths, *size, stopped=lambda: worker.is_cancelled):
            lines = None if found.pixels is None else draw(found.pixels)
            ready[found.path] = found.reason if lines is None else [Strip(line, len(line)) for line in lines]
            if time.monotonic() - posted > _BATCH_SECONDS:
                self.post_message(self._Read(ready, size))
                ready, posted = {}, time.monotonic()
        if ready:
            self.post_message(self._Read(ready, size))

    @on(_Read)
    def _take(self, message: _Read) -> None:
        message.stop()
        if len(self._read) > _KEPT_PICTURES:
            self._read.clear()
        self._read.update({(path, *message.size): drawn for path, drawn in message.drawn.items()})
        self.refresh()

    # Drawing

    def render_lines(self, crop: Region) -> list[Strip]:
        """The lines of a region; what they have in common is looked up once."""
        self._painter = Painter(self.rich_style, palette_of(self.app.theme), self.app.console)
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        """One line of the page."""
        painter, lay = self._painter, self.tiling
        if painter is None:
            return Strip.blank(self.size.width)
        row, line = divmod(y, lay.tile_height)
        strips: list[Strip] = []
        if row < lay.rows:
            first = row * lay.columns
            for place, tile in enumerate(self._tiles[first : first + lay.columns], first):
                is_cursor = self.can_focus and self._page[0] + place == self._cursor
                strips += painter.line(
                    tile, self._drawn(tile, lay), line, lay, is_cursor=is_cursor, focused=self.has_focus
                )
        return Strip.join(strips).adjust_cell_length(self.size.width, painter.base)

    def _drawn(self, tile: Tile, lay: Tiling) -> Drawn:
        if tile.path is None or not self._pictures:
            return tile.name
        return self._read.get((tile.path, lay.picture_columns, lay.picture_rows), "")

    # Moving

    def action_step(self, where: str) -> None:
        """Move the cursor; a step down from the page's last row leads to the next page."""
        lay = self.tiling
        steps = {
            "left": -1,
            "right": 1,
            "up": -lay.columns,
            "down": lay.columns,
            "pageup": -lay.per_page,
            "pagedown": lay.per_page,
            "home": -self._count,
            "end": self._count,
        }
        goal = self._cursor + steps[where]
        if where == "up" and goal < 0:
            return
        if (
            where == "down"
            and goal >= self._count
            and self._cursor // lay.columns == (self._count - 1) // lay.columns
        ):
            return
        self.move_to(goal)

    def on_click(self, event: events.Click) -> None:
        """Move there; a click on the cursor opens."""
        place = self.tiling.at(event.x, event.y)
        if place is None or self._page[0] + place >= self._count:
            return
        index = self._page[0] + place
        if index == self._cursor:
            self.post_message(self.Opened(self, index))
        else:
            self.move_to(index)
        self.post_message(self.Clicked(self, index))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """A row down."""
        event.stop()
        self.action_step("down")

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """A row up."""
        event.stop()
        self.action_step("up")


def _no_tile(_index: int) -> Tile:
    return Tile(None, (Text(),) * CAPTION_LINES, "")
