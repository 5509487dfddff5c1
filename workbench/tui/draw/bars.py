"""Bars and histograms in eighths of a cell."""

from __future__ import annotations

import math
from collections.abc import Sequence

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
