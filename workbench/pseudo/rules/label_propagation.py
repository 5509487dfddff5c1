"""Label propagation: labels spread along the graph of nearest neighbours in feature space."""

from __future__ import annotations

import numpy as np

from workbench.pseudo.pool import Pool, Selection
from workbench.pseudo.registry import rule_for
from workbench.pseudo.targets import certainty, selection_of
from workbench.pseudo.vote import spread_labels
from workbench.recipe.by_features import LabelPropagation


@rule_for(LabelPropagation, opinion=spread_labels)
def label_propagation(
    pool: Pool, knobs: LabelPropagation, _round: int, _previous: Selection | None
) -> Selection:
    """Every image that a label reaches, weighted by how certain its label is."""
    weights = certainty(pool.probabilities)
    if knobs.weighting == "none":
        weights = np.ones_like(weights)
    rows = np.arange(len(weights)) if pool.reached is None else np.flatnonzero(pool.reached)
    return selection_of(pool, rows[weights[rows] > 0], knobs, weights=weights)
