"""How thumbnails lie in a place on the screen: columns, rows, pages, and where a step of the cursor leads."""

from __future__ import annotations

from dataclasses import dataclass

CAPTION_LINES = 3
"""Below a picture, at most and where nothing else is said."""
_SLIM, _NARROW, _WIDE = 16, 26, 20
"""Cells across a tile in a place beside something else, on a small screen, and on a wide one.

On a small screen six at a time: at 5 × 2 of 80 × 24 a cat's face is four cells."""
_ASIDE, _ROOMY = 60, 96
"""Places of fewer columns are the former two."""
_BROAD = 24
"""Tiles of this width and more have room for the caption's last two lines side by side."""
_LARGER = (1.0, 1.6, 2.6)
"""Widths by zoom: 3, 2 and 1 columns on a small screen, 5, 3 and 2 on a wide one."""
LARGEST = len(_LARGER) - 1
_SHAPE = 0.75  # height to width of most photographs
_LEAST = 0.75  # of that, for one more row
_SLACK = 0.3  # of a column: rather tiles that are a little narrower than one column fewer
_SMALLEST = (13, 4)
"""Cells of a tile's width and lines of a picture below which a face is a few dots."""


@dataclass(frozen=True, slots=True)
class Tiling:
    """A grid of tiles; each has a cell for the cursor's mark, a picture and its caption below."""

    columns: int
    rows: int
    tile_width: int
    """Cells, with the mark's."""
    picture_rows: int
    """Lines of a picture; one, for a name, where no pictures are drawn."""
    caption_lines: int = CAPTION_LINES
    """Lines below it; where a caption has one more, its last two share one."""

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
        return self.picture_rows + self.caption_lines

    def first_on_page(self, index: int) -> int:
        """The first tile of the page that holds a tile."""
        return index - index % self.per_page

    def at(self, x: int, y: int) -> int | None:
        """The tile at a cell, counted from the page's first; None between and below them."""
        column, row = x // self.tile_width, y // self.tile_height
        return row * self.columns + column if column < self.columns and row < self.rows else None


def tiling(width: int, height: int, *, pictures: bool = True, zoom: int = 0) -> Tiling:
    """Tiles of a size at which pets are told apart, as many as fit; at least one.

    Args:
        pictures: without them a tile is a name and its caption.
        zoom: 0 … `LARGEST`, fewer and larger tiles.
    """
    wide = _SLIM if width < _ASIDE else _NARROW if width < _ROOMY else _WIDE
    if not pictures:
        columns = max(1, width // min(wide, _WIDE))
        return Tiling(columns, max(1, height // (CAPTION_LINES + 1)), max(2, width // columns), 1)
    columns = max(1, int(width / (wide * _LARGER[zoom]) + _SLACK))
    tile_width = max(2, width // columns)
    caption = CAPTION_LINES - (tile_width >= _BROAD)
    wanted = max(2, round((tile_width - 1) * _SHAPE / 2))
    rows = max(1, height // (wanted + caption))
    if height // (rows + 1) - caption >= _LEAST * wanted:  # one more row of slightly smaller ones
        rows += 1
    picture_rows = max(1, min(height // rows - caption, round(1.4 * wanted)))
    return Tiling(columns, rows, tile_width, picture_rows, caption)


def tiling_of(count: int, width: int, height: int, *, captions: int, pictures: bool = True) -> Tiling:
    """All of `count` tiles on one page, as large as that allows; pages of the usual size where it does not.

    Args:
        captions: lines below each picture, up to `CAPTION_LINES`.
        pictures: without them a tile is a name and its caption.
    """
    best: tuple[float, Tiling] | None = None
    for columns in range(1, max(1, count) + 1):
        rows = -(-max(1, count) // columns)
        tile_width, picture_rows = width // columns, height // rows - captions
        if tile_width < _SMALLEST[0] or picture_rows < (_SMALLEST[1] if pictures else 1):
            continue
        across = min(tile_width - 1, picture_rows * 2 / _SHAPE)  # of a photograph of the usual shape
        if best is None or across > best[0]:
            lines = picture_rows if pictures else 1
            best = across, Tiling(columns, rows, tile_width, lines, captions)
    if best is not None:
        return best[1]
    return tiling(width, height, pictures=pictures)
