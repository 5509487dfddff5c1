"""The chart of a learning-rate range test, in characters."""

from __future__ import annotations

import math
import re

import pytest
from rich.cells import cell_len

from workbench.cli.lr_find import range_chart
from workbench.train.lr_find import RangeTest, judge


def _seen(low: float, high: float) -> RangeTest:
    rates = [low * (high / low) ** (step / 59) for step in range(60)]
    return judge(rates, [3.6 - 2 / (1 + math.exp(-4 * (math.log10(rate) + 3))) for rate in rates])


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize(("low", "high"), [(1e-7, 10.0), (1e-9, 1e-2), (2e-3, 8e-3)])
def test_it_fits_its_width_and_names_its_rates(low: float, high: float, width: int) -> None:
    lines = range_chart(_seen(low, high), width=width).splitlines()
    assert max(cell_len(line) for line in lines) <= width
    rates = [float(found) for found in re.findall(r"\S+", lines[-1])]
    assert rates == sorted(rates)
    assert len(rates) >= 2
    assert all(low * 0.9 <= rate <= high * 1.1 for rate in rates)


def test_its_line_stands_at_the_suggestion() -> None:
    test = _seen(1e-7, 10.0)
    lines = range_chart(test, width=80).splitlines()
    column = lines[1].index("┬")
    ticks = [(float(found[0]), found.start()) for found in re.finditer(r"\S+", lines[-1])]
    below = max(rate for rate, start in ticks if start <= column)
    assert below / 1.5 <= test.suggestion <= below * 15  # labels begin a little left of their ticks
