"""One shot: the whole pool, once."""

from __future__ import annotations

import numpy as np

from workbench.pseudo.pool import Pool, Selection
from workbench.pseudo.registry import rule_for
from workbench.pseudo.targets import selection_of
from workbench.recipe import OneShot


@rule_for(OneShot)
def one_shot(pool: Pool, knobs: OneShot, _round: int, _previous: Selection | None) -> Selection:
    """Every image of the pool with the teacher's label (Lee 2013)."""
    return selection_of(pool, np.arange(len(pool.probabilities), dtype=np.int64), knobs)
