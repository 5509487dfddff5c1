"""Curriculum: a threshold on confidence that falls with the rounds, by the pool's own distribution."""

from __future__ import annotations

import numpy as np

from workbench.pseudo.pool import Pool, Selection
from workbench.pseudo.registry import rule_for
from workbench.pseudo.targets import selection_of
from workbench.recipe.by_confidence import Curriculum


@rule_for(Curriculum)
def curriculum(pool: Pool, knobs: Curriculum, round_number: int, _previous: Selection | None) -> Selection:
    """All with confidence at or above its percentile 100 − 100·t/T; in the last round all of the pool.

    Cascante-Bonilla et al. 2021, Alg. 1, whose step of 20 points is T = 5.
    """
    confidence = pool.confidence
    percentile = max(0.0, 100 - 100 * round_number / knobs.rounds)
    # "lower" is one of the confidences themselves: interpolating two equal ones could pass both by an ulp.
    threshold = np.percentile(confidence, percentile, method="lower")
    return selection_of(pool, np.flatnonzero(confidence >= threshold), knobs)
