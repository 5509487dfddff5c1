"""In which order a confusion matrix shows its classes."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

ClassOrder = Literal["class", "recall", "clustered"]
CLASS_ORDERS: tuple[ClassOrder, ...] = ("class", "recall", "clustered")


def class_order(matrix: NDArray[np.integer], order: ClassOrder) -> NDArray[np.intp]:
    """The classes in an order: as they are, worst recall first, or with those confused beside each other.

    Args:
        matrix: (C, C) counts, rows true classes, columns predictions.

    Returns:
        (C,) intp, a permutation. Equal classes keep their order.
    """
    if order == "recall":
        return np.argsort(recall(matrix), kind="stable")  # NaN, a class without images, comes last
    if order == "clustered":
        return np.array(_clustered(_likeness(matrix)), dtype=np.intp)
    return np.arange(len(matrix))


def recall(matrix: NDArray[np.integer]) -> NDArray[np.float64]:
    """(C,) float64: the share of each class's images that was recognised; NaN for a class without images."""
    totals = matrix.sum(axis=1).astype(np.float64)
    right = np.diagonal(matrix).astype(np.float64)
    share: NDArray[np.float64] = np.full(len(matrix), np.nan)
    np.divide(right, totals, out=share, where=totals > 0)
    return share


def _likeness(matrix: NDArray[np.integer]) -> NDArray[np.float64]:
    """(C, C) float64, symmetric: how often two classes are taken for each other, as shares of each."""
    totals = np.maximum(1, matrix.sum(axis=1, keepdims=True))
    shares = matrix / totals
    return np.asarray(shares + shares.T, dtype=np.float64)


def _clustered(likeness: NDArray[np.float64]) -> list[int]:
    """Single linkage, each two clusters turned so that the pair that joins them comes close together."""
    count = len(likeness)
    rows, columns = np.triu_indices(count, k=1)
    strengths = likeness[rows, columns]
    some = np.flatnonzero(strengths > 0)
    ranked = some[np.argsort(-strengths[some], kind="stable")]
    clusters: list[list[int]] = [[i] for i in range(count)]
    for one, other in zip(rows[ranked].tolist(), columns[ranked].tolist(), strict=True):
        left, right = clusters[one], clusters[other]
        if left is right:
            continue
        if left.index(one) < len(left) // 2:
            left.reverse()
        if right.index(other) > (len(right) - 1) // 2:
            right.reverse()
        left.extend(right)
        for member in right:
            clusters[member] = left
    ordered: list[int] = []
    for cluster in sorted({id(c): c for c in clusters}.values(), key=lambda c: (-len(c), c[0])):
        ordered.extend(cluster)
    return ordered
