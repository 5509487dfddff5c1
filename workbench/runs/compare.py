"""Two or more runs side by side: what differs in their recipes, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from workbench.runs.confusion_change import ConfusionChange, confusion_changes
from workbench.runs.layout import RunDirectory
from workbench.runs.paired import Answers, NotPaired, PairedTest, answers_of, paired_test
from workbench.runs.predictions import load_predictions
from workbench.runs.provenance import read_provenance
from workbench.runs.results import EVALUATIONS, Results, read_results
from workbench.runs.summary import Reading, RunSummary, problem_of, summarise
from workbench.support.errors import UserError
from workbench.support.fingerprint import BY_CONTENT

MOST_RUNS = 20
_SPOKEN_OF = ("name", "description", "tags", "schema")
_METRICS = ("accuracy", "macro_f1", "top5", "loss", "calibration_error")
NUMBERS = (
    *(f"{name.replace('_', '.')}.{metric}" for name in ("test", "val") for metric in _METRICS),
    *(f"{name.replace('_', '.')}.{metric}" for name in reversed(EVALUATIONS[2:]) for metric in _METRICS),
    "round.pseudo_label_accuracy",
    "round.coverage",
    "best.round",
    "best.epoch",
    "training_seconds",
    "images_per_second",
    "peak_memory_bytes",
)
"""The numbers that are compared, what matters most first."""
_LESS_IS_BETTER = ("loss", "calibration_error", "training_seconds", "peak_memory_bytes")
_NEITHER = ("best.round", "best.epoch")


@dataclass(frozen=True, slots=True)
class Difference:
    """A recipe key and its values; a value is None where the run has no such key."""

    key: str
    values: tuple[Any, ...]

    @property
    def differs(self) -> bool:
        """Whether the runs disagree in it."""
        return any(_differ(value, self.values[0]) for value in self.values)


@dataclass(frozen=True, slots=True)
class MetricRow:
    """A number of every run; None where a run has none."""

    key: str
    values: tuple[float | None, ...]
    baseline: int = 0
    """The place that the others are measured against."""
    is_told: bool = True
    """False for a number that says nothing of these runs: tables leave it out, exports keep it."""

    @property
    def deltas(self) -> tuple[float | None, ...]:
        """Each less the baseline's, whose own is 0; None where either is missing."""
        first = self.values[self.baseline]
        return tuple(None if value is None or first is None else value - first for value in self.values)


@dataclass(frozen=True, eq=False)
class RunRead:
    """What a comparison reads of one run from disk."""

    summary: RunSummary
    results: Results | None
    answers: Answers | NotPaired
    """What its final model said of the test images, or why that is not known."""
    data_fingerprint: str
    split_fingerprint: str
    problem: str
    """Why there are no results, or what else could not be read; empty where all is well."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Runs measured against one of them."""

    runs: tuple[RunSummary, ...]
    recipe: tuple[Difference, ...]
    """The keys in which the runs differ."""
    metrics: tuple[MetricRow, ...]
    recall: tuple[MetricRow, ...]
    """Test recall by class (the key is the class), those that all tested runs share, largest change first."""
    confusion: tuple[ConfusionChange, ...]
    """The pairs whose test errors changed most in each run, most first."""
    warnings: tuple[str, ...]
    """Why the numbers may not be comparable."""
    baseline: int = 0
    """The place in `runs` that the others are measured against."""
    paired: tuple[PairedTest | NotPaired | None, ...] = ()
    """McNemar's test of each run against the baseline; None for the baseline itself."""


def compare(runs: Sequence[RunDirectory], baseline: int = 0) -> Comparison:
    """Compare runs with the one at the place `baseline`.

    Raises:
        UserError: fewer than two different runs, or more than `MOST_RUNS`.
    """
    return compare_read(read_runs(runs), baseline)


def read_runs(runs: Sequence[RunDirectory]) -> list[RunRead]:
    """Read what a comparison needs; a run's damaged files are told in its `problem` and `answers`.

    Raises:
        UserError: fewer than two different runs, or more than `MOST_RUNS`.
    """
    if len({run.path.resolve() for run in runs}) < len(runs):
        raise UserError("a run is named twice", hint="name each run once")
    if len(runs) < 2:
        raise UserError("one run has nothing to be compared with", allowed="two or more runs")
    if len(runs) > MOST_RUNS:
        raise UserError(f"{len(runs)} runs are too many to compare", allowed=f"2 to {MOST_RUNS} runs")
    return [read_run(run) for run in runs]


def read_run(run: RunDirectory) -> RunRead:
    """As `read_runs`, for one."""
    summary = summarise(run)
    read = Reading()
    made: Mapping[str, Any] = read(run.provenance, lambda: read_provenance(run), {})
    results = read(run.results, lambda: read_results(run.results), None)
    problem = "; ".join(read.problems)
    if problem:
        problem = f"{run.id}: {problem}"
    elif results is None:
        problem = f"{run.id} is {summary.status}: no test results"
    return RunRead(
        summary=summary,
        results=results,
        answers=_answers(run, results),
        data_fingerprint=str(made.get("data_fingerprint", "")),
        split_fingerprint=str(made.get("split_fingerprint", "")),
        problem=problem,
    )


