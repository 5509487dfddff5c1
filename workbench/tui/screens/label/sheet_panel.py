"""The pictures that lie before a labeller, as large as their number allows; or why there are none."""

from __future__ import annotations

from pathlib import Path

from textual.app import ComposeResult
from textual.widget import Widget
from textual.widgets import Static

from workbench.tui.pictures.tile_drawing import Tile
from workbench.tui.pictures.tiling import Tiling, tiling_of
from workbench.tui.screens.label import captions
from workbench.tui.screens.label.label_sheet import GLANCE, Desk
from workbench.tui.text import plain_lines
from workbench.tui.themes import palette_of
from workbench.tui.widgets.tiles import TileGrid

_LEAST_TILE = (17, 9)
"""Cells of a tile below which eyes and ears are not told apart."""
_FEWER = (1, 3, 9)
"""How many times fewer pictures there are at each step of `z`."""
LEVELS = len(_FEWER)


class SheetPanel(Widget):
    """Draws the sheet of a desk; the grid says where the cursor is and what was clicked."""

    DEFAULT_CSS = """
    SheetPanel { width: 1fr; height: 1fr; }
    SheetPanel > #empty { display: none; height: 1fr; padding: 2 4; max-width: 100; }
    SheetPanel.-empty > #empty { display: block; }
    SheetPanel.-empty > #grid { display: none; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._desk: Desk | None = None
        self._folder: Path | None = None
        self._level = 0

    def compose(self) -> ComposeResult:
        """The grid, and what stands in its place."""
        yield TileGrid(plan=self._plan, id="grid", classes="first-focus")
        yield Static(id="empty", markup=False)

    @property
    def grid(self) -> TileGrid:
        """The pictures."""
        return self.query_one("#grid", TileGrid)

    @property
    def at_once(self) -> int:
        """How many pictures one can judge here, as large as they are wanted."""
        return -(-_capacity(self.size.width, self.size.height) // _FEWER[self._level])

    def show(self, desk: Desk, folder: Path | None, level: int, cursor: int) -> None:
        """Show the desk's sheet; the pictures of its next one are read after those.

        Args:
            folder: holds the images; None where none is open.
            level: how often pictures were made larger, below `LEVELS`.
            cursor: the image that it stands on.
        """
        self._desk, self._folder, self._level = desk, folder, level
        sheet = desk.sheet
        is_empty = sheet is None and (folder is None or desk.is_done)
        if is_empty:
            told = captions.NO_FOLDER if folder is None else captions.EMPTY
            if folder is not None and not desk.listing:
                told = captions.NO_IMAGES
            self.query_one("#empty", Static).update(plain_lines(told))
        self.set_class(is_empty, "-empty")
        ahead = desk.ahead.images if desk.ahead is not None and folder is not None else ()
        then = [folder / image.path for image in ahead] if folder is not None else []
        self.grid.show(len(sheet.images) if sheet is not None else 0, self._tile, cursor, then=then)

    def _plan(self, width: int, height: int, pictures: bool) -> Tiling:
        sheet = self._desk.sheet if self._desk is not None else None
        shown = len(sheet.images) if sheet is not None else 1
        wanted = -(-min(shown, _capacity(width, height)) // _FEWER[self._level])
        return tiling_of(max(1, wanted), width, height, captions=captions.lines_of(sheet), pictures=pictures)

    def _tile(self, index: int) -> Tile:
        desk, folder = self._desk, self._folder
        assert desk is not None
        assert folder is not None
        sheet = desk.sheet
        assert sheet is not None
        image = sheet.images[index]
        words = captions.tile_caption(image, sheet, desk, palette_of(self.app.theme))
        is_out = image.path not in sheet.ticked and not sheet.kind.is_list
        return Tile(folder / image.path, words, image.path, faint=is_out)


def _capacity(width: int, height: int) -> int:
    return min(GLANCE, max(1, width // _LEAST_TILE[0]) * max(1, height // _LEAST_TILE[1]))
