"""Confident learning: which labels are likely wrong, from what models said that never saw them.

Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 70.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_TOLERANCE = 1e-6
"""A class whose images are all alike has a mean that rounding may put above every one of them."""


@dataclass(frozen=True, eq=False)
class LabelIssues:
    """N given labels of C classes, judged."""

    thresholds: NDArray[np.float64]
    """(C,) t_j: mean out-of-fold probability of class j over the images given as j; infinite for a class
    that cannot be judged."""
    suggested: NDArray[np.int64]
    """(N,) the class that an image is confidently counted as; -1 where no class reaches its threshold."""
    is_issue: NDArray[np.bool_]
    """(N,) counted as another class than the given one: off the diagonal of the confident joint."""
    confident_joint: NDArray[np.int64]
    """(C, C) counts: rows are given classes, columns suggested ones."""
    self_confidence: NDArray[np.float64]
    """(N,) probability of the given class."""
    margin: NDArray[np.float64]
    """(N,) probability of the given class less that of the best other one, -1 … 1."""
    estimated: float
    """How many labels are wrong in all by the calibrated joint, n · Σ Q[i, j] over i ≠ j (Eq. 3)."""


def find_label_issues(probabilities: NDArray[np.float32], given: NDArray[np.int64]) -> LabelIssues:
    """Judge labels by out-of-fold probabilities (Northcutt et al. 2021, Eq. 1–3).

    A class with a single image cannot be judged: the model that looked at it had never seen its class. It is
    never flagged, and nothing is suggested to be it.

    Args:
        probabilities: (N, C), rows sum to 1, of models that did not train on the image.
        given: (N,) the labels in 0 … C - 1.
    """
    count, classes = probabilities.shape
    values = probabilities.astype(np.float64)
    rows = np.arange(count)
    own = values[rows, given]
    images = np.bincount(given, minlength=classes)
    judged = images >= 2
    thresholds = np.full(classes, np.inf)
    thresholds[judged] = np.bincount(given, weights=own, minlength=classes)[judged] / images[judged]
    reached = np.where(values >= thresholds - _TOLERANCE, values, -1.0)
    suggested = np.where(reached.max(axis=1) >= 0, reached.argmax(axis=1), -1)
    counted = (suggested >= 0) & judged[given]
    joint = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(joint, (given[counted], suggested[counted]), 1)
    others = values.copy()
    others[rows, given] = -1.0
    return LabelIssues(
        thresholds=thresholds,
        suggested=suggested.astype(np.int64),
        is_issue=counted & (suggested != given),
        confident_joint=joint,
        self_confidence=own,
        margin=own - others.max(axis=1),
        estimated=_estimated(joint, images),
    )


def _estimated(joint: NDArray[np.int64], images: NDArray[np.int64]) -> float:
    """Each row of the joint calibrated to the images given as its class; what lies off the diagonal."""
    sums = joint.sum(axis=1)
    seen = sums > 0
    calibrated = joint[seen] / sums[seen, None] * images[seen, None]
    wrong = calibrated.sum() - calibrated[np.arange(len(calibrated)), np.flatnonzero(seen)].sum()
    total = calibrated.sum()
    return float(wrong / total * images.sum()) if total else 0.0
