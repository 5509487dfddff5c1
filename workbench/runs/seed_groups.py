"""Runs in groups: by recipe, by keys, by all but their seeds, by the sweep that made them."""

from __future__ import annotations

import json
import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from workbench.runs.intervals import Interval, student, t_within
from workbench.runs.keys import Value, values_of
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


SEED_KEYS = ("seed", "data.split_seed", "data.fold")
"""The recipe keys that may differ within a group: which numbers were drawn, and which fold validates."""
_TRAINED = "training_seconds"
"""A number that only results have."""
_SPOKEN_OF = ("name", "description", "tags", "schema", "training.checkpoint_seconds")
_SEED_WORDS = re.compile(r"(?:(?<![a-z])(?:data\.)?(?:split_)?(?:seed|s)[\s=_-]*\d*)$", re.IGNORECASE)
_LOOSE_END = " ,;/·_-="


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A run that its group's numbers leave out."""

    run: int
    """Its place in the list that was grouped."""
    reason: str
    """`ab12 has the same recipe and seed`, `it is stopped, without results`."""


@dataclass(frozen=True, slots=True)
class SeedGroup:
    """Runs of one recipe under several seeds."""

    name: str
    runs: tuple[int, ...]
    """Their places in the list that was grouped, in its order."""
    seeds: tuple[str, ...]
    """As `seed_of`; one a run."""
    counted: tuple[int, ...] = ()
    """Of `runs` those that stand for a seed each."""
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True, slots=True)
class Spread:
    """A number over seeds."""

    mean: float
    deviation: float | None
    """Sample standard deviation (divisor n − 1); None for one seed, which has no spread."""
    count: int
    interval: Interval | None = None
    """Student's 95 % interval of the mean over all seeds there could be; None as above."""


def spread(values: Iterable[float | None]) -> Spread | None:
    """Mean and sample standard deviation of the values there are; None without any."""
    held = [value for value in values if value is not None]
    if not held:
        return None
    deviation = statistics.stdev(held) if len(held) > 1 and all(map(math.isfinite, held)) else None
    mean = math.fsum(held) / len(held)
    interval = None if deviation is None else student(mean, deviation, len(held))
    return Spread(mean, deviation, len(held), interval)


def group_by_seed(summaries: Sequence[RunSummary]) -> list[SeedGroup]:
    """The runs in groups of equal recipes but for `SEED_KEYS`, in order of each group's first run.

    A run whose recipe cannot be read is a group of its own, and so are runs on other pictures. Names do not
    count: a sweep's runs find each other.
    """
    groups: dict[tuple[str, str], list[int]] = {}
    for place, same in enumerate(_samenesses(summaries)):
        groups.setdefault(same, []).append(place)
    found = []
    for places in groups.values():
        members = [summaries[place] for place in places]
        counted, left_out = standing(members)
        found.append(
            SeedGroup(
                name=common_name([member.name for member in members]),
                runs=tuple(places),
                seeds=tuple(seed_of(member.recipe) for member in members),
                counted=tuple(places[one] for one in counted),
                left_out=tuple(LeftOut(places[out.run], out.reason) for out in left_out),
            )
        )
    return found


def standing(summaries: Sequence[RunSummary]) -> tuple[list[int], list[LeftOut]]:
    """Which of the runs a mean counts, and why not the others.

    A recipe under one seed gives one number however often it is trained on the same pictures: of several such
    runs the newest with results stands. A run without results has no number yet that may be put beside a
    result.
    """
    newest: dict[tuple[str, ...], int] = {}
    identities = [
        (*same, seed_of(summary.recipe))
        for same, summary in zip(_samenesses(summaries), summaries, strict=True)
    ]
    for place, summary in enumerate(summaries):
        if _TRAINED in summary.metrics:
            same = identities[place]
            if same not in newest or _age(summary) > _age(summaries[newest[same]]):
                newest[same] = place
    counted = set(newest.values())
    left_out = [
        LeftOut(
            place,
            f"{summaries[newest[identities[place]]].handle} has the same recipe and seed"
            if _TRAINED in summary.metrics
            else f"it is {summary.status.value}, without results",
        )
        for place, summary in enumerate(summaries)
        if place not in counted
    ]
    return sorted(counted), left_out


def _samenesses(summaries: Sequence[RunSummary]) -> list[tuple[str, str]]:
    """Of each run what is equal for runs of one recipe, whatever its seeds, on the same pictures.

    A recipe that cannot be read is like no other. Runs that did not write down what their pictures held (of
    before 2026-12, or not begun) are taken to be on the pictures of the others, if these agree.
    """
    recipes = [_sameness(summary.recipe) or f"unreadable {place}" for place, summary in enumerate(summaries)]
    known: dict[str, set[str]] = {}
    for recipe, summary in zip(recipes, summaries, strict=True):
        known.setdefault(recipe, set()).update({summary.pictures} - {""})
    return [
        (recipe, summary.pictures if len(known[recipe]) > 1 else "")
        for recipe, summary in zip(recipes, summaries, strict=True)
    ]


def _age(summary: RunSummary) -> tuple[datetime, str]:
    return summary.created, summary.id


def seed_of(recipe: Mapping[str, Any]) -> str:
    """The run's seed: `0`, `0/1` where the split has another one, `0 fold 2` of several folds."""
    seed, split_seed = (recipe.get(key, 0) for key in SEED_KEYS[:2])
    words = str(seed) if seed == split_seed else f"{seed}/{split_seed}"
    return f"{words} fold {recipe.get('data.fold', 0)}" if recipe.get("data.folds") else words


def common_name(names: Sequence[str]) -> str:
    """What the names begin with, less a dangling `seed=`; the first name where they share nothing.

    >>> common_name(["sweep/lr=1e-05,seed=0", "sweep/lr=1e-05,seed=1"])
    'sweep/lr=1e-05'
    """
    if len(set(names)) == 1:
        return names[0]
    shared = names[0]
    for name in names:
        while not name.startswith(shared):
            shared = shared[:-1]
    return _SEED_WORDS.sub("", shared).rstrip(_LOOSE_END) or names[0]


def paired_t(differences: Sequence[float]) -> float | None:
    """Two-sided p of Student's paired t test over seeds: is the mean difference nought?

    None for fewer than two seeds and where the differences have no spread.
    """
    over = spread(differences)
    if over is None or not over.deviation:
        return None
    t = abs(over.mean) / (over.deviation / math.sqrt(over.count))
    return 1.0 - t_within(t, over.count - 1)


def _sameness(recipe: Mapping[str, Any]) -> str:
    """Equal for recipes that differ in nothing but seeds and words; empty for one that could not be read."""
    kept = {key: value for key, value in recipe.items() if key not in (*SEED_KEYS, *_SPOKEN_OF)}
    return json.dumps(kept, sort_keys=True, default=str) if recipe else ""
