"""A line chart's geometry and curves: ranges, ticks and cells, and values made ready to draw."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from workbench.support.units import human_seconds
from workbench.tui.draw.ticks import Format, linear_ticks, log_ticks, tick_labels

Dash = Literal["solid", "dotted"]


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """A curve."""

    name: str
    x: NDArray[np.float64]
    """(N,) float64; need not be in order. Points that are not finite are left out."""
    y: NDArray[np.float64]
    """(N,) float64."""
    colour: int
    """Index into the theme's series colours."""
    dash: Dash = "solid"
    faint: bool = False
    """Drawn dim, beneath the others, and left out of the legend and the cursor."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A vertical line, such as where a round begins."""

    x: float
    label: str


@dataclass(frozen=True, slots=True)
class Level:
    """A horizontal line, such as the teacher's accuracy."""

    y: float
    label: str
    colour: int


@dataclass(frozen=True, slots=True, eq=False)
class ChartData:
    """One chart."""

    title: str
    series: tuple[Series, ...]
    marks: tuple[Mark, ...] = ()
    levels: tuple[Level, ...] = ()
    x_label: str = "epoch"
    y_format: Format = "number"
    absence: str = "no values yet"
    """What is said where there is nothing to draw."""


@dataclass(frozen=True, slots=True)
class ChartView:
    """How a person looks at it."""

    log_y: bool = False
    smoothing: float = 0.0
    """In [0, 1); the raw curve stays as a faint one."""
    window: tuple[float, float] | None = None
    """The part of the x axis that is shown; None for all of it."""
    cursor: float | None = None
    """Where values are read, on the x axis."""


EMPTY_CHART = ChartData("", ())


_STEPS_ACROSS = 1000.0
Floats = NDArray[np.float64]
_KEPT = 128  # prepared curves: twenty runs, raw and smoothed, before and after a change


def smoothed(x: Floats, y: Floats, weight: float) -> Floats:
    """The debiased exponential moving average of `y`.

    The past keeps `weight` for every unit of x: the usual distance of two points, but at least a
    thousandth of the range, so that thinning a long curve does not change how smooth it is. Dividing by
    the sum of the weights so far removes the pull towards zero at the start (Kingma and Ba 2015, section
    3).

    Args:
        x, y: (N,) float64, finite, x ascending.
        weight: in [0, 1); 0 changes nothing.

    Returns:
        (N,) float64.
    """
    if weight <= 0 or len(y) < 3 or x[-1] <= x[0]:
        return y
    gaps = np.diff(x, prepend=x[0])
    unit = max(float(np.median(gaps[1:])), float(x[-1] - x[0]) / _STEPS_ACROSS)
    keep = weight ** (gaps / unit)
    # The same x again is another reading of the moment, not no time at all: it takes a full step.
    keep[gaps == 0] = weight
    total, amount = (1 - keep) * y, 1 - keep
    total[0], amount[0] = y[0] * (1 - weight), 1 - weight
    _scan(keep, total, amount)
    return total / amount


def _scan(keep: Floats, *sums: Floats) -> None:
    """s[i] += keep[i] * s[i-1] for all i, in log2(N) passes over whole arrays (Hillis and Steele 1986)."""
    keep = keep.copy()
    shift = 1
    while shift < len(keep):
        for values in sums:
            values[shift:] = values[shift:] + keep[shift:] * values[:-shift]
        keep[shift:] = keep[shift:] * keep[:-shift]
        shift *= 2


@dataclass(frozen=True, slots=True, eq=False)
class Spans:
    """What a curve covers in each of C columns; columns that it does not reach are NaN."""

    low: Floats
    """(C,) float64: the least value of the curve in the column."""
    high: Floats
    """(C,) float64: the greatest."""


