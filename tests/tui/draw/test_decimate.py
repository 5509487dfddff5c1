"""Curves as spans, and their smoothing."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.tui.draw.chart_curves import column_spans, drawable, smoothed

curves = st.integers(1, 300).flatmap(
    lambda n: st.tuples(
        st.lists(st.floats(0, 1000, width=32), min_size=n, max_size=n).map(sorted),
        st.lists(st.floats(-1e6, 1e6, width=32), min_size=n, max_size=n),
    )
)


@settings(max_examples=200, deadline=None)
@given(curves, st.integers(1, 80))
def test_the_highest_and_the_lowest_point_are_never_lost(
    curve: tuple[list[float], list[float]], columns: int
) -> None:
    x, y = np.array(curve[0]), np.array(curve[1])
    start, end = x[0] - 0.5, x[-1] + 0.5
    spans = column_spans(x, y, start, end, columns)
    assert np.nanmin(spans.low) == y.min()
    assert np.nanmax(spans.high) == y.max()
    place = np.minimum(columns - 1, ((x - start) / (end - start) * columns).astype(int))
    for column in np.unique(place):
        # A point on the very edge between two columns may be in either.
        near = slice(max(0, column - 1), column + 2)
        inside = y[place == column]
        assert np.nanmin(spans.low[near]) <= inside.min()
        assert np.nanmax(spans.high[near]) >= inside.max()


@settings(max_examples=100, deadline=None)
@given(curves, st.integers(2, 80))
def test_neighbouring_spans_touch(curve: tuple[list[float], list[float]], columns: int) -> None:
    x, y = np.array(curve[0]), np.array(curve[1])
    spans = column_spans(x, y, x[0] - 1, x[-1] + 1, columns)
    filled = np.flatnonzero(~np.isnan(spans.low))
    assert (np.diff(filled) == 1).all()
    for left, right in pairwise(filled.tolist()):
        assert spans.low[left] <= spans.high[right]
        assert spans.low[right] <= spans.high[left]


def test_what_lies_outside_the_window_does_not_count() -> None:
    x = np.arange(100.0)
    y = np.where((x < 40) | (x > 60), 1000.0, 1.0)
    spans = column_spans(x, y, 42.0, 58.0, 8)
    assert np.nanmax(spans.high) == 1.0


def test_points_that_are_not_finite_are_left_out_and_the_rest_put_in_order() -> None:
    x, y = drawable(np.array([3.0, 1.0, np.nan, 2.0]), np.array([30.0, 10.0, 5.0, np.inf]))
    assert x.tolist() == [1.0, 3.0]
    assert y.tolist() == [10.0, 30.0]


def test_smoothing_equals_the_recursion_it_stands_for() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=50)
    total, amount, wanted = 0.0, 0.0, []
    for value in y:
        total, amount = 0.8 * total + 0.2 * value, 0.8 * amount + 0.2
        wanted.append(total / amount)
    assert smoothed(np.arange(50.0), y, 0.8) == pytest.approx(wanted)


@settings(max_examples=100, deadline=None)
@given(curves, st.floats(0, 0.99))
def test_a_smoothed_curve_stays_within_the_raw_one(
    curve: tuple[list[float], list[float]], weight: float
) -> None:
    x, y = np.array(curve[0]), np.array(curve[1])
    smooth = smoothed(x, y, weight)
    slack = 1e-6 * (1 + np.abs(y).max())
    assert smooth.min() >= y.min() - slack
    assert smooth.max() <= y.max() + slack


def test_smoothing_hardly_changes_when_a_curve_is_thinned() -> None:
    x = np.arange(40_000.0)
    y = np.sin(x / 4000)
    whole, half = smoothed(x, y, 0.9), smoothed(x[::2], y[::2], 0.9)
    assert np.abs(whole[::2] - half).max() < 0.01
