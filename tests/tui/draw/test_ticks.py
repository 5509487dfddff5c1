"""Axis ticks and their labels."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.tui.draw.ticks import linear_ticks, log_ticks, tick_labels, value_label

ranges = st.tuples(st.floats(-1e6, 1e6), st.floats(1e-4, 1e6)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(ranges, st.integers(1, 20))
def test_ticks_are_few_within_the_range_and_evenly_apart(span: tuple[float, float], most: int) -> None:
    low, high = span
    ticks = linear_ticks(low, high, most)
    slack = (high - low) * 1e-6
    assert len(ticks) <= most
    assert all(low - slack <= tick <= high + slack for tick in ticks)
    gaps = [b - a for a, b in pairwise(ticks)]
    assert all(gap == pytest.approx(gaps[0], rel=1e-3) for gap in gaps)
    if most >= 5:
        assert len(ticks) >= 2


@given(ranges, st.integers(2, 12))
def test_no_two_ticks_have_the_same_label(span: tuple[float, float], most: int) -> None:
    labels = tick_labels(linear_ticks(*span, most), "number")
    if span[1] - span[0] > 1e-3 * max(abs(span[0]), abs(span[1]), 0.1):
        assert len(set(labels)) == len(labels)


@given(st.floats(1e-8, 1e3), st.floats(1.05, 1e9), st.integers(2, 10))
def test_log_ticks_are_positive_and_in_range(low: float, factor: float, most: int) -> None:
    high = low * factor
    ticks = log_ticks(low, high, most)
    assert len(ticks) <= most
    assert all(low * 0.999 <= tick <= high * 1.001 for tick in ticks)


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, 1.0), (0.0, math.inf), (math.nan, 1.0)])
def test_a_range_that_is_none_has_no_ticks(low: float, high: float) -> None:
    assert linear_ticks(low, high, 5) == []
    assert log_ticks(low, high, 5) == []


@pytest.mark.parametrize(
    ("ticks", "form", "labels"),
    [
        ([0.8, 0.85, 0.9, 1.0], "share", [".80", ".85", ".90", "1.00"]),
        ([0.0, 2000.0, 4000.0], "number", ["0", "2k", "4k"]),
        ([0.0, 0.5, 1.0], "number", ["0.0", "0.5", "1.0"]),
        ([1e-5, 2e-5], "number", ["1e-05", "2e-05"]),
    ],
)
def test_labels_are_as_short_as_they_can_be(ticks: list[float], form: str, labels: list[str]) -> None:
    assert tick_labels(ticks, form) == labels  # type: ignore[arg-type]


def test_values_are_read_out_rounded_to_what_they_mean() -> None:
    assert value_label(0.87423, "share") == ".874"
    assert value_label(1.0, "share") == "1.00"
    assert value_label(math.nan, "share") == "–"
    assert value_label(5e-5, "number") == "5e-05"
    assert value_label(24_357.0, "number") == "24,357"