def compare_read(read: Sequence[RunRead], baseline: int = 0) -> Comparison:
    """As `compare`, of runs that have been read; touches no disk."""
    results = [one.results for one in read]
    summaries = tuple(one.summary for one in read)
    return Comparison(
        runs=summaries,
        recipe=tuple(row for row in recipe_rows(summaries) if row.differs),
        metrics=tuple(
            replace(row, is_told=is_told(row.key, read)) for row in _metric_rows(summaries, baseline)
        ),
        recall=tuple(_recall_rows(results, baseline)),
        confusion=tuple(confusion_changes(results, baseline)),
        warnings=tuple(_warnings(read)),
        baseline=baseline,
        paired=tuple(
            None if place == baseline else paired(read[baseline], one) for place, one in enumerate(read)
        ),
    )


def is_told(key: str, read: Sequence[RunRead]) -> bool:
    """Whether a number says anything of runs: accuracy among five does not, of five classes or fewer."""
    tested = [one.results.test for one in read if one.results is not None]
    return not key.endswith(".top5") or any(test.told_top5 is not None for test in tested)


def paired(baseline: RunRead, run: RunRead) -> PairedTest | NotPaired:
    """McNemar's test of a run against another one."""
    for one in (baseline, run):
        if isinstance(one.answers, NotPaired):
            return one.answers
    assert isinstance(baseline.answers, Answers)
    assert isinstance(run.answers, Answers)
    return paired_test(baseline.answers, run.answers)


def recipe_rows(summaries: Sequence[RunSummary]) -> list[Difference]:
    """Every recipe key that counts with its values, whether they differ or not."""
    keys = dict.fromkeys(key for summary in summaries for key in summary.recipe)
    return [
        Difference(key, tuple(s.recipe.get(key) for s in summaries)) for key in keys if key not in _SPOKEN_OF
    ]


def goodness(key: str, delta: float | None) -> int:
    """1 where a change of the number `key` by `delta` is for the better, -1 for the worse, 0 for neither."""
    if not delta or key in _NEITHER:
        return 0
    less_is_better = key.rpartition(".")[2] in _LESS_IS_BETTER
    return 1 if (delta < 0) is less_is_better else -1


def _answers(run: RunDirectory, results: Results | None) -> Answers | NotPaired:
    if results is None:
        return NotPaired(f"{run.id} has no test results")
    path = run.predictions("test")
    try:
        return answers_of(load_predictions(path), results.classes)
    except FileNotFoundError:
        return NotPaired(f"{run.id} has no predictions/test.npz")
    except Exception as error:
        return NotPaired(f"{run.id}: predictions/{problem_of(path, error)}")


def _differ(one: Any, other: Any) -> bool:
    """Unlike `!=`, sees true and 1 as different, as TOML does."""
    return bool(one != other) or isinstance(one, bool) != isinstance(other, bool)


def _metric_rows(summaries: Sequence[RunSummary], baseline: int) -> list[MetricRow]:
    rows = [MetricRow(key, tuple(s.metrics.get(key) for s in summaries), baseline) for key in NUMBERS]
    return [row for row in rows if any(value is not None for value in row.values) and not _has_no_rounds(row)]


def _has_no_rounds(row: MetricRow) -> bool:
    """Whether it is the best round of runs that have none: an epoch counts from 1 within its round."""
    return row.key == "best.round" and not any(row.values)


def _recall_rows(results: Sequence[Results | None], baseline: int) -> list[MetricRow]:
    recalls = [None if r is None else dict(zip(r.classes, r.test.recall, strict=True)) for r in results]
    present = [recall for recall in recalls if recall is not None]
    if not present:
        return []
    shared = [name for name in present[0] if all(name in recall for recall in present)]
    rows = [
        MetricRow(name, tuple(None if r is None else r[name] for r in recalls), baseline) for name in shared
    ]
    return sorted(rows, key=lambda row: -max(abs(delta or 0.0) for delta in row.deltas))


def _warnings(read: Sequence[RunRead]) -> list[str]:
    found = [one.problem for one in read if one.problem]
    known = [one.results for one in read if one.results is not None]
    if len({frozenset(r.classes) for r in known}) > 1:
        found.append("the runs tell different classes apart: their accuracies are not comparable")
    elif len({r.test.images for r in known}) > 1:
        found.append("the runs were tested on different numbers of images")
    data = {one.data_fingerprint for one in read} - {""}
    by_content = {print_ for print_ in data if print_.startswith(BY_CONTENT)}
    # Those of older runs say less and look otherwise: each kind is compared with its own.
    if len(by_content) > 1 or len(data - by_content) > 1:
        found.append("the data differ between the runs (data_fingerprint)")
    elif len({one.split_fingerprint for one in read} - {""}) > 1:
        found.append("the runs divide the data differently (split_fingerprint)")
    return found
