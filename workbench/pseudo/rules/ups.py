"""UPS: what noisy passes agree on, as a label; what they agree an image is not, as a negative one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.pseudo.pool import Passes, Pool, Selection
from workbench.pseudo.registry import rule_for
from workbench.pseudo.targets import hard_targets
from workbench.recipe.by_confidence import Ups

# The least that a class may give in the balanced rounds; the authors' code has it as a constant.
LEAST_A_CLASS = 25


@rule_for(Ups, needs_passes=True)
def ups(pool: Pool, knobs: Ups, round_number: int, _previous: Selection | None) -> Selection:
    """Positive: mean ≥ τ_p and spread < κ_p; negative: mean < τ_n and spread < κ_n, of classes not predicted.

    Rizve et al. 2021, eq. 5 and 6. An image with a positive label has no negative ones. The paper adds the
    mean losses of both kinds: negatives weigh in sum what labelled and positive images do.
    """
    passes = pool.passes
    assert passes is not None  # the registry says that this rule needs them
    positive = _positive(passes, knobs, balanced=round_number <= knobs.balanced_rounds)
    ruled_out = (passes.tempered_mean < knobs.negative_threshold) & (
        passes.tempered_spread < knobs.negative_spread
    )
    ruled_out[np.arange(len(ruled_out)), passes.mean.argmax(axis=1)] = False
    ruled_out[positive] = False
    negative = ruled_out.any(axis=1)
    targets = hard_targets(passes.mean)
    counts = ruled_out[negative].sum(axis=1, keepdims=True)
    targets[negative] = -(ruled_out[negative] / counts).astype(np.float32)
    weights = np.full(len(targets), knobs.pseudo_weight, dtype=np.float32)
    certain = int(pool.labelled_counts.sum()) + knobs.pseudo_weight * positive.sum()
    weights[negative] *= certain / max(1, negative.sum()) / knobs.pseudo_weight if certain else 1.0
    rows = np.flatnonzero(positive | negative)
    return Selection(rows=rows, targets=targets[rows], weights=weights[rows])


def _positive(passes: Passes, knobs: Ups, *, balanced: bool) -> NDArray[np.bool_]:
    """(U,) bool, the images with a positive label; balanced: of each class the steadiest, then lower."""
    predicted = passes.mean.argmax(axis=1)
    spread = np.take_along_axis(passes.spread, predicted[:, None], 1)[:, 0]
    positive: NDArray[np.bool_] = (passes.mean.max(axis=1) >= knobs.threshold) & (spread < knobs.spread)
    if not balanced:
        return positive
    counts = np.bincount(predicted[positive], minlength=passes.mean.shape[1])
    most = max(LEAST_A_CLASS, int(counts.min()))
    kept = np.zeros_like(positive)
    for label in range(len(counts)):
        own = np.flatnonzero(positive & (predicted == label))
        kept[own[np.argsort(spread[own], kind="stable")[:most]]] = True
    return kept
