"""Confusion matrices: the order of their classes, and which mistakes a run makes more often."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from workbench.runs.results import Evaluation, Results

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


_MOST_CHANGED = 10


@dataclass(frozen=True, slots=True)
class ConfusionChange:
    """A pair of classes that a run confuses more or less often than the baseline."""

    run: int
    """Its place in `Comparison.runs`."""
    true: str
    predicted: str
    baseline: int
    count: int

    @property
    def delta(self) -> int:
        """More mistakes above 0, fewer below."""
        return self.count - self.baseline


@dataclass(frozen=True, eq=False)
class ConfusionDelta:
    """Two test confusions cell by cell."""

    classes: tuple[str, ...]
    before: NDArray[np.int64]
    """(C, C) counts of the baseline; rows are true classes, columns predictions."""
    after: NDArray[np.int64]
    """(C, C) counts of the run, in the baseline's order of classes."""

    @property
    def change(self) -> NDArray[np.int64]:
        """(C, C): after less before."""
        return self.after - self.before


def confusion_delta(baseline: Results, run: Results) -> ConfusionDelta | None:
    """The test confusions of two runs of the same classes; None where the classes differ."""
    if set(run.classes) != set(baseline.classes):
        return None
    place = {name: number for number, name in enumerate(run.classes)}
    order = [place[name] for name in baseline.classes]
    after = np.array(run.test.confusion, np.int64)[np.ix_(order, order)]
    return ConfusionDelta(baseline.classes, np.array(baseline.test.confusion, np.int64), after)


def confusion_changes(results: Sequence[Results | None], baseline: int) -> list[ConfusionChange]:
    """The pairs whose test errors changed most in each run, at most ten a run, most first."""
    first = results[baseline]
    if first is None:
        return []
    before = _errors(first.classes, first.test)
    changes: list[ConfusionChange] = []
    for place, other in enumerate(results):
        if place == baseline or other is None or set(other.classes) != set(first.classes):
            continue
        after = _errors(other.classes, other.test)
        pairs = dict.fromkeys((*before, *after))
        changed = [
            ConfusionChange(
                place, true, predicted, before.get((true, predicted), 0), after.get((true, predicted), 0)
            )
            for true, predicted in pairs
        ]
        changed = [change for change in changed if change.delta]
        changes += sorted(changed, key=lambda change: -abs(change.delta))[:_MOST_CHANGED]
    return changes


def _errors(classes: Sequence[str], evaluation: Evaluation) -> dict[tuple[str, str], int]:
    """Images by (true class, other class they were taken for)."""
    return {
        (classes[true], classes[predicted]): count
        for true, row in enumerate(evaluation.confusion)
        for predicted, count in enumerate(row)
        if count and true != predicted
    }
