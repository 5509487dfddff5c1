"""A curve of any length as one span a column: no peak is lost, and drawing costs the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


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
