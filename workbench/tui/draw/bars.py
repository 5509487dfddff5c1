"""Bars, histograms and curves in a few characters, in eighths of a cell."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

_ACROSS = " ▏▎▍▌▋▊▉█"
_UP = " ▁▂▃▄▅▆▇█"


def bar(share: float, width: int) -> str:
    """`share` of `width` cells filled from the left, exactly `width` cells long.

    More than nothing shows as at least the thinnest line. NaN is blank.
    """
    if not math.isfinite(share) or width < 1:
        return " " * max(0, width)
    clipped = min(1.0, max(0.0, share))
    eighths = max(round(clipped * width * 8), 1 if clipped > 0 else 0)
    whole, part = divmod(eighths, 8)
    return ("█" * whole + (_ACROSS[part] if part else "")).ljust(width)


def histogram(counts: Sequence[float], height: int, *, column_width: int = 1) -> list[str]:
    """Columns that grow upwards, top line first; the highest fills `height` lines.

    A count above zero shows as at least the lowest line.
    """
    most = max(counts, default=0)
    if most <= 0:
        return [" " * (column_width * len(counts))] * height
    eighths = [max(round(count / most * height * 8), 1 if count > 0 else 0) for count in counts]
    return [
        "".join(_UP[min(8, max(0, amount - 8 * level))] * column_width for amount in eighths)
        for level in range(height - 1, -1, -1)
    ]


def spark(values: Iterable[float], width: int, *, means: bool = False) -> str:
    """A curve in at most `width` characters, from its least (`▁`) to its greatest (`█`) value, oldest first.

    Values that are not finite are left out; a flat curve is a line in the middle. More values than characters
    are taken in equal parts, the last value of each, since where a curve ends is what it is read for; or,
    for numbers that jump about, the mean of each.
    """
    finite = [float(value) for value in values if math.isfinite(value)]
    if not finite or width < 1:
        return ""
    if len(finite) > width:
        ends = [(place + 1) * len(finite) // width for place in range(width)]
        parts = [finite[start:end] for start, end in pairwise([0, *ends])]
        finite = [sum(part) / len(part) if means else part[-1] for part in parts]
    low, high = min(finite), max(finite)
    if high == low:
        return _UP[4] * len(finite)
    return "".join(_UP[1 + round((value - low) / (high - low) * 7)] for value in finite)
