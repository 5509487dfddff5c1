"""Rules that choose by how sure the teacher is, or how steady under noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.pseudo.pool import Passes, Pool, Selection, hard_targets, selection_of
from workbench.pseudo.registry import PassesAsked, rule_for
from workbench.recipe.strategies.by_confidence import (
    ClassBalanced,
    Curriculum,
    Iterative,
    NoisyStudent,
    OneShot,
    Ups,
)

# Weight of a labelled image beside |S| pseudo-labelled ones: max(1, 0.25·|S|/|L|), see ALGORITHMS,
# class_balanced.
LABELLED_SHARE = 0.25
# The least that a class may give in the balanced rounds; the authors' code has it as a constant.
LEAST_A_CLASS = 25


@rule_for(OneShot)
def one_shot(pool: Pool, knobs: OneShot, _round: int, _previous: Selection | None) -> Selection:
    """Every image of the pool with the teacher's label (Lee 2013)."""
    return selection_of(pool, np.arange(len(pool.probabilities), dtype=np.int64), knobs)


@rule_for(Iterative)
def iterative(pool: Pool, knobs: Iterative, round_number: int, previous: Selection | None) -> Selection:
    """Top fraction: the ⌊min(1, r·fraction)·U⌋ most confident; threshold: all with confidence >= it.

    With `relabel = false` what was selected before keeps its targets, and the rest competes for the places
    left.
    """
    rows = _surest(pool, knobs, round_number, previous)
    selection = selection_of(pool, rows, knobs)
    if knobs.relabel or previous is None:
        return selection
    position = np.searchsorted(selection.rows, previous.rows)
    targets = selection.targets.copy()
    targets[position] = previous.targets
    return Selection(rows=selection.rows, targets=targets, weights=selection.weights)


def _surest(pool: Pool, knobs: Iterative, round_number: int, previous: Selection | None) -> NDArray[np.int64]:
    """(K,) rows; ties in confidence keep the lower row."""
    confidence = pool.confidence.astype(np.float64)
    if not knobs.relabel and previous is not None:
        confidence[previous.rows] = np.inf  # a given label stays, so its image is always in
    if knobs.select == "threshold":
        return np.flatnonzero(confidence >= knobs.threshold)
    # The tiny offset keeps 3 * 0.2 * 10 from becoming 5 by rounding error.
    count = int(min(1.0, round_number * knobs.fraction) * len(confidence) + 1e-9)
    return np.argsort(-confidence, kind="stable")[:count]


@rule_for(ClassBalanced)
def class_balanced(
    pool: Pool, knobs: ClassBalanced, round_number: int, _previous: Selection | None
) -> Selection:
    """Of every class c the ⌊r/R · U · prior_c⌋ most confident among the images predicted as c.

    After CBST (Zou et al. 2018). A class predicted less often gives what it has. Ties keep the lower row.
    """
    confidence, predicted = pool.confidence, pool.predicted
    share = round_number / knobs.rounds
    rows = []
    for label, prior in enumerate(pool.class_prior):
        quota = int(share * len(confidence) * prior + 1e-9)
        candidates = np.flatnonzero(predicted == label)
        rows.append(candidates[np.argsort(-confidence[candidates], kind="stable")[:quota]])
    chosen = np.concatenate(rows)
    labelled = int(pool.labelled_counts.sum())
    weight = max(1.0, LABELLED_SHARE * len(chosen) / max(1, labelled))
    return selection_of(pool, chosen, knobs, labelled_weight=weight)


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


def _passes(knobs: Ups) -> PassesAsked:
    return PassesAsked(knobs.passes, knobs.pass_dropout, knobs.negative_temperature)


@rule_for(Ups, passes=_passes)
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


@rule_for(NoisyStudent)
def noisy_student(pool: Pool, knobs: NoisyStudent, _round: int, _previous: Selection | None) -> Selection:
    """Of every predicted class the ⌈U/C⌉ most confident at or above the threshold, repeated where too few.

    Xie et al. 2020, Sec. 3.2 (filtering and balancing). A class that nothing is predicted as stays empty.
    Labelled images weigh so much that they and the pseudo-labelled ones count alike: the sum of two means.
    """
    confidence, predicted = pool.confidence, pool.predicted
    rows = np.flatnonzero(confidence >= knobs.threshold)
    if knobs.quota:
        classes = pool.probabilities.shape[1]
        quota = -(-len(confidence) // classes)
        sure = rows[np.argsort(-confidence[rows], kind="stable")]
        by_class = [sure[predicted[sure] == label] for label in range(classes)]
        # np.resize goes round: the surest are repeated first.
        rows = np.concatenate([np.resize(own, quota) for own in by_class if len(own)] or [rows])
    labelled = int(pool.labelled_counts.sum())
    weight = len(rows) / labelled if labelled and len(rows) else 1.0
    return selection_of(pool, rows, knobs, labelled_weight=weight)
