"""Curves of a few characters."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from workbench.tui.draw.spark import spark


def test_a_curve_goes_from_the_lowest_block_to_the_highest() -> None:
    assert spark([0, 1, 2, 3, 4, 5, 6, 7], 8) == "▁▂▃▄▅▆▇█"


def test_a_long_curve_ends_with_its_last_value() -> None:
    assert spark([*([0.0] * 99), 1.0], 4) == "▁▁▁█"


def test_flat_and_empty_curves_are_harmless() -> None:
    assert spark([0.5, 0.5], 8) == "▄▄"
    assert spark([], 8) == spark([float("nan")], 8) == spark([1.0], 0) == ""


@given(st.lists(st.floats(width=16)), st.integers(0, 30))
def test_any_values_fit_the_width(values: list[float], width: int) -> None:
    assert len(spark(values, width)) <= min(width, len(values))
