"""Where things are in a chart: the plot's cells, the axes' ranges, their ticks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workbench.support.units import human_seconds
from workbench.tui.draw.chart_data import ChartData, ChartView
from workbench.tui.draw.curves import Curve
from workbench.tui.draw.ticks import linear_ticks, log_ticks, tick_labels

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
