"""Smoothing of curves: an exponential moving average that knows how far apart its points are."""

from __future__ import annotations

import numpy as np

from workbench.tui.draw.decimate import Floats

_STEPS_ACROSS = 1000.0


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
