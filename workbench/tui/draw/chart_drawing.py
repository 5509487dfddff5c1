"""A line chart in braille: axes with round ticks, curves, marks, levels, a cursor and a legend that reads it.

Colour is never alone: curves of one dash also carry a marker each, in the plot and in the legend.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from workbench.tui.draw.chart_curves import (
    ChartData,
    ChartView,
    Curve,
    CurveCache,
    Frame,
    Spans,
    column_spans,
    frame_of,
)
from workbench.tui.draw.ticks import value_label
from workbench.tui.themes import Palette

MARKERS = "●▲■◆○△□◇▼▽◈◍✚✖◉◎◐◑◒◓"  # no star: that is the baseline's
_MARKER_EVERY = 9  # cells between two markers of a curve
_SMALLEST = (16, 4)
_PLAIN, _AXIS, _TITLE, _CURSOR = range(4)
_FIRST_SERIES = 4
ACROSS, DOWN = 2, 4
"""Dots in a cell."""
_BLANK = 0x2800
# Bit of each dot, rows top to bottom, columns left to right (Unicode 15, section 21.1).
_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], dtype=np.uint16)


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """The lines and where the plot is in them."""

    strips: list[Strip]
    frame: Frame | None
    """None where there is nothing to show or no room for it."""


def draw_chart(
    data: ChartData, view: ChartView, width: int, height: int, palette: Palette, cache: CurveCache
) -> Drawing:
    """The chart as `height` lines of `width` cells."""
    grid = Grid(width, height)
    styles = _Styles(palette, data)
    if width < _SMALLEST[0] or height < _SMALLEST[1]:
        grid.write(0, 0, data.title, _TITLE)
        return Drawing(grid.strips(styles.all), None)
    curves = cache.curves(data.series, smoothing=view.smoothing, log_y=view.log_y)
    frame = frame_of(data, view, curves, width, height)
    markers = _markers(data)
    _write_legend(grid, data, view, frame, curves, markers, styles)
    if frame is None:
        _write_empty(grid, data.absence)
        return Drawing(grid.strips(styles.all), None)
    _write_axes(grid, data, frame)
    _draw_levels(grid, data, frame, styles)
    _draw_marks(grid, data, frame)
    cursor = frame.column(view.cursor) if view.cursor is not None else None
    if cursor is not None:
        _fill_blank(grid, frame, slice(cursor, cursor + 1), slice(None), "│", _CURSOR)
    for curve in curves:
        _draw_curve(grid, frame, curve, view.log_y, markers, styles)
    _label_levels(grid, data, frame, styles)
    return Drawing(grid.strips(styles.all), frame)


class _Styles:
    """The numbers of the styles: four of the frame, then a clear and a faint one a series colour."""

    def __init__(self, palette: Palette, data: ChartData) -> None:
        background = palette.background
        colours = [*(s.colour for s in data.series), *(level.colour for level in data.levels)]
        self.all = [
            Style(),
            Style(color=palette.muted),
            Style(color=palette.text, bold=True),
            Style(color=palette.text),
        ]
        self._of: dict[tuple[int, bool], int] = {}
        for colour in dict.fromkeys(colours):
            clear = palette.series_colour(colour)
            for faint in (False, True):
                self._of[colour, faint] = len(self.all)
                self.all.append(Style(color=_between(clear, background, 0.62) if faint else clear))

    def of(self, colour: int, faint: bool = False) -> int:
        return self._of[colour, faint]


def _between(first: str, second: str, share: float) -> str:
    """`share` of the way from one `#rrggbb` to another."""
    pairs = [(int(first[i : i + 2], 16), int(second[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def _markers(data: ChartData) -> dict[int, str]:
    """A marker for each clear series, by its place; none where the dashes tell them apart."""
    clear = [i for i, series in enumerate(data.series) if not series.faint]
    dashes = [data.series[i].dash for i in clear]
    if len(set(dashes)) == len(dashes):
        return {}
    return {i: MARKERS[order % len(MARKERS)] for order, i in enumerate(clear)}


def _write_legend(
    grid: Grid,
    data: ChartData,
    view: ChartView,
    frame: Frame | None,
    curves: list[Curve],
    markers: dict[int, str],
    styles: _Styles,
) -> None:
    """The title, then a sample and the name of each curve; with a cursor the values under it."""
    column = grid.write(0, 0, data.title, _TITLE)
    if view.log_y:
        column = grid.write(column, 0, " log", _AXIS)
    if frame is not None and view.cursor is not None:
        column = grid.write(column, 0, f" @{frame.x_text(view.cursor)}", _CURSOR)
    named = [(i, series) for i, series in enumerate(data.series) if not series.faint]
    room = grid.width - column
    # Names give way before values do: a crowded legend keeps what the cursor reads.
    longest = max(3, room // max(1, len(named)) - (9 if view.cursor is not None else 4))
    for place, series in named:
        sample = markers.get(place, "─" if series.dash == "solid" else "┄")
        name = series.name if len(series.name) <= longest else series.name[: longest - 1] + "…"
        column = grid.write(column + 2, 0, sample, styles.of(series.colour))
        column = grid.write(column + 1, 0, name, _AXIS if view.cursor is not None else _PLAIN)
        if view.cursor is not None:
            curve = next(c for c in curves if c.place == place and not c.faint)
            point = curve.nearest(view.cursor)
            if point is not None:
                column = grid.write(column + 1, 0, value_label(point[1], data.y_format), _CURSOR)


def _write_empty(grid: Grid, words: str) -> None:
    words = words[: grid.width]
    grid.write((grid.width - len(words)) // 2, grid.height // 2, words, _AXIS)


def _write_axes(grid: Grid, data: ChartData, frame: Frame) -> None:
    x_label = data.x_label
    edge = frame.left - 1
    for row in range(frame.rows):
        grid.write(edge, frame.top + row, "│", _AXIS)
    for value, label in zip(frame.y_ticks, frame.y_labels, strict=True):
        row = frame.row(value)
        grid.write(edge - len(label), frame.top + row, label, _AXIS)
        grid.write(edge, frame.top + row, "┤", _AXIS)
    bottom = frame.top + frame.rows
    grid.write(edge, bottom, "└" + "─" * frame.columns, _AXIS)
    labels_row = bottom + 1 if frame.has_label_row else bottom
    place = frame.left + frame.columns - len(x_label)
    grid.write(place, labels_row, x_label, _AXIS)
    _write_marks(grid, data, frame)
    blank = " ─"
    written = frame.left - 2
    for value, label in zip(frame.x_ticks, frame.x_labels, strict=True):
        column = frame.column(value)
        if column is None:
            continue
        start = max(frame.left, frame.left + column - len(label) // 2)
        if start <= written or start + len(label) >= place:
            continue
        around = grid.characters[labels_row, max(frame.left, start - 1) : start + len(label) + 1]
        if any(character not in blank for character in around.tolist()):
            continue
        if frame.has_label_row and grid.characters[bottom, frame.left + column] == "─":
            grid.write(frame.left + column, bottom, "┬", _AXIS)
        written = grid.write(start, labels_row, label, _AXIS)


def _write_marks(grid: Grid, data: ChartData, frame: Frame) -> None:
    """The marks' names in the axis, where no curve hides them; names that would collide are left out."""
    bottom = frame.top + frame.rows
    written = -1
    for mark in data.marks:
        column = frame.column(mark.x)
        if column is None or column < written:
            continue
        grid.write(frame.left + column, bottom, "┴", _AXIS)
        end = column + 1 + len(mark.label)
        limit = frame.columns - (0 if frame.has_label_row else len(data.x_label) + 1)
        if end <= limit:
            grid.write(frame.left + column + 1, bottom, mark.label, _CURSOR)
            written = end


