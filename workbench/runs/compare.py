"""Two or more runs side by side: what differs in their recipes, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from workbench.runs.layout import RunDirectory
from workbench.runs.provenance import read_provenance
from workbench.runs.results import EVALUATIONS, Evaluation, Results, read_results
from workbench.runs.summary import RunSummary, summarise
from workbench.support.errors import UserError

_SPOKEN_OF = ("name", "description", "tags", "schema")
_MOST_CHANGED = 10
_METRICS = ("accuracy", "macro_f1", "top5", "loss", "calibration_error")
_NUMBERS = (
    *(f"{name.replace('_', '.')}.{metric}" for name in EVALUATIONS for metric in _METRICS),
    "round.pseudo_label_accuracy",
    "round.coverage",
    "best.epoch",
    "training_seconds",
    "images_per_second",
    "peak_memory_bytes",
)


@dataclass(frozen=True, slots=True)
class Difference:
    """A recipe key in which the runs differ; a value is None where the run has no such key."""

    key: str
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class MetricRow:
    """A number of every run; None where a run has none."""

    key: str
    values: tuple[float | None, ...]

    @property
    def deltas(self) -> tuple[float | None, ...]:
        """Each less the first, the baseline's own being 0; None where either is missing."""
        first = self.values[0]
        return tuple(None if value is None or first is None else value - first for value in self.values)


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


@dataclass(frozen=True, slots=True)
class Comparison:
    """The first run is the baseline that the others are measured against."""

    runs: tuple[RunSummary, ...]
    recipe: tuple[Difference, ...]
    metrics: tuple[MetricRow, ...]
    recall: tuple[MetricRow, ...]
    """Test recall by class (the key is the class), those that all tested runs share, largest change first."""
    confusion: tuple[ConfusionChange, ...]
    """The pairs whose test errors changed most in each run, most first."""
    warnings: tuple[str, ...]
    """Why the numbers may not be comparable."""


def compare(runs: Sequence[RunDirectory]) -> Comparison:
    """Compare runs with the first.

    Raises:
        UserError: fewer than two different runs, or a run's results are damaged.
    """
    if len({run.path.resolve() for run in runs}) < len(runs):
        raise UserError("a run is named twice", hint="name each run once")
    if len(runs) < 2:
        raise UserError("one run has nothing to be compared with", allowed="two or more runs")
    summaries = tuple(summarise(run) for run in runs)
    results = [_results(run) for run in runs]
    return Comparison(
        runs=summaries,
        recipe=tuple(_recipe_differences(summaries)),
        metrics=tuple(_metric_rows(summaries)),
        recall=tuple(_recall_rows(results)),
        confusion=tuple(_confusion_changes(results)),
        warnings=tuple(_warnings(runs, summaries, results)),
    )


def _results(run: RunDirectory) -> Results | None:
    try:
        return read_results(run.results)
    except FileNotFoundError:
        return None


def _recipe_differences(summaries: Sequence[RunSummary]) -> list[Difference]:
    keys = dict.fromkeys(key for summary in summaries for key in summary.recipe)
    rows = [
        Difference(key, tuple(s.recipe.get(key) for s in summaries)) for key in keys if key not in _SPOKEN_OF
    ]
    return [row for row in rows if any(_differ(value, row.values[0]) for value in row.values)]


def _differ(one: Any, other: Any) -> bool:
    """Unlike `!=`, sees true and 1 as different, as TOML does."""
    return bool(one != other) or isinstance(one, bool) != isinstance(other, bool)


def _metric_rows(summaries: Sequence[RunSummary]) -> list[MetricRow]:
    rows = [MetricRow(key, tuple(s.metrics.get(key) for s in summaries)) for key in _NUMBERS]
    return [row for row in rows if any(value is not None for value in row.values)]


def _recall_rows(results: Sequence[Results | None]) -> list[MetricRow]:
    tested = [None if r is None else dict(zip(r.classes, r.test.recall, strict=True)) for r in results]
    present = [recall for recall in tested if recall is not None]
    if not present:
        return []
    shared = [name for name in present[0] if all(name in recall for recall in present)]
    rows = [MetricRow(name, tuple(None if r is None else r[name] for r in tested)) for name in shared]
    return sorted(rows, key=lambda row: -max(abs(delta or 0.0) for delta in row.deltas))


def _confusion_changes(results: Sequence[Results | None]) -> list[ConfusionChange]:
    baseline = results[0]
    if baseline is None:
        return []
    before = _errors(baseline.classes, baseline.test)
    changes: list[ConfusionChange] = []
    for place, other in enumerate(results):
        if place == 0 or other is None or set(other.classes) != set(baseline.classes):
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


def _warnings(
    runs: Sequence[RunDirectory], summaries: Sequence[RunSummary], results: Sequence[Results | None]
) -> list[str]:
    found = [
        f"{s.id} is {s.status}: no test results" for s, r in zip(summaries, results, strict=True) if r is None
    ]
    known = [r for r in results if r is not None]
    if len({frozenset(r.classes) for r in known}) > 1:
        found.append("the runs tell different classes apart: their accuracies are not comparable")
    elif len({r.test.images for r in known}) > 1:
        found.append("the runs were tested on different numbers of images")
    made = [read_provenance(run) for run in runs]
    if len({m["data_fingerprint"] for m in made if "data_fingerprint" in m}) > 1:
        found.append("the data differ between the runs (data_fingerprint)")
    elif len({m["split_fingerprint"] for m in made if "split_fingerprint" in m}) > 1:
        found.append("the runs divide the data differently (split_fingerprint)")
    return found