def drawable(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """The points whose x and y are finite, in order of x; the arrays themselves where that is all of them."""
    finite = np.isfinite(x) & np.isfinite(y)
    if not finite.all():
        x, y = x[finite], y[finite]
    if len(x) > 1 and (np.diff(x) < 0).any():
        order = np.argsort(x, kind="stable")
        x, y = x[order], y[order]
    return x, y


def column_spans(x: Floats, y: Floats, start: float, end: float, columns: int) -> Spans:
    """The span of the line through the points in each of `columns` equal parts of [start, end].

    A column's span covers all its points and the line where it enters and leaves the column, so that
    neighbouring spans touch and the drawn line has no holes. A single point is a span by itself.

    Args:
        x, y: (N,) float64, finite, x ascending.
    """
    low, high = np.full(columns, np.nan), np.full(columns, np.nan)
    if columns < 1 or not len(x) or end <= start or x[-1] < start or x[0] > end:
        return Spans(low, high)
    edges = np.linspace(start, end, columns + 1)
    cuts = np.searchsorted(x, edges)
    cuts[-1] = np.searchsorted(x, end, side="right")
    _points(y, cuts, low, high)
    _crossings(x, y, edges, low, high)
    return Spans(low, high)


def _points(y: Floats, cuts: NDArray[np.intp], low: Floats, high: Floats) -> None:
    """Least and greatest of the points in each column that has some."""
    filled = np.flatnonzero(np.diff(cuts))
    if not len(filled):
        return
    # reduceat takes each start up to the next; empty columns hold no points, so leaving them out is exact.
    inside = y[: cuts[-1]]
    low[filled] = np.minimum.reduceat(inside, cuts[filled])
    high[filled] = np.maximum.reduceat(inside, cuts[filled])


def _crossings(x: Floats, y: Floats, edges: Floats, low: Floats, high: Floats) -> None:
    """Widen the spans to where the line crosses the columns' edges."""
    within = (edges >= x[0]) & (edges <= x[-1])
    at_edge = np.where(within, np.interp(edges, x, y), np.nan)
    for side in (at_edge[:-1], at_edge[1:]):
        np.fmin(low, side, out=low)
        np.fmax(high, side, out=high)


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """A series as it is drawn."""

    series: Series
    x: Floats
    """(N,) float64, finite, ascending."""
    y: Floats
    faint: bool
    place: int
    """Which of the chart's series it is."""

    def nearest(self, x: float) -> tuple[float, float] | None:
        """The point nearest to `x`; None without points. Of several at one x, the last."""
        if not len(self.x):
            return None
        after = int(np.searchsorted(self.x, x, side="right"))
        candidates = [i for i in (after - 1, after) if 0 <= i < len(self.x)]
        best = min(candidates, key=lambda i: abs(float(self.x[i]) - x))
        return float(self.x[best]), float(self.y[best])

    def next_x(self, x: float, direction: int) -> float | None:
        """The first point's x at or beyond `x`, going right (1) or left (-1); None past the end."""
        if direction > 0:
            place = int(np.searchsorted(self.x, x, side="left"))
        else:
            place = int(np.searchsorted(self.x, x, side="right")) - 1
        return float(self.x[place]) if 0 <= place < len(self.x) else None


class CurveCache:
    """Prepares curves and remembers them while their arrays are the same objects."""

    def __init__(self) -> None:
        self._prepared: dict[tuple[int, int, float, bool], tuple[Series, Floats, Floats]] = {}

    def curves(self, series: tuple[Series, ...], *, smoothing: float, log_y: bool) -> list[Curve]:
        """Every series as curves, in the order of drawing: faint ones first, then those given first last.

        With `smoothing` a series gives two: its raw self, faint, and the smoothed one. On a log axis points
        that are not positive are left out.
        """
        faint: list[Curve] = []
        clear: list[Curve] = []
        for place, one in enumerate(series):
            x, y = self._prepare(one, 0.0, log_y)
            if one.faint or smoothing <= 0 or len(x) < 3:
                (faint if one.faint else clear).append(Curve(one, x, y, one.faint, place))
                continue
            faint.append(Curve(one, x, y, True, place))
            clear.append(Curve(one, *self._prepare(one, smoothing, log_y), False, place))
        return faint + clear[::-1]

    def _prepare(self, series: Series, smoothing: float, log_y: bool) -> tuple[Floats, Floats]:
        key = (id(series.x), id(series.y), smoothing, log_y)
        found = self._prepared.get(key)
        # The kept series holds its arrays, so an id in the table cannot have been given to another array.
        if found is not None and found[0].x is series.x and found[0].y is series.y:
            return found[1], found[2]
        x, y = drawable(series.x, series.y)
        if log_y:
            positive = y > 0
            x, y = (x, y) if positive.all() else (x[positive], y[positive])
        if smoothing > 0:
            y = smoothed(x, y, smoothing)
        if len(self._prepared) >= _KEPT:
            self._prepared.clear()
        self._prepared[key] = (series, x, y)
        return x, y


_LABEL_ROW_FROM = 9  # lines: a lower chart writes its x labels into the axis itself
_CELLS_A_TICK = 11
_ROWS_A_TICK = 3
_FEW = 24  # points: with fewer, each counts
_ODD_ONE_IN = 25  # points on either side may be off the scale
_BREATHING = 0.04  # of the range, so that the highest point does not lie on the edge


@dataclass(frozen=True, slots=True)
class Frame:
    """The geometry of a drawn chart. Columns and rows count cells within the plot."""

    left: int
    """Cells before the plot."""
    top: int
    columns: int
    rows: int
    has_label_row: bool
    """Whether the x labels have a line of their own beneath the axis."""
    start: float
    end: float
    """The range of x."""
    low: float
    high: float
    """The range of y."""
    log_y: bool
    x_ticks: tuple[float, ...]
    x_labels: tuple[str, ...]
    y_ticks: tuple[float, ...]
    y_labels: tuple[str, ...]
    seconds: bool
    """Whether x is a time."""

    def column(self, x: float) -> int | None:
        """The plot's column at `x`; None where it is not shown."""
        if not self.start <= x <= self.end:
            return None
        return min(self.columns - 1, int((x - self.start) / (self.end - self.start) * self.columns))

    def x_at(self, column: float) -> float:
        """The x in the middle of a column."""
        return self.start + (self.end - self.start) * (column + 0.5) / self.columns

    def row(self, y: float) -> int:
        """The plot's row at `y`, 0 at the top; `y` must be shown."""
        low, high = (math.log10(self.low), math.log10(self.high)) if self.log_y else (self.low, self.high)
        share = ((math.log10(y) if self.log_y else y) - low) / (high - low)
        # The same rounding as the dots': a level and a curve at one value share a row.
        dot = round(share * (4 * self.rows - 1))
        return min(self.rows - 1, max(0, (4 * self.rows - 1 - dot) // 4))

    def shows(self, y: float) -> bool:
        """Whether `y` is in the range."""
        return math.isfinite(y) and self.low <= y <= self.high

    def x_text(self, x: float) -> str:
        """`x` as it is read out."""
        if self.seconds:
            return human_seconds(max(0.0, x))
        return f"{x:,.0f}" if self.end - self.start >= 1000 or float(x).is_integer() else f"{x:.2f}"


def frame_of(
    data: ChartData, view: ChartView, curves: Sequence[Curve], width: int, height: int
) -> Frame | None:
    """The geometry for a chart of `width` by `height` cells; None where there is nothing to show."""
    x_range = view.window or _x_range(curves)
    if x_range is None:
        return None
    y_range = _y_range(data, curves, x_range, view.log_y)
    if y_range is None:
        return None
    has_label_row = height >= _LABEL_ROW_FROM
    rows = height - 2 - has_label_row
    y_ticks = (log_ticks if view.log_y else linear_ticks)(*y_range, max(2, rows // _ROWS_A_TICK + 1))
    y_labels = tick_labels(y_ticks, data.y_format)
    left = max((len(label) for label in y_labels), default=0) + 1
    columns = max(1, width - left)
    seconds = data.x_label == "time"
    x_ticks, x_labels = _x_ticks(x_range, columns, seconds)
    return Frame(
        left=left,
        top=1,
        columns=columns,
        rows=rows,
        has_label_row=has_label_row,
        start=x_range[0],
        end=x_range[1],
        low=y_range[0],
        high=y_range[1],
        log_y=view.log_y,
        x_ticks=tuple(x_ticks),
        x_labels=tuple(x_labels),
        y_ticks=tuple(y_ticks),
        y_labels=tuple(y_labels),
        seconds=seconds,
    )


def _x_range(curves: Sequence[Curve]) -> tuple[float, float] | None:
    drawn = [curve.x for curve in curves if len(curve.x)]
    if not drawn:
        return None
    start, end = min(float(x[0]) for x in drawn), max(float(x[-1]) for x in drawn)
    return (start, end) if end > start else (start - 0.5, end + 0.5)


def _y_range(
    data: ChartData, curves: Sequence[Curve], x_range: tuple[float, float], log_y: bool
) -> tuple[float, float] | None:
    """What the curves reach within the window, with a little air; levels count where they are near."""
    reached = [reach for curve in curves if (reach := _reach(curve, x_range, log_y)) is not None]
    if not reached:
        return None
    levels = [level.y for level in data.levels if math.isfinite(level.y) and (level.y > 0 or not log_y)]
    low = min([*(reach[0] for reach in reached), *levels])
    high = max([*(reach[1] for reach in reached), *levels])
    if log_y:
        return (low / 1.1, high * 1.1) if low < high else (low / 2, high * 2)
    air = (high - low) * _BREATHING or max(abs(high) * 0.05, 1e-3)
    if data.y_format == "share":
        return max(low - air, min(0.0, low)), min(high + air, max(1.0, high))
    return (max(low - air, 0.0) if low >= 0 else low - air), high + air


def _reach(curve: Curve, x_range: tuple[float, float], log_y: bool) -> tuple[float, float] | None:
    """Least and greatest value in the window. A few points that would take half of the axis do not count."""
    start = max(0, int(np.searchsorted(curve.x, x_range[0])) - 1)
    end = int(np.searchsorted(curve.x, x_range[1], side="right")) + 1
    seen = curve.y[start:end]
    if not len(seen):
        return None
    low, high = float(seen.min()), float(seen.max())
    if log_y or len(seen) < _FEW:
        return low, high
    usual_low, usual_high = np.partition(seen, [len(seen) // _ODD_ONE_IN, -1 - len(seen) // _ODD_ONE_IN])[
        [len(seen) // _ODD_ONE_IN, -1 - len(seen) // _ODD_ONE_IN]
    ].tolist()
    usual = usual_high - usual_low
    if usual <= 0:
        return low, high
    # Each side by itself: a steep start must not flatten the rest, a spike neither.
    return (
        usual_low if usual_low - low > usual else low,
        usual_high if high - usual_high > usual else high,
    )


_TIME_UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "m"), (1.0, "s"))


def _x_ticks(x_range: tuple[float, float], columns: int, seconds: bool) -> tuple[list[float], list[str]]:
    most = max(2, columns // _CELLS_A_TICK)
    if not seconds:
        ticks = linear_ticks(*x_range, most)
        return ticks, tick_labels(ticks, "number")
    unit, name = next((u for u in _TIME_UNITS if x_range[1] - x_range[0] >= 2 * u[0]), _TIME_UNITS[-1])
    ticks = linear_ticks(x_range[0] / unit, x_range[1] / unit, most)
    return [tick * unit for tick in ticks], [f"{label}{name}" for label in tick_labels(ticks, "number")]
