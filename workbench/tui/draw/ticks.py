"""Round numbers for an axis: where its ticks are and how they are written."""

from __future__ import annotations

import math
from typing import Literal

from workbench.support.units import fraction

Format = Literal["share", "number"]

_NICE = (1.0, 2.0, 2.5, 5.0, 10.0)


def linear_ticks(low: float, high: float, most: int) -> list[float]:
    """At most `most` multiples of 1, 2, 2.5 or 5 times a power of ten in [low, high], ascending.

    Empty where the range is, or `most` is less than one.
    """
    if most < 1 or not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return []
    step = _nice_step((high - low) / most)
    while True:
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            return [_rounded(index * step, step) for index in range(first, last + 1)]
        step = _nice_step(step * 1.01)


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """At most `most` ticks of a logarithmic axis from `low` to `high`, both positive.

    Powers of ten; where the range holds fewer than two, also 2 and 5 times them; linear ticks in a range
    that holds fewer than two of those.
    """
    if most < 1 or not (math.isfinite(low) and math.isfinite(high)) or high <= low or low <= 0:
        return []
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 2, 5)):
        ticks = [f * 10.0**d for d in decades for f in factors if low <= f * 10.0**d <= high]
        if len(ticks) >= 2:
            return ticks[:: -(-len(ticks) // most)]
    return linear_ticks(low, high, most)


def tick_labels(ticks: list[float], form: Format) -> list[str]:
    """The ticks in as few characters as tell them apart: `.85`, `1.0` for shares; `0.5`, `12k`, `1e-05`."""
    if form == "share":
        decimals = max(2, _decimals(ticks))
        return [_share(tick, decimals) for tick in ticks]
    if any(tick != 0 and (abs(tick) >= 1e7 or abs(tick) < 1e-3) for tick in ticks):
        return [f"{tick:.3g}" for tick in ticks]
    if ticks and all(abs(tick) >= 1000 or tick == 0 for tick in ticks):
        return [_thousands(tick) for tick in ticks]
    decimals = _decimals(ticks)
    return [f"{tick:.{decimals}f}" for tick in ticks]


def value_label(value: float, form: Format) -> str:
    """One value as it is read out: `.874` for a share, else four digits; `–` for none."""
    if not math.isfinite(value):
        return "–"
    if form == "share":
        return fraction(value)
    if value != 0 and (abs(value) < 1e-3 or abs(value) >= 1e6):
        return f"{value:.3g}"
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def _nice_step(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * nice for nice in _NICE if power * nice >= least * (1 - 1e-12))


def _rounded(value: float, step: float) -> float:
    """Without the dust of binary fractions: 0.30000000000000004 is 0.3."""
    return round(value, max(0, 2 - math.floor(math.log10(step)))) + 0.0


def _decimals(ticks: list[float]) -> int:
    """The fewest decimals at which every tick is itself."""
    for decimals in range(6):
        if all(math.isclose(round(tick, decimals), tick, rel_tol=1e-9, abs_tol=1e-12) for tick in ticks):
            return decimals
    return 6


def _share(value: float, decimals: int) -> str:
    text = f"{value:.{decimals}f}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def _thousands(value: float) -> str:
    if value == 0:
        return "0"
    scaled, unit = (value / 1e6, "M") if abs(value) >= 1e6 else (value / 1e3, "k")
    return f"{scaled:.10g}{unit}"
