"""What the labelled images' neighbours say of the pool: alone, or as a vote beside the teacher's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from workbench.pseudo.graph import class_seeds, neighbour_graph, propagate
from workbench.pseudo.pool import Pool
from workbench.recipe.pseudo_label import LabelPropagation

# No class is impossible to either voter: a product with 0 would be a veto.
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


def with_neighbours_vote(pool: Pool, share: float) -> Pool:
    """The pool with p^(1−β) · z^β, made to sum to 1, where z is what label propagation says.

    A logarithmic opinion pool (Heskes 1998) with the defaults of label_propagation. Where no label reaches
    an image the teacher's word stands.

    Args:
        share: β in (0, 1).
    """
    spread = spread_labels(pool, LabelPropagation(labelled_fraction=0.5))  # only its graph's knobs count
    teacher = np.log(np.maximum(pool.probabilities.astype(np.float64), FLOOR))
    around = np.log(np.maximum(spread.probabilities.astype(np.float64), FLOOR))
    logits = (1 - share) * teacher + share * around
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    voted = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    assert spread.reached is not None  # label propagation always says
    kept = np.where(spread.reached[:, None], voted, pool.probabilities)
    return replace(pool, probabilities=kept)
