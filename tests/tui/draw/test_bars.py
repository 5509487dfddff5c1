"""Bars, histograms, sparks, the grid."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from workbench.runs.confusion import class_order, recall
from workbench.tui.draw.bars import bar, histogram, spark
from workbench.tui.draw.chart_drawing import Grid


@given(st.floats(), st.integers(0, 40))
def test_a_bar_has_its_width_whatever_the_share(share: float, width: int) -> None:
    assert len(bar(share, width)) == width


def test_a_bar_shows_eighths_and_the_least_there_is() -> None:
    assert bar(0.5, 4) == "██  "
    assert bar(1e-9, 4) == "▏   "
    assert bar(0.0, 4) == bar(math.nan, 4) == "    "
    assert bar(7.0, 4) == "████"


@given(st.lists(st.integers(0, 10_000), max_size=30), st.integers(1, 8), st.integers(1, 3))
def test_a_histogram_is_a_rectangle_with_its_highest_column_full(
    counts: list[int], height: int, width: int
) -> None:
    lines = histogram(counts, height, column_width=width)
    assert [len(line) for line in lines] == [len(counts) * width] * height
    if max(counts, default=0) > 0:
        assert "█" in lines[0]
        assert all((counts[i] > 0) == (lines[-1][i * width] != " ") for i in range(len(counts)))


@given(st.lists(st.floats(), max_size=200), st.integers(0, 30), st.booleans())
def test_a_spark_never_exceeds_its_width_or_its_values(values: list[float], width: int, means: bool) -> None:
    sane = [value for value in values if abs(value) < 1e100 or not math.isfinite(value)]
    assert len(spark(sane, width, means=means)) <= min(width, len(sane))


def test_a_spark_goes_from_the_lowest_block_to_the_highest() -> None:
    assert spark([0, 1, 2, 3, 4, 5, 6, 7], 8) == "▁▂▃▄▅▆▇█"
    assert spark([0.0, 1.0, 2.0, math.nan], 8) == "▁▅█"


def test_a_long_spark_shows_the_last_value_of_each_part_or_its_mean() -> None:
    assert spark([*([0.0] * 99), 1.0], 4) == "▁▁▁█"
    assert spark([0, 4, 1, 1, 9, 0], 3, means=True) == "▃▁█"  # 2, 1, 4.5
    assert spark([0, 4, 1, 1, 9, 0], 3) == "█▃▁"


def test_flat_and_empty_sparks_are_harmless() -> None:
    assert spark([0.5, 0.5], 8) == "▄▄"
    assert spark([], 8) == spark([float("nan")], 8) == spark([1.0], 0) == ""


def test_wide_characters_do_not_break_a_line() -> None:
    grid = Grid(6, 1)
    grid.write(0, 0, "a日b")
    assert "".join(grid.characters[0]) == "a?b   "


@given(st.integers(1, 40), st.integers(0, 2**31))
def test_every_order_holds_every_class_once(classes: int, seed: int) -> None:
    matrix = np.random.default_rng(seed).poisson(0.4, (classes, classes))
    for order in ("class", "recall", "clustered"):
        assert sorted(class_order(matrix, order).tolist()) == list(range(classes))


def test_the_worst_recognised_come_first_and_classes_without_images_last() -> None:
    matrix = np.array([[9, 1, 0], [0, 0, 0], [5, 0, 5]])
    assert class_order(matrix, "recall").tolist() == [2, 0, 1]
    assert np.isnan(recall(matrix)[1])


def test_classes_that_are_confused_come_beside_each_other() -> None:
    matrix = np.eye(6, dtype=int) * 10
    matrix[0, 4], matrix[4, 0], matrix[1, 5] = 5, 4, 6
    order = class_order(matrix, "clustered").tolist()
    assert abs(order.index(0) - order.index(4)) == 1
    assert abs(order.index(1) - order.index(5)) == 1
