"""Prototype: the nearest class mean of the features, after the pool had its say in where they lie."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from workbench.pseudo.graph import unit_rows
from workbench.pseudo.pool import Pool, Selection
from workbench.pseudo.registry import rule_for
from workbench.pseudo.targets import selection_of
from workbench.recipe.pseudo_label import Prototype

Floats = NDArray[np.float64]


def nearest_means(pool: Pool, knobs: Prototype) -> Pool:
    """The pool with softmax(cos(f, m_c)/T) over the refined class means in place of the teacher's word.

    Soft k-means (Ren et al. 2018, eq. 4) on features of length 1: labelled images belong wholly to their
    class. A class without a label has no mean, so no image is ever held for it.
    """
    features, labelled, labels = pool.features, pool.labelled_features, pool.labels
    assert features is not None and labelled is not None and labels is not None  # noqa: PT018
    unit = unit_rows(features).astype(np.float64)
    known = np.flatnonzero(np.bincount(labels, minlength=pool.probabilities.shape[1]))
    belongs = (labels[:, None] == known[None, :]).astype(np.float64)  # (L, K)
    given = belongs.T @ unit_rows(labelled).astype(np.float64)  # (K, D) sums of labelled features
    means = _to_unit(given)
    for _ in range(knobs.refinements):
        means = _to_unit(given + _assigned(unit, means, knobs.sharpness).T @ unit)
    probabilities = np.zeros_like(pool.probabilities)
    probabilities[:, known] = _assigned(unit, means, knobs.sharpness)
    return replace(pool, probabilities=probabilities)


@rule_for(Prototype, opinion=nearest_means)
def prototype(pool: Pool, knobs: Prototype, _round: int, _previous: Selection | None) -> Selection:
    """Every image of the pool, of its nearest mean's class."""
    return selection_of(pool, np.arange(len(pool.probabilities), dtype=np.int64), knobs)


def _assigned(unit: Floats, means: Floats, temperature: float) -> Floats:
    """(U, K) softmax of cosine over temperature."""
    logits = unit @ means.T / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=1, keepdims=True)
    return shares


def _to_unit(sums: Floats) -> Floats:
    """Means only matter by their direction, as similarity is a cosine."""
    scaled: Floats = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    return scaled
