"""Noisy student: the sure ones of every class alike, for a student that learns under noise."""

from __future__ import annotations

import numpy as np

from workbench.pseudo.pool import Pool, Selection
from workbench.pseudo.registry import rule_for
from workbench.pseudo.targets import selection_of
from workbench.recipe.by_confidence import NoisyStudent


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
