"""A curve in a few characters."""

from __future__ import annotations

from collections.abc import Sequence

_LEVELS = "▁▂▃▄▅▆▇█"


def spark(values: Sequence[float], width: int) -> str:
    """`values` from their least to their greatest in at most `width` characters; infinities are left out.

    More values than characters are taken in equal parts, the last value of each: where a curve ends is what
    it is read for. A flat curve is a line in the middle.
    """
    finite = [value for value in values if value == value and abs(value) != float("inf")]
    if not finite or width < 1:
        return ""
    if len(finite) > width:
        finite = [finite[(place + 1) * len(finite) // width - 1] for place in range(width)]
    low, high = min(finite), max(finite)
    if high == low:
        return _LEVELS[3] * len(finite)
    top = len(_LEVELS) - 1
    return "".join(_LEVELS[round((value - low) / (high - low) * top)] for value in finite)
