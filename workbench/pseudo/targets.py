"""From probabilities to what the student is taught."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.pseudo.pool import Pool, Selection
from workbench.recipe.offline import Taught


def hard_targets(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """(K, C) one-hot float32 of each row's first choice."""
    targets: NDArray[np.float32] = np.eye(probabilities.shape[1], dtype=np.float32)[
        probabilities.argmax(axis=1)
    ]
    return targets


def soft_targets(probabilities: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """(K, C) float32 proportional to p^(1/T): softer above T = 1, sharper below (Hinton et al. 2015)."""
    logits = np.log(np.maximum(probabilities.astype(np.float64), 1e-30)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    targets: NDArray[np.float32] = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return targets


def certainty(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """(K,) float32 1 − H(p)/log C: 1 for one sure class, 0 for all alike (Iscen et al. 2019, eq. 11)."""
    p = probabilities.astype(np.float64)
    entropy = -(p * np.log(np.maximum(p, 1e-30))).sum(axis=1)
    sure: NDArray[np.float32] = np.clip(1 - entropy / np.log(p.shape[1]), 0, 1).astype(np.float32)
    return sure


def selection_of(
    pool: Pool,
    rows: NDArray[np.int64],
    knobs: Taught,
    *,
    labelled_weight: float = 1.0,
    weights: NDArray[np.float32] | None = None,
) -> Selection:
    """The selection of `rows` with the targets and weights that `knobs` asks for.

    Args:
        weights: (U,) float32, what each image of the pool weighs beside `pseudo_weight`; None: 1.
    """
    rows = np.sort(rows)
    chosen = pool.probabilities[rows]
    targets = soft_targets(chosen, knobs.temperature) if knobs.targets == "soft" else hard_targets(chosen)
    each = np.full(len(rows), knobs.pseudo_weight, dtype=np.float32)
    if weights is not None:
        each *= weights[rows]
    return Selection(rows=rows, targets=targets, weights=each, labelled_weight=labelled_weight)
