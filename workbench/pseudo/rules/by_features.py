"""Rules that label by the trunk's features: labels spread among neighbours, or the nearest class mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from workbench.pseudo.graph import nearest_means, spread_labels
from workbench.pseudo.pool import Pool, Selection, certainty, inverse_frequency, selection_of
from workbench.pseudo.registry import rule_for
from workbench.recipe.strategies.by_features import LabelPropagation, Prototype


@rule_for(LabelPropagation, opinion=spread_labels)
def label_propagation(
    pool: Pool, knobs: LabelPropagation, _round: int, _previous: Selection | None
) -> Selection:
    """Every image that a label reaches, weighted by how certain its label is.

    The student's loss is Σ_L ζ_y ℓ + Σ_U ω ζ_ŷ ℓ (Iscen et al. 2019, eq. 11 and 12) with ω the certainty and,
    where `class_weights` asks for it, ζ_j ∝ 1/(|L_j| + |U_j|), which is scaled to be 1 on an average image.
    """
    weights = certainty(pool.probabilities)
    if knobs.weighting == "none":
        weights = np.ones_like(weights)
    rows = np.arange(len(weights)) if pool.reached is None else np.flatnonzero(pool.reached)
    selection = selection_of(pool, rows[weights[rows] > 0], knobs, weights=weights)
    if knobs.class_weights == "none":
        return selection
    taught = pool.predicted[selection.rows]
    zeta = inverse_frequency(pool.labelled_counts + np.bincount(taught, minlength=len(pool.labelled_counts)))
    weighted = (selection.weights * zeta[taught]).astype(np.float32)
    return replace(selection, weights=weighted, class_weights=zeta)


def _missing_means(pool: Pool, classes: Sequence[str]) -> str:
    missing = np.flatnonzero(pool.labelled_counts == 0)
    if not len(missing):
        return ""
    names = ", ".join(classes[label] for label in missing[:3])
    more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
    return f"prototype: no labelled image of {names}{more}: their images go to other classes' means"


@rule_for(Prototype, opinion=nearest_means, caveat=_missing_means)
def prototype(pool: Pool, knobs: Prototype, _round: int, _previous: Selection | None) -> Selection:
    """Every image of the pool, of its nearest mean's class."""
    return selection_of(pool, np.arange(len(pool.probabilities), dtype=np.int64), knobs)
