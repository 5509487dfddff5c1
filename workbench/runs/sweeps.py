"""The runs of a sweep: which there are, what its points came to, how far the first stage of each is."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.recipe import Recipe, load_recipe, recipe_fingerprint
from workbench.recipe.dump import flat
from workbench.recipe.sweep import SweepRun
from workbench.runs.ensemble import MEMBERS_KEY
from workbench.runs.events import EpochDone
from workbench.runs.index import list_runs
from workbench.runs.layout import RunDirectory
from workbench.runs.provenance import read_provenance
from workbench.runs.run_history import best_epoch, read_history
from workbench.runs.seed_groups import Spread, spread
from workbench.runs.status import RunStatus
from workbench.runs.summary import RunSummary
from workbench.support.errors import UserError
from workbench.support.locks import locked
from workbench.support.toml_text import toml_literal

PRUNED = "pruned"
"""The tag of a run that its sweep gave up."""


SameData = Callable[[Sequence[tuple[Recipe, str, str]]], Sequence[bool]]
"""Of runs as (recipe, id, the data fingerprint that it wrote down) whether each was trained on the images
that its recipe names today, as `dataset.run_data.DataNow` tells."""


_TELLTALE = ("seed", "data.split_seed", "model.backbone")


_RANKS = {
    RunStatus.FINISHED: 3,
    RunStatus.STOPPED: 1,
    RunStatus.SILENT: 1,
    RunStatus.LOST: 1,
    RunStatus.FAILED: 0,
}


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a sweep, over its repeats."""

    name: str
    settings: tuple[tuple[str, object], ...]
    runs: tuple[RunSummary | None, ...]
    """One a repeat, in the sweep's order; None where it has not begun."""
    repeats: tuple[str, ...]
    val: Spread | None
    """Validation accuracy of the finished runs."""
    test: Spread | None
    is_pruned: bool

    @property
    def finished(self) -> int:
        """How many of its runs are finished."""
        return sum(run is not None and run.status is RunStatus.FINISHED for run in self.runs)

    @property
    def is_complete(self) -> bool:
        """Whether all of its runs are finished."""
        return self.finished == len(self.runs)

    @property
    def state(self) -> str:
        """Where its runs stand, in a few words."""
        if self.is_complete:
            return ""
        if self.is_pruned:
            return PRUNED
        others = [
            run.status.value if run else "to do"
            for run in self.runs
            if run is None or run.status is not RunStatus.FINISHED
        ]
        return ", ".join(f"{others.count(word)} {word}" for word in dict.fromkeys(others))


@contextlib.contextmanager
def starting(home: Path) -> Iterator[None]:
    """Hold the starts of sweeps in `home` still: who looks whether a recipe has a run and then starts it.

    Two sweeps at once would else both see that a point has none. Raises: OSError.
    """
    home.mkdir(parents=True, exist_ok=True)
    with locked(home / ".starts.lock"):
        yield


def find_runs(home: Path, wanted: Sequence[SweepRun], data: SameData) -> dict[str, RunSummary]:
    """As `find_trained`, of a sweep's runs."""
    return find_trained(home, [run.recipe for run in wanted], data)


def find_trained(home: Path, recipes: Sequence[Recipe], data: SameData) -> dict[str, RunSummary]:
    """Fingerprint -> the run in `home` that trained, or trains, that recipe on the images it names today.

    Of several the one that is furthest stands: finished, then under way, then one that can go on, then
    failed; of equals the newest. Names do not matter: a run that was made otherwise counts as well.

    Raises:
        UserError: `home` is a file or cannot be read.
    """
    prints = {recipe_fingerprint(recipe): recipe for recipe in recipes}
    # Reading a recipe against the schema is slow; comparing three of its keys first is not.
    telltales = {_telltale(flat(recipe)) for recipe in prints.values()}
    same: list[tuple[str, RunSummary]] = []
    for summary in list_runs(home):  # newest first
        if MEMBERS_KEY in summary.recipe:  # no run of that recipe, but the mean of several
            continue
        if _telltale(summary.recipe) not in telltales:
            continue
        try:
            fingerprint = recipe_fingerprint(load_recipe(summary.run.recipe))
        except UserError:
            continue
        if fingerprint in prints:
            same.append((fingerprint, summary))
    asked = [(prints[key], summary.id, _data_of(summary)) for key, summary in same if _has_data(summary)]
    counts = dict(zip((id_ for _, id_, _ in asked), data(asked) if asked else (), strict=True))
    found: dict[str, RunSummary] = {}
    for fingerprint, summary in same:
        if counts.get(summary.id, True) and (
            fingerprint not in found or _rank(summary) > _rank(found[fingerprint])
        ):
            found[fingerprint] = summary
    return found


def _telltale(recipe: Mapping[str, Any]) -> str:
    """Of dotted keys: lists of backbones among their values cannot be looked up in a set."""
    return toml_literal([recipe.get(key) for key in _TELLTALE])


def _has_data(summary: RunSummary) -> bool:
    """Whether it has opened its images; one that is about to will open today's."""
    return summary.status is RunStatus.FINISHED or os.path.lexists(summary.run.provenance)


def _data_of(summary: RunSummary) -> str:
    try:
        return str(read_provenance(summary.run).get("data_fingerprint", ""))
    except UserError:
        return ""


def points_of(runs: Sequence[SweepRun], found: Mapping[str, RunSummary]) -> list[Point]:
    """The sweep's points in order, each with the runs that were found."""
    grouped: dict[str, list[SweepRun]] = {}
    for run in runs:
        grouped.setdefault(run.point, []).append(run)
    return [_point(name, members, found) for name, members in grouped.items()]


def best_point(points: Sequence[Point]) -> Point | None:
    """The complete point with the highest mean validation accuracy, the first of equals; None without any.

    The test split has no say.
    """
    complete = [point for point in points if point.is_complete and point.val is not None]
    return max(complete, key=lambda point: point.val.mean if point.val else 0.0, default=None)


def accuracy_until(run: RunDirectory, epoch: int) -> float | None:
    """The best validation accuracy of a run's first stage (its probe aside) up to an epoch.

    None where no epoch was validated yet.
    """
    best = best_epoch(e for e in _first_stage(run) if e.epoch <= epoch)
    return None if best is None else best.accuracy


def epochs_done(run: RunDirectory) -> int:
    """The epochs that a run's first stage (its probe aside) has behind it."""
    return max((event.epoch for event in _first_stage(run)), default=0)


def _first_stage(run: RunDirectory) -> list[EpochDone]:
    try:
        history = read_history(run.metrics)
    except OSError:
        return []
    return [epoch for epoch in history.epochs("val") if is_first_stage(epoch)]


def is_first_stage(event: EpochDone) -> bool:
    """Whether an epoch is of the supervised stage that every run has: the fit, or the teacher."""
    return event.stage in ("fit", "teacher") and event.round == 0


def _point(name: str, members: Sequence[SweepRun], found: Mapping[str, RunSummary]) -> Point:
    runs = tuple(found.get(recipe_fingerprint(member.recipe)) for member in members)
    finished = [run for run in runs if run is not None and run.status is RunStatus.FINISHED]
    return Point(
        name=name,
        settings=members[0].settings,
        runs=runs,
        repeats=tuple(member.repeat for member in members),
        val=spread(run.val_accuracy for run in finished),
        test=spread(run.test_accuracy for run in finished),
        is_pruned=any(run is not None and PRUNED in run.tags for run in runs),
    )


def _rank(summary: RunSummary) -> int:
    return _RANKS.get(summary.status, 2)
