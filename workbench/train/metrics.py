"""What a classifier's probabilities are worth: the numbers of `results.toml`, in plain numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.runs.results import Evaluation

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


def evaluate_probabilities(probabilities: Floats, labels: Ints) -> Evaluation:
    """Every headline number of one split.

    Args:
        probabilities: (N, C) float32, rows sum to 1, N > 0.
        labels: (N,) int64 true classes.
    """
    predicted = probabilities.argmax(axis=1)
    confusion = confusion_matrix(predicted, labels, probabilities.shape[1])
    return Evaluation(
        images=len(labels),
        accuracy=float((predicted == labels).mean()),
        loss=negative_log_likelihood(probabilities, labels),
        macro_f1=macro_f1(confusion),
        top5=top_k_accuracy(probabilities, labels, 5),
        calibration_error=expected_calibration_error(probabilities, labels),
        recall=class_recall(confusion),
        confusion=tuple(tuple(int(n) for n in row) for row in confusion),
    )


def confusion_matrix(predicted: Ints, labels: Ints, classes: int) -> Ints:
    """(C, C) int64 counts; rows are true classes, columns predictions."""
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def class_recall(confusion: Ints) -> tuple[float | None, ...]:
    """Share of each true class that was recognised; None for a class with no image."""
    return tuple(
        float(right / total) if total else None
        for right, total in zip(np.diagonal(confusion), confusion.sum(axis=1), strict=True)
    )


def macro_f1(confusion: Ints) -> float:
    """Mean over classes of 2TP / (2TP + FP + FN); classes neither present nor predicted are left out."""
    true_positive = np.diagonal(confusion).astype(np.float64)
    involved = confusion.sum(axis=0) + confusion.sum(axis=1)  # 2TP + FP + FN
    seen = involved > 0
    return float((2 * true_positive[seen] / involved[seen]).mean())


def top_k_accuracy(probabilities: Floats, labels: Ints, k: int) -> float:
    """Share of images whose true class is among the k most probable; 1.0 when there are at most k classes."""
    if probabilities.shape[1] <= k:
        return 1.0
    best = np.argpartition(-probabilities, k - 1, axis=1)[:, :k]
    return float((best == labels[:, None]).any(axis=1).mean())


def expected_calibration_error(probabilities: Floats, labels: Ints, bins: int = 15) -> float:
    """Mean over equal-width bins of |accuracy - confidence|, by bin size (Guo et al. 2017, Eq. 3)."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    # Bins are (low, high], so a confidence of exactly 1 falls into the last one.
    index = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    counts = np.bincount(index, minlength=bins)
    gaps = np.bincount(index, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / counts.sum())


def negative_log_likelihood(probabilities: Floats, labels: Ints) -> float:
    """Mean −log p(true class), in nats; probabilities are floored at 1e-12."""
    of_truth = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(of_truth, 1e-12)).mean())
