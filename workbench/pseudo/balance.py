"""Modifiers of what is believed of a pool: Sinkhorn balancing, distribution alignment, calibration."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from workbench.pseudo.pool import Pool
from workbench.pseudo.targets import soft_targets
from workbench.recipe.offline import Taught

Floats = NDArray[np.float64]
# No class that has a share is ever quite impossible: else a column that is 0 could not reach its sum.
FLOOR = 1e-12


def balanced(pool: Pool, knobs: Taught, marginal: Floats | None) -> Pool:
    """The pool with its class frequencies made what `knobs` expects; as it is with `balance = "none"`.

    Images that nothing is said of (`reached`) stay as they are and do not count.

    Args:
        marginal: (C,) the average share of each class that the round before kept, for alignment.
    """
    if knobs.balance == "none":
        return pool
    probabilities = pool.probabilities.astype(np.float64)
    said = np.ones(len(probabilities), dtype=np.bool_) if pool.reached is None else pool.reached
    prior = pool.labelled_prior
    if knobs.balance == "sinkhorn":
        probabilities[said] = sinkhorn(probabilities[said], prior, knobs.sinkhorn_steps)
    elif said.any():
        now = probabilities[said].mean(axis=0)
        decay = knobs.alignment_decay
        marginal = now if marginal is None else decay * marginal + (1 - decay) * now
        probabilities[said] = align(probabilities[said], prior, marginal)
    kept = marginal if knobs.balance == "align" else None
    return replace(pool, probabilities=probabilities.astype(np.float32), marginal=kept)


def sinkhorn(probabilities: Floats, prior: Floats, steps: int) -> Floats:
    """(U, C) rows that sum to 1 and columns to U·prior, as near as `steps` alternations bring them.

    Sinkhorn and Knopp 1967: the columns' sums first, the rows' last, so that rows always are probabilities.
    """
    balanced = np.maximum(probabilities, FLOOR) * (prior > 0)
    wanted = len(balanced) * prior
    for _ in range(steps):
        balanced *= np.divide(wanted, balanced.sum(axis=0), out=np.zeros_like(wanted), where=prior > 0)
        balanced /= balanced.sum(axis=1, keepdims=True)
    return balanced


def align(probabilities: Floats, prior: Floats, marginal: Floats) -> Floats:
    """(U, C) rows q·π/p̄, made to sum to 1 (Berthelot et al. 2020, Sec. 3.1)."""
    ratio = np.divide(prior, np.maximum(marginal, FLOOR))
    aligned = np.maximum(probabilities, FLOOR) * ratio
    shares: Floats = aligned / aligned.sum(axis=1, keepdims=True)
    return shares


def fit_temperature(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The T in [0.05, 20] at which p^(1/T), made to sum to 1, has the least negative log-likelihood.

    Temperature scaling (Guo et al. 2017), for validation images only. The likelihood is convex in 1/T, so a
    golden-section search over it finds the one minimum, to within 0.1 %.

    Args:
        probabilities: (V, C) float32.
        labels: (V,) int64 true classes.
    """

    def loss(inverse: float) -> float:
        tempered = soft_targets(probabilities, 1 / inverse)[np.arange(len(labels)), labels]
        return float(-np.log(np.maximum(tempered.astype(np.float64), 1e-30)).mean())

    golden = (np.sqrt(5) - 1) / 2
    low, high = 0.05, 20.0
    while high - low > 1e-3 * low:
        left, right = high - golden * (high - low), low + golden * (high - low)
        if loss(left) <= loss(right):
            high = right
        else:
            low = left
    return 2 / (low + high)
