"""Runs in groups, by their recipes or by any keys, each with the mean and spread of its numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from workbench.runs.keys import Value, values_of
from workbench.runs.seeds import Spread, common_name, group_by_seed, seed_of, spread, standing
from workbench.runs.summary import RunSummary


@dataclass(frozen=True, slots=True)
class RunGroup:
    """Runs that belong together."""

    name: str
    runs: tuple[RunSummary, ...]
    shared: tuple[tuple[str, Value | None], ...]
    """The keys it was grouped by and their values; empty where the recipe made the group."""

    @property
    def counted(self) -> tuple[RunSummary, ...]:
        """The runs that its numbers are of: each recipe under each seed once, with results."""
        return tuple(self.runs[place] for place in standing(self.runs)[0])

    @property
    def left_out(self) -> tuple[tuple[RunSummary, str], ...]:
        """The others, and why."""
        return tuple((self.runs[out.run], out.reason) for out in standing(self.runs)[1])

    @property
    def seeds(self) -> tuple[str, ...]:
        """One a run that counts."""
        return tuple(seed_of(run.recipe) for run in self.counted)

    @property
    def pictures(self) -> frozenset[str]:
        """What the images of its runs held, as far as they wrote it down: more than one where they differ."""
        return frozenset(run.pictures for run in self.runs if run.pictures)

    def over(self, key: str) -> Spread | None:
        """Mean and spread of a number over the runs that count and have it; None where none does."""
        return spread(run.metrics.get(key) for run in self.counted)


def group_runs(summaries: Sequence[RunSummary], by: Sequence[str] = ()) -> list[RunGroup]:
    """The runs in groups of equal values of the keys `by`, or of recipes that differ in seeds only.

    In order of each group's first run. A run without a value for a key is in a group with others without one.
    """
    if not by:
        return [
            RunGroup(group.name, tuple(summaries[place] for place in group.runs), ())
            for group in group_by_seed(summaries)
        ]
    groups: dict[str, list[RunSummary]] = {}
    shared: dict[str, tuple[tuple[str, Value | None], ...]] = {}
    for summary in summaries:
        values = values_of(summary)
        own = tuple((key, values.get(key)) for key in by)
        name = json.dumps([value for _, value in own], default=str)
        groups.setdefault(name, []).append(summary)
        shared[name] = own
    return [
        RunGroup(common_name([run.name for run in runs]), tuple(runs), shared[name])
        for name, runs in groups.items()
    ]
