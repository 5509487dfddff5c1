"""Iterative: the surest images first, more of them every round."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.pseudo.pool import Pool, Selection
from workbench.pseudo.registry import rule_for
from workbench.pseudo.targets import selection_of
from workbench.recipe import Iterative


@rule_for(Iterative)
def iterative(pool: Pool, knobs: Iterative, round_number: int, previous: Selection | None) -> Selection:
    """Top fraction: the ⌊min(1, r·fraction)·U⌋ most confident; threshold: all with confidence >= it.

    With `relabel = false` what was selected before keeps its targets, and the rest competes for the places
    left.
    """
    rows = _surest(pool, knobs, round_number, previous)
    selection = selection_of(pool, rows, knobs)
    if knobs.relabel or previous is None:
        return selection
    position = np.searchsorted(selection.rows, previous.rows)
    targets = selection.targets.copy()
    targets[position] = previous.targets
    return Selection(rows=selection.rows, targets=targets, weights=selection.weights)


def _surest(pool: Pool, knobs: Iterative, round_number: int, previous: Selection | None) -> NDArray[np.int64]:
    """(K,) rows; ties in confidence keep the lower row."""
    confidence = pool.confidence.astype(np.float64)
    if not knobs.relabel and previous is not None:
        confidence[previous.rows] = np.inf  # a given label stays, so its image is always in
    if knobs.select == "threshold":
        return np.flatnonzero(confidence >= knobs.threshold)
    # The tiny offset keeps 3 * 0.2 * 10 from becoming 5 by rounding error.
    count = int(min(1.0, round_number * knobs.fraction) * len(confidence) + 1e-9)
    return np.argsort(-confidence, kind="stable")[:count]
