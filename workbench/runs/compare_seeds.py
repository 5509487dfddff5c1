"""Recipes side by side, each over the seeds that it ran with: mean, spread, and a paired test."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from workbench.runs.compare import NUMBERS, Difference, RunRead, is_told, recipe_rows
from workbench.runs.paired import Answers, NotPaired, paired_over_seeds
from workbench.runs.results import Results
from workbench.runs.seeds import SEED_KEYS, SeedGroup, Spread, group_by_seed, paired_t, spread

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
        metrics=tuple(row for row in rows if any(row.spreads) and not _has_no_rounds(row)),
        tests=tuple(
            None if place == first else _test(groups[first], group, read)
            for place, group in enumerate(groups)
        ),
        left_out=tuple(
            f"{summaries[out.run].handle} is left out: {out.reason}"
            for group in groups
            for out in group.left_out
        ),
    )


def _has_no_rounds(row: SpreadRow) -> bool:
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