def _draw_levels(grid: Grid, data: ChartData, frame: Frame, styles: _Styles) -> None:
    for level in data.levels:
        if frame.shows(level.y):
            row = frame.row(level.y)
            _fill_blank(grid, frame, slice(None), slice(row, row + 1), "┄", styles.of(level.colour))


def _label_levels(grid: Grid, data: ChartData, frame: Frame, styles: _Styles) -> None:
    """Names at the left end, above their lines: that is where curves that rise have not been yet."""
    for level in data.levels:
        if not frame.shows(level.y):
            continue
        row = max(0, frame.row(level.y) - 1)
        text = f"{level.label} {value_label(level.y, data.y_format)}"[: frame.columns]
        blanks = "".join(grid.characters[frame.top + row, frame.left : frame.left + frame.columns].tolist())
        start = blanks.find(" " * (len(text) + 1))
        if start >= 0:
            grid.write(frame.left + start, frame.top + row, text, styles.of(level.colour))


def _draw_marks(grid: Grid, data: ChartData, frame: Frame) -> None:
    for mark in data.marks:
        column = frame.column(mark.x)
        if column is not None:
            _fill_blank(grid, frame, slice(column, column + 1), slice(None), "┊", _AXIS)


def _fill_blank(grid: Grid, frame: Frame, columns: slice, rows: slice, character: str, style: int) -> None:
    """Put a character where the plot is still blank."""
    plot, styles = _plot(grid, frame)
    blank = plot[rows, columns] == " "
    plot[rows, columns][blank] = character
    styles[rows, columns][blank] = style


