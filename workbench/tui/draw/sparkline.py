"""A curve in one line of text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_UP = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float] | NDArray[np.float64], width: int) -> str:
    """The values from the least (`▁`) to the greatest (`█`), oldest first, in at most `width` cells.

    Where there are more values than cells, each cell shows the mean of its share. Values that are not finite
    are left out; equal ones lie in the middle.
    """
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    if not len(finite) or width < 1:
        return ""
    if len(finite) > width:
        starts = np.arange(width) * len(finite) // width
        finite = np.add.reduceat(finite, starts) / np.diff(starts, append=len(finite))
    low, high = float(finite.min()), float(finite.max())
    if high <= low:
        return _UP[3] * len(finite)
    steps = np.rint((finite - low) / (high - low) * (len(_UP) - 1)).astype(int)
    return "".join(_UP[step] for step in steps.tolist())
