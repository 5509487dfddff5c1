"""From probabilities to what the student is taught."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.pseudo.pool import Pool, Selection
from workbench.recipe import PseudoLabel


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


def selection_of(
    pool: Pool, rows: NDArray[np.int64], knobs: PseudoLabel, *, labelled_weight: float = 1.0
) -> Selection:
    """The selection of `rows` with the targets and weights that `knobs` asks for."""
    rows = np.sort(rows)
    chosen = pool.probabilities[rows]
    targets = soft_targets(chosen, knobs.temperature) if knobs.targets == "soft" else hard_targets(chosen)
    weights = np.full(len(rows), knobs.pseudo_weight, dtype=np.float32)
    return Selection(rows=rows, targets=targets, weights=weights, labelled_weight=labelled_weight)
