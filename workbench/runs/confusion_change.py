"""Which mistakes a run makes more or less often than another one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.runs.results import Evaluation, Results

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