def _plot(grid: Grid, frame: Frame) -> tuple[NDArray[np.str_], NDArray[np.int16]]:
    rows = slice(frame.top, frame.top + frame.rows)
    columns = slice(frame.left, frame.left + frame.columns)
    return grid.characters[rows, columns], grid.styles[rows, columns]


def _draw_curve(
    grid: Grid, frame: Frame, curve: Curve, log_y: bool, markers: dict[int, str], styles: _Styles
) -> None:
    across = frame.columns * ACROSS
    spans = column_spans(curve.x, curve.y, frame.start, frame.end, across)
    low, high = frame.low, frame.high
    if log_y:
        spans = Spans(np.log10(spans.low), np.log10(spans.high))
        low, high = math.log10(low), math.log10(high)
    dots = dots_of(spans, low, high, frame.rows * DOWN)
    if curve.series.dash == "dotted":
        dots = dotted(dots)
    cells = cells_of(dots)
    inked = cells > 0
    plot, numbers = _plot(grid, frame)
    # A cell that two curves share keeps both their dots, in the upper one's colour.
    codes = np.ascontiguousarray(plot).view(np.uint32)
    below = np.where((codes > 0x2800) & (codes < 0x2900), codes - 0x2800, 0).astype(np.uint16)
    plot[inked] = characters_of(np.where(inked, cells | below, 0).astype(np.uint16))[inked]
    numbers[inked] = styles.of(curve.series.colour, curve.faint)
    _mark_off_scale(plot, numbers, spans, (low, high), styles.of(curve.series.colour, curve.faint))
    marker = "" if curve.faint else markers.get(curve.place, "")
    if marker:
        _put_markers(plot, numbers, dots, marker, curve.place, styles.of(curve.series.colour))


def _mark_off_scale(
    plot: NDArray[np.str_],
    numbers: NDArray[np.int16],
    spans: Spans,
    y_range: tuple[float, float],
    style: int,
) -> None:
    """`▴` and `▾` at the edge where the curve goes on beyond it."""
    with np.errstate(invalid="ignore"):
        beyond = ((0, spans.high > y_range[1], "▴"), (len(plot) - 1, spans.low < y_range[0], "▾"))
    for row, columns, sign in beyond:
        cells = columns.reshape(-1, ACROSS).any(axis=1)
        plot[row, cells] = sign
        numbers[row, cells] = style


