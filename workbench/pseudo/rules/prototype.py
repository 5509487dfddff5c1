"""Prototype: the nearest class mean of the features labels an image."""

from __future__ import annotations

import numpy as np

from workbench.pseudo.means import nearest_means
from workbench.pseudo.pool import Pool, Selection
from workbench.pseudo.registry import rule_for
from workbench.pseudo.targets import selection_of
from workbench.recipe.by_features import Prototype


@rule_for(Prototype, opinion=nearest_means)
def prototype(pool: Pool, knobs: Prototype, _round: int, _previous: Selection | None) -> Selection:
    """Every image of the pool, of its nearest mean's class."""
    return selection_of(pool, np.arange(len(pool.probabilities), dtype=np.int64), knobs)
