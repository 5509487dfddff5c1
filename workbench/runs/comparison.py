"""Two or more runs side by side: what differs in their recipes, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from workbench.runs.confusion import ConfusionChange, confusion_changes
from workbench.runs.intervals import holm
from workbench.runs.layout import RunDirectory
from workbench.runs.paired import Answers, NotPaired, PairedTest, answers_of, paired_over_seeds, paired_test
from workbench.runs.predictions import load_predictions
from workbench.runs.provenance import read_provenance
from workbench.runs.results import EVALUATIONS, Results, read_results
from workbench.runs.seed_groups import SEED_KEYS, SeedGroup, Spread, group_by_seed, paired_t, spread
from workbench.runs.summary import Reading, RunSummary, problem_of, summarise
from workbench.support.digests import BY_CONTENT
from workbench.support.errors import UserError

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
        paired=_adjusted(
            [None if place == baseline else paired(read[baseline], one) for place, one in enumerate(read)]
        ),
    )


def _adjusted(
    tests: Sequence[PairedTest | NotPaired | None],
) -> tuple[PairedTest | NotPaired | None, ...]:
    """The tests with their p for as many as they are (Holm)."""
    adjusted = holm([test.p if isinstance(test, PairedTest) else None for test in tests])
    return tuple(
        replace(test, p_holm=p) if isinstance(test, PairedTest) and p is not None else test
        for test, p in zip(tests, adjusted, strict=True)
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


_ACCURACY = "test.accuracy"


@dataclass(frozen=True, slots=True)
class SpreadRow:
    """A number of every group; None where no run of a group has it."""

    key: str
    spreads: tuple[Spread | None, ...]
    baseline: int
    is_told: bool = True
    """As a `MetricRow` has it."""

    @property
    def deltas(self) -> tuple[float | None, ...]:
        """Each mean less the baseline's; None where either is missing."""
        first = self.spreads[self.baseline]
        return tuple(None if s is None or first is None else s.mean - first.mean for s in self.spreads)


@dataclass(frozen=True, slots=True)
class SeedTest:
    """A group against the baseline's on the seeds that both ran with, by test accuracy."""

    seeds: tuple[str, ...]
    difference: Spread
    """Accuracy less the baseline's under the same seed."""
    better: int
    """Seeds under which it beats the baseline."""
    p_images: float | None
    """Is it better on these seeds? The images are the sample (`mcnemar.sign_flip`; one seed: McNemar's test).
    None where predictions are missing."""
    p_seeds: float | None
    """Will it be better on other seeds? The seeds are the sample (`seeds.paired_t`). None for one seed."""
    p_images_holm: float | None = None
    p_seeds_holm: float | None = None
    """Both adjusted for all groups that are tested against the baseline's."""


def p_of(test: PairedTest | SeedTest | NotPaired | None) -> float | None:
    """What a difference is marked by: over images, adjusted for the number of tests; None without a test."""
    match test:
        case PairedTest():
            return test.p_holm
        case SeedTest():
            return test.p_images_holm
        case _:
            return None


@dataclass(frozen=True, slots=True)
class GroupComparison:
    """Groups of runs that differ in seeds only, measured against one of them."""

    groups: tuple[SeedGroup, ...]
    baseline: int
    """Its place in `groups`."""
    recipe: tuple[Difference, ...]
    """The keys in which the groups differ; seeds are not among them."""
    metrics: tuple[SpreadRow, ...]
    tests: tuple[SeedTest | NotPaired | None, ...]
    """None for the baseline itself."""
    left_out: tuple[str, ...] = ()
    """Which runs the numbers leave out, and why, in a line each."""

    def group_of(self, place: int) -> int:
        """The place of the group that holds the run at `place`."""
        return next(number for number, group in enumerate(self.groups) if place in group.runs)


def compare_groups(read: Sequence[RunRead], baseline: int = 0) -> GroupComparison:
    """Group runs by recipe and measure each group against that of the run at the place `baseline`.

    Of several runs of a group with one seed, one stands for the seed (`seeds.standing`).
    """
    summaries = [one.summary for one in read]
    groups = group_by_seed(summaries)
    first = next(place for place, group in enumerate(groups) if baseline in group.runs)
    leaders = [summaries[group.runs[0]] for group in groups]
    rows = (
        SpreadRow(key, tuple(_over(group, read, key) for group in groups), first, is_told(key, read))
        for key in NUMBERS
    )
    return GroupComparison(
        groups=tuple(groups),
        baseline=first,
        recipe=tuple(row for row in recipe_rows(leaders) if row.key not in SEED_KEYS and row.differs),
        metrics=tuple(row for row in rows if any(row.spreads) and not _none_has_rounds(row)),
        tests=_adjusted_over_seeds(
            [
                None if place == first else _test(groups[first], group, read)
                for place, group in enumerate(groups)
            ]
        ),
        left_out=tuple(
            f"{summaries[out.run].handle} is left out: {out.reason}"
            for group in groups
            for out in group.left_out
        ),
    )


def _adjusted_over_seeds(
    tests: Sequence[SeedTest | NotPaired | None],
) -> tuple[SeedTest | NotPaired | None, ...]:
    """The tests with their p for as many as they are (Holm)."""
    images = holm([test.p_images if isinstance(test, SeedTest) else None for test in tests])
    seeds = holm([test.p_seeds if isinstance(test, SeedTest) else None for test in tests])
    return tuple(
        replace(test, p_images_holm=images[place], p_seeds_holm=seeds[place])
        if isinstance(test, SeedTest)
        else test
        for place, test in enumerate(tests)
    )


def _none_has_rounds(row: SpreadRow) -> bool:
    return row.key == "best.round" and not any(held.mean for held in row.spreads if held is not None)


def _over(group: SeedGroup, read: Sequence[RunRead], key: str) -> Spread | None:
    return spread(read[place].summary.metrics.get(key) for place in group.counted)


def _standing_for(group: SeedGroup, read: Sequence[RunRead], key: str) -> dict[str, int]:
    """Seed -> the run that stands for it, where that has the number."""
    seeds = dict(zip(group.runs, group.seeds, strict=True))
    return {seeds[place]: place for place in group.counted if key in read[place].summary.metrics}


def _test(baseline: SeedGroup, group: SeedGroup, read: Sequence[RunRead]) -> SeedTest | NotPaired:
    ours, theirs = (_standing_for(one, read, _ACCURACY) for one in (group, baseline))
    seeds = tuple(seed for seed in ours if seed in theirs)
    if not seeds:
        return NotPaired("no seed that both were tested under")
    if len({frozenset(r.classes) for r in _results(read, (*ours.values(), *theirs.values()))}) > 1:
        return NotPaired("they tell different classes apart")
    gains = [
        read[ours[seed]].summary.metrics[_ACCURACY] - read[theirs[seed]].summary.metrics[_ACCURACY]
        for seed in seeds
    ]
    difference = spread(gains)
    assert difference is not None
    pairs = [(read[theirs[seed]].answers, read[ours[seed]].answers) for seed in seeds]
    known = [(a, b) for a, b in pairs if isinstance(a, Answers) and isinstance(b, Answers)]
    return SeedTest(
        seeds=seeds,
        difference=difference,
        better=sum(gain > 0 for gain in gains),
        p_images=paired_over_seeds(known) if len(known) == len(pairs) else None,
        p_seeds=paired_t(gains),
    )


def _results(read: Sequence[RunRead], places: Iterable[int]) -> list[Results]:
    return [results for results in (read[place].results for place in places) if results is not None]