def _put_markers(
    plot: NDArray[np.str_],
    numbers: NDArray[np.int16],
    dots: NDArray[np.bool_],
    marker: str,
    place: int,
    style: int,
) -> None:
    """A marker on the line every few cells, each curve's at other columns, and on its last cell."""
    reached = np.flatnonzero(dots.any(axis=0)) // ACROSS
    if not len(reached):
        return
    first, last = int(reached[0]), int(reached[-1])
    for column in {*range(first + (2 * place) % _MARKER_EVERY, last, _MARKER_EVERY), last}:
        inked = np.flatnonzero(dots[:, column * ACROSS : (column + 1) * ACROSS].any(axis=1))
        if len(inked):
            row = int(inked[len(inked) // 2]) // DOWN
            plot[row, column] = marker
            numbers[row, column] = style


class Grid:
    """Characters one cell wide, each with the number of its style.

    Attributes:
        characters: (H, W) str of one character.
        styles: (H, W) int16, indices into the styles given to `strips`; 0 is plain.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.characters: NDArray[np.str_] = np.full((height, width), " ", dtype="<U1")
        self.styles: NDArray[np.int16] = np.zeros((height, width), dtype=np.int16)

    def write(self, column: int, row: int, text: str, style: int = 0) -> int:
        """Put `text` there, cut at the edges; returns the column after it.

        Characters that are not one cell wide are shown as `?`, so that a line keeps its length.
        """
        if not 0 <= row < self.height:
            return column
        for character in text:
            if 0 <= column < self.width:
                self.characters[row, column] = character if cell_len(character) == 1 else "?"
                self.styles[row, column] = style
            column += 1
        return column

    def strips(self, styles: Sequence[Style]) -> list[Strip]:
        """The lines, top first: a segment for every stretch of one style."""
        return [self._strip(row, styles) for row in range(self.height)]

    def _strip(self, row: int, styles: Sequence[Style]) -> Strip:
        text = "".join(self.characters[row].tolist())
        numbers = self.styles[row]
        starts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), self.width]
        segments = [
            Segment(text[start:end], styles[int(numbers[start])])
            for start, end in pairwise(starts)
            if end > start
        ]
        return Strip(segments, self.width)


def dots_of(spans: Spans, low: float, high: float, rows: int) -> NDArray[np.bool_]:
    """The dots that `spans` cover on an axis from `low` (bottom) to `high`.

    Args:
        rows: dot rows.

    Returns:
        (rows, columns) bool; what lies outside the axis is cut off.
    """
    scale = (rows - 1) / (high - low)
    with np.errstate(invalid="ignore"):
        bottom = np.rint((spans.low - low) * scale)
        top = np.rint((spans.high - low) * scale)
        level = np.arange(rows - 1, -1, -1, dtype=np.float64)[:, None]
        return np.asarray((level >= bottom) & (level <= top))


def dotted(dots: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Every second pair of dot columns left out, so that a line without colour is told from a solid one."""
    keep = (np.arange(dots.shape[1]) // 2) % 2 == 0
    return np.asarray(dots & keep)


def cells_of(dots: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """The braille pattern of each cell, 0 where it has no dot.

    Args:
        dots: (4·H, 2·W) bool.

    Returns:
        (H, W) uint16.
    """
    rows, columns = dots.shape[0] // DOWN, dots.shape[1] // ACROSS
    blocks = dots.reshape(rows, DOWN, columns, ACROSS)
    cells: NDArray[np.uint16] = np.einsum("rdca,da->rc", blocks.astype(np.uint16), _BITS)
    return cells


def characters_of(cells: NDArray[np.uint16]) -> NDArray[np.str_]:
    """(H, W) patterns as characters; blank cells are spaces."""
    codes = np.where(cells == 0, ord(" "), cells.astype(np.uint32) + _BLANK).astype(np.uint32)
    return np.ascontiguousarray(codes).view("<U1")
