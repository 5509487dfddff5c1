"""Curves made ready for drawing, kept from one redraw to the next: finite, in order, smoothed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workbench.tui.draw.chart_data import Series
from workbench.tui.draw.decimate import Floats, drawable
from workbench.tui.draw.smooth import smoothed

_KEPT = 128  # prepared curves: twenty runs, raw and smoothed, before and after a change


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
