"""A matrix as coloured half-cells: two of its rows in a line of the screen, or blocks of a large one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len, set_cell_size
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from workbench.tui.themes import Palette

Ramp = NDArray[np.uint8]
"""(256, 3) uint8; 0 is nothing, 255 is the most."""
SHADES = " ░▒▓█"
_GENTLE = 0.5  # exponent on shares: one image of a hundred must be seen beside a diagonal of ninety
_LABEL_WIDTHS = (8, 22)  # cells for row names: not fewer, not more
_LARGEST_CELL = 6  # cells across


@lru_cache(maxsize=32)
def ramp(start: str, *stops: str) -> Ramp:
    """The colours from `start` through `stops`, `#rrggbb`, equally far apart, mixed in linear light."""
    anchors = np.array([_linear(colour) for colour in (start, *stops)])
    places = np.linspace(0, 1, len(anchors))
    mixed = np.stack([np.interp(np.linspace(0, 1, 256), places, anchors[:, i]) for i in range(3)], axis=1)
    return _frozen(np.rint(255 * mixed ** (1 / 2.2)).astype(np.uint8))


def right_ramp(background: str) -> Ramp:
    """For the diagonal: blue, the more the lighter on dark ground and the deeper on light ground."""
    if _is_dark(background):
        return ramp(_step(background, 0.10), "#1f5f8b", "#56b4e9", "#c9ecff")
    return ramp(_step(background, 0.06), "#9ccdea", "#2b7fb8", "#003a63")


def wrong_ramp(background: str) -> Ramp:
    """For errors: orange; blue against orange holds for red-green and blue-yellow blindness alike."""
    if _is_dark(background):
        return ramp(_step(background, 0.06), "#8a4a00", "#e69f00", "#fff0b8")
    return ramp(_step(background, 0.04), "#f0c070", "#c86400", "#5c1f00")


def diverging_ramp(background: str) -> Ramp:
    """For differences: 0 is most less (blue), 128 no difference (the background), 255 most more (orange)."""
    less = right_ramp(background)[::2][::-1]
    more = wrong_ramp(background)[::2]
    return _frozen(np.concatenate([less, more]))


def _frozen(table: Ramp) -> Ramp:
    table.setflags(write=False)
    return table


def _linear(colour: str) -> tuple[float, float, float]:
    red, green, blue = ((int(colour[i : i + 2], 16) / 255) ** 2.2 for i in (1, 3, 5))
    return red, green, blue


def _is_dark(colour: str) -> bool:
    return sum(int(colour[i : i + 2], 16) for i in (1, 3, 5)) < 3 * 128


def _step(colour: str, share: float) -> str:
    """A little towards white from a dark colour, else towards black: an empty cell is seen as one."""
    target = 255 if _is_dark(colour) else 0
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(part + (target - part) * share):02x}" for part in parts)


@dataclass(frozen=True, slots=True, eq=False)
class HeatData:
    """What a heat map shows.

    Values are shares of their row; a diverging map shows them as they are, equally far both ways.
    """

    values: NDArray[np.float64]
    """(R, C) float64. NaN: nothing to show, as in the row of a class without images."""
    row_names: tuple[str, ...]
    column_names: tuple[str, ...]
    diverging: bool = False

    @property
    def has_diagonal(self) -> bool:
        """Whether rows and columns are the same classes in the same order, so that the diagonal is right."""
        return not self.diverging and self.row_names == self.column_names


EMPTY_HEAT = HeatData(np.zeros((0, 0)), (), ())


@dataclass(frozen=True, slots=True)
class Fit:
    """How a matrix lies on the screen, in tiles."""

    tile_width: int
    """Cells."""
    tile_height: int
    """Half-lines; in shades whole lines, counted as two."""
    block: int
    """Rows and columns of the matrix that share a tile."""
    row: int
    """First tile shown."""
    column: int
    rows: int
    """Tiles shown."""
    columns: int
    label_width: int

    def tile_at(self, x: int, y: int, upper: bool = True) -> tuple[int, int] | None:
        """The tile (row, column) at a cell; `upper`: in its upper half."""
        column = (x - self.label_width) // self.tile_width
        row = (2 * y + (not upper)) // self.tile_height
        if x < self.label_width or not (0 <= column < self.columns and 0 <= row < self.rows):
            return None
        return self.row + row, self.column + column


def fit(
    rows: int, columns: int, width: int, height: int, cursor: tuple[int, int], *, shades: bool, overview: bool
) -> Fit:
    """The largest tiles with which an R by C matrix fits; where even the smallest do not, a part or blocks.

    A half-line is about as high as a cell is wide, so tiles are square or twice as wide as high: 37 classes
    take 74 cells by 19 lines. Without `overview` a matrix that is too large is shown in part, around
    `cursor`; with it, blocks of rows and columns share a tile.
    """
    unit = 2 if shades else 1
    block = 1
    if overview:
        block = max(1, -(-rows * unit // max(1, 2 * height)), -(-columns // max(1, width)))
    tall, across = -(-rows // block), -(-columns // block)
    tile_height = max(unit, 2 * height // max(1, tall) // unit * unit)
    tile_width = max(1, min(width // max(1, across), 2 * tile_height, _LARGEST_CELL))
    tile_height = max(unit, min(tile_height, 2 * tile_width) // unit * unit)
    label_width = 0
    if tile_height >= 2 and block == 1 and tile_height * tall <= 2 * height:
        if tile_width > 2 and width - tile_width * across < _LABEL_WIDTHS[0]:
            tile_width -= 1  # narrower tiles with names tell more than wider ones without
        spare = width - tile_width * across
        label_width = min(_LABEL_WIDTHS[1], spare) if spare >= _LABEL_WIDTHS[0] else 0
    shown_rows = min(tall, max(1, 2 * height // tile_height))
    shown_columns = min(across, max(1, (width - label_width) // tile_width))
    return Fit(
        tile_width=tile_width,
        tile_height=tile_height,
        block=block,
        row=_first(cursor[0] // block, shown_rows, tall),
        column=_first(cursor[1] // block, shown_columns, across),
        rows=shown_rows,
        columns=shown_columns,
        label_width=label_width,
    )


def _first(cursor: int, shown: int, total: int) -> int:
    """The first tile of a part that holds the cursor in its middle where the edges allow."""
    return min(max(0, cursor - shown // 2), max(0, total - shown))


def tiles_of(data: HeatData, block: int) -> NDArray[np.float64]:
    """The matrix, or its blocks: each the value furthest from zero in it, so that no error is lost."""
    values = np.nan_to_num(data.values, nan=0.0)
    if block == 1:
        return values
    rows, columns = (-(-size // block) for size in values.shape)
    padded = np.zeros((rows * block, columns * block))
    padded[: values.shape[0], : values.shape[1]] = values
    blocks = padded.reshape(rows, block, columns, block)
    high, low = blocks.max(axis=(1, 3)), blocks.min(axis=(1, 3))
    return np.asarray(np.where(-low > high, low, high))


def strength(data: HeatData, tiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """How strongly each tile is coloured: [0, 1], or [-1, 1] in a diverging map.

    The diagonal is measured by 1; errors and differences by the greatest of them, so that the worst is
    always in full colour.
    """
    if data.diverging:
        most = float(np.abs(tiles).max(initial=0.0)) or 1.0
        return np.asarray(np.sign(tiles) * (np.abs(tiles) / most) ** _GENTLE)
    errors = np.clip(tiles, 0.0, None)
    if not data.has_diagonal:
        return np.asarray((errors / (float(errors.max(initial=0.0)) or 1.0)) ** _GENTLE)
    diagonal = np.equal.outer(np.arange(tiles.shape[0]), np.arange(tiles.shape[1]))
    most = float(errors[~diagonal].max(initial=0.0)) or 1.0
    return np.asarray(np.where(diagonal, np.clip(tiles, 0.0, 1.0), (errors / most) ** _GENTLE))


def draw_heat(
    data: HeatData, place: Fit, cursor: tuple[int, int] | None, palette: Palette, height: int, *, shades: bool
) -> list[Strip]:
    """The heat map as `height` lines. The cursor's tile is in the text colour, its row and column lit."""
    tiles = tiles_of(data, place.block)
    amounts = strength(data, tiles)
    rows = slice(place.row, place.row + place.rows)
    columns = slice(place.column, place.column + place.columns)
    at = None
    if cursor is not None:
        at = (cursor[0] // place.block - place.row, cursor[1] // place.block - place.column)
    if shades:
        lines = _shaded(data, amounts[rows, columns], place, at)
    else:
        colours = _colours(data, amounts, palette)[rows, columns]
        if at is not None:
            _light(colours, at, palette)
        lines = _half_cells(colours, place)
    names = _names(data.row_names[rows], place, at, palette)
    blank = Strip.blank(place.label_width + place.columns * place.tile_width)
    strips = [Strip([*names[i], *line]) for i, line in enumerate(lines[:height])]
    return strips + [blank] * (height - len(strips))


def _colours(data: HeatData, amounts: NDArray[np.float64], palette: Palette) -> NDArray[np.uint8]:
    """(R, C, 3) uint8."""
    ground = palette.background
    if data.diverging:
        return diverging_ramp(ground)[np.rint(127.5 + 127.5 * amounts).astype(np.intp)].copy()
    levels = np.rint(255 * amounts).astype(np.intp)
    colours = wrong_ramp(ground)[levels].copy()
    if data.has_diagonal:
        diagonal = np.arange(min(amounts.shape))
        colours[diagonal, diagonal] = right_ramp(ground)[levels[diagonal, diagonal]]
    return colours


def _light(colours: NDArray[np.uint8], at: tuple[int, int], palette: Palette) -> None:
    """A faint cross-hair, and the tile itself in the colour of text."""
    text = np.array([int(palette.text[i : i + 2], 16) for i in (1, 3, 5)], dtype=np.float64)
    for line in (colours[at[0], :], colours[:, at[1]]):
        line[:] = np.rint(line * 0.84 + text * 0.16).astype(np.uint8)
    colours[at] = text.astype(np.uint8)


def _half_cells(colours: NDArray[np.uint8], place: Fit) -> list[list[Segment]]:
    """Lines of `▀`: the upper half in the foreground, the lower in the background."""
    halves = np.repeat(colours, place.tile_height, axis=0)
    lines = []
    for top in range(0, len(halves), 2):
        upper = halves[top].tolist()
        lower = halves[top + 1].tolist() if top + 1 < len(halves) else None
        lines.append(_line(upper, lower, place.tile_width))
    return lines


def _line(upper: list[list[int]], lower: list[list[int]] | None, width: int) -> list[Segment]:
    segments: list[Segment] = []
    start = 0
    count = len(upper)
    for i in range(1, count + 1):
        same = i < count and upper[i] == upper[start] and (lower is None or lower[i] == lower[start])
        if not same:
            fore = Color.from_rgb(*upper[start])
            back = Color.from_rgb(*lower[start]) if lower is not None else None
            segments.append(Segment("▀" * ((i - start) * width), Style(color=fore, bgcolor=back)))
            start = i
    return segments


def _shaded(
    data: HeatData, amounts: NDArray[np.float64], place: Fit, at: tuple[int, int] | None
) -> list[list[Segment]]:
    """Lines of shade characters; less than nothing is written with `-` in place of the lightest shades."""
    lines = []
    for row, values in enumerate(amounts.tolist()):
        segments = []
        for column, value in enumerate(values):
            character = _shade(abs(value))
            text = ("-" + character * place.tile_width)[: place.tile_width] if value < 0 else ""
            style = Style(reverse=True) if (row, column) == at else Style()
            segments.append(Segment(text or character * place.tile_width, style))
        lines += [segments] * (place.tile_height // 2)
    return lines


def _shade(amount: float) -> str:
    """Blank for nothing at all; anything else at least the lightest shade."""
    return SHADES[0] if amount <= 0 else SHADES[min(4, 1 + int(amount * 3.999))]


def _names(
    names: Sequence[str], place: Fit, at: tuple[int, int] | None, palette: Palette
) -> dict[int, list[Segment]]:
    """Row names by line; a tile of several lines carries its name once."""
    count = -(-place.rows * place.tile_height // 2)
    blank = [Segment(" " * place.label_width)] if place.label_width else []
    found = dict.fromkeys(range(count), blank)
    if not place.label_width:
        return found
    room = place.label_width - 1
    for i, name in enumerate(names):
        fitting = name if cell_len(name) <= room else set_cell_size(name, room - 1) + "…"
        text = " " * (room - cell_len(fitting)) + fitting
        chosen = at is not None and at[0] == i
        style = Style(color=palette.text if chosen else palette.muted, bold=chosen)
        # A tile of three half-lines begins within a line: its name is on the first line that is all its own.
        found[-(-i * place.tile_height // 2)] = [Segment(f"{text} ", style)]
    return found
