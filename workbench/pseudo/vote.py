"""What neighbours and class means say of the pool: alone, or as votes beside the teacher's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from workbench.pseudo.balance import balanced
from workbench.pseudo.graph import class_seeds, neighbour_graph, propagate
from workbench.pseudo.means import nearest_means
from workbench.pseudo.pool import Pool
from workbench.recipe.by_features import LabelPropagation, Prototype
from workbench.recipe.offline import FromProbabilities

# No class is impossible to any voter: a product with 0 would be a veto.
FLOOR = 1e-4


def spread_labels(pool: Pool, knobs: LabelPropagation) -> Pool:
    """The pool with (I − α𝒲)⁻¹ Y, clipped at 0 and made to sum to 1, in place of the teacher's probabilities.

    Iscen et al. 2019, eq. 9 and 10. An image that no label reaches has all classes alike, not `reached`.
    """
    features, labelled, labels = pool.features, pool.labelled_features, pool.labels
    assert features is not None and labelled is not None and labels is not None  # noqa: PT018
    graph = neighbour_graph(np.concatenate([labelled, features]), knobs.neighbours, knobs.gamma)
    classes = pool.probabilities.shape[1]
    seeds = class_seeds(labels, len(graph.starts) - 1, classes)
    scores = np.maximum(propagate(graph, seeds, knobs.alpha)[len(labels) :], 0)
    sums = scores.sum(axis=1, keepdims=True)
    # What conjugate gradient leaves where no path leads is rounding error.
    reached = sums[:, 0] > 1e-12
    shares = np.divide(scores, sums, out=np.full_like(scores, 1 / classes), where=reached[:, None])
    return replace(pool, probabilities=shares.astype(np.float32), reached=reached)


def with_votes(pool: Pool, knobs: FromProbabilities) -> Pool:
    """The pool with p^(1 − β − γ) · z^β · m^γ, made to sum to 1: propagation and class means vote too.

    A logarithmic opinion pool (Heskes 1998) with the defaults of label_propagation and of prototype. With
    `balance = "sinkhorn"` these two are balanced before they vote: a class that gathers too many images would
    outvote the teacher on all of them. Where no label reaches an image the others' word stands.
    """
    # Of the knobs of labels one has to be there; none counts.
    shared: dict[str, Any] = {"labelled_fraction": 0.5}
    if knobs.balance == "sinkhorn":
        shared |= knobs.model_dump(include={"balance", "sinkhorn_steps"})
    logits = np.zeros(pool.probabilities.shape)
    cast = np.zeros((len(logits), 1))
    for share, voter in _voters(pool, knobs, shared):
        reached = np.ones_like(cast) if voter.reached is None else voter.reached[:, None]
        logits += share * reached * np.log(np.maximum(voter.probabilities.astype(np.float64), FLOOR))
        cast += share * reached
    logits /= np.maximum(cast, 1e-12)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    voted = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return replace(pool, probabilities=np.where(cast > 0, voted, pool.probabilities))


def _voters(pool: Pool, knobs: FromProbabilities, shared: dict[str, Any]) -> Iterator[tuple[float, Pool]]:
    """(share of the vote, what is said) of all who have one."""
    own = 1 - knobs.propagation - knobs.prototypes
    if own > 0:
        yield own, pool
    if knobs.propagation:
        around = LabelPropagation.model_validate(shared)
        yield knobs.propagation, balanced(spread_labels(pool, around), around, None)
    if knobs.prototypes:
        yield knobs.prototypes, nearest_means(pool, Prototype.model_validate(shared))
