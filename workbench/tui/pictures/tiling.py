"""How thumbnails lie in a place on the screen: columns, rows, pages, and where a step of the cursor leads."""

from __future__ import annotations

from dataclasses import dataclass

CAPTION_LINES = 3
_NARROW, _WIDE = 16, 20
"""Cells across a tile in a place of fewer than `_ROOMY` columns, and in a wider one."""
_ROOMY = 96
_SHAPE = 0.75  # height to width of most photographs
_LEAST = 0.8


@dataclass(frozen=True, slots=True)
class Tiling:
    """A grid of tiles; each has a cell for the cursor's mark, a picture and its caption below."""

    columns: int
    rows: int
    tile_width: int
    """Cells, with the mark's."""
    picture_rows: int
    """Lines of a picture; one, for a name, where no pictures are drawn."""

    @property
    def per_page(self) -> int:
        """Tiles on the screen at a time."""
        return self.columns * self.rows

    @property
    def picture_columns(self) -> int:
        """Cells across a picture."""
        return self.tile_width - 1

    @property
    def tile_height(self) -> int:
        """Lines of a tile."""
        return self.picture_rows + CAPTION_LINES

    def first_on_page(self, index: int) -> int:
        """The first tile of the page that holds a tile."""
        return index - index % self.per_page

    def at(self, x: int, y: int) -> int | None:
        """The tile at a cell, counted from the page's first; None between and below them."""
        column, row = x // self.tile_width, y // self.tile_height
        return row * self.columns + column if column < self.columns and row < self.rows else None


def tiling(width: int, height: int, *, pictures: bool = True) -> Tiling:
    """Tiles of a size at which pets are told apart, as many as fit; at least one.

    Args:
        pictures: without them a tile is a name and its caption.
    """
    columns = max(1, width // (_NARROW if width < _ROOMY else _WIDE))
    tile_width = max(2, width // columns)
    if not pictures:
        return Tiling(columns, max(1, height // (CAPTION_LINES + 1)), tile_width, 1)
    wanted = max(2, round((tile_width - 1) * _SHAPE / 2))
    rows = max(1, height // (wanted + CAPTION_LINES))
    if height // (rows + 1) - CAPTION_LINES >= _LEAST * wanted:  # one more row of slightly smaller ones
        rows += 1
    picture_rows = max(1, min(height // rows - CAPTION_LINES, round(1.4 * wanted)))
    return Tiling(columns, rows, tile_width, picture_rows)
