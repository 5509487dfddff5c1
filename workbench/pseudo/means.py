"""Class means of the features, after the pool had its say in where they lie."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from workbench.pseudo.balance import sinkhorn
from workbench.pseudo.graph import unit_rows
from workbench.pseudo.pool import Pool
from workbench.recipe.by_features import Prototype

Floats = NDArray[np.float64]


def nearest_means(pool: Pool, knobs: Prototype) -> Pool:
    """The pool with softmax(cos(f, m_c)/T) over the refined class means in place of the teacher's word.

    Soft k-means (Ren et al. 2018, eq. 4) on features of length 1, seen from the mean of them all, which tells
    classes apart better than the origin does: labelled images belong wholly to their class. With
    `balance = "sinkhorn"` the assignments of every refinement are balanced, as in PT-MAP (Hu et al. 2021). A
    class without a label has no mean, so no image is ever held for it.
    """
    features, labelled, labels = pool.features, pool.labelled_features, pool.labels
    assert features is not None and labelled is not None and labels is not None  # noqa: PT018
    unit, unit_labelled = _seen_from_their_mean(features, labelled)
    known = np.flatnonzero(np.bincount(labels, minlength=pool.probabilities.shape[1]))
    belongs = (labels[:, None] == known[None, :]).astype(np.float64)  # (L, K)
    given = belongs.T @ unit_labelled  # (K, D) sums of labelled features
    prior = pool.labelled_prior[known]

    def assigned(means: Floats) -> Floats:
        shares = _nearness(unit, means, knobs.sharpness)
        return sinkhorn(shares, prior, knobs.sinkhorn_steps) if knobs.balance == "sinkhorn" else shares

    means = _to_unit(given)
    for _ in range(knobs.refinements):
        means = _to_unit(given + assigned(means).T @ unit)
    probabilities = np.zeros_like(pool.probabilities)
    probabilities[:, known] = assigned(means)
    return replace(pool, probabilities=probabilities)


def _seen_from_their_mean(
    features: NDArray[np.float32], labelled: NDArray[np.float32]
) -> tuple[Floats, Floats]:
    """((U, D), (L, D)) rows of length 1 less the mean of all, to length 1 again.

    Where all rows are alike nothing is left of them, and they stay as they were.
    """
    unit, unit_labelled = (unit_rows(rows).astype(np.float64) for rows in (features, labelled))
    centre = np.concatenate([unit, unit_labelled]).mean(axis=0)
    if np.allclose(unit, centre) and np.allclose(unit_labelled, centre):
        return unit, unit_labelled
    return _to_unit(unit - centre), _to_unit(unit_labelled - centre)


def _nearness(unit: Floats, means: Floats, temperature: float) -> Floats:
    """(U, K) softmax of cosine over temperature."""
    logits = unit @ means.T / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=1, keepdims=True)
    return shares


def _to_unit(sums: Floats) -> Floats:
    """Means only matter by their direction, as similarity is a cosine."""
    scaled: Floats = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    return scaled
