"""A sweep carried out: what is not done yet, halving by halving, then finer around the best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from workbench.recipe import recipe_fingerprint
from workbench.recipe.sweep import Sweep, SweepRun
from workbench.recipe.sweep_search import Prune
from workbench.runs.layout import RunDirectory
from workbench.runs.notes import change_notes
from workbench.runs.status import RunStatus
from workbench.runs.summary import RunSummary
from workbench.runs.sweeps import (
    PRUNED,
    Point,
    SameData,
    accuracy_until,
    best_point,
    epochs_done,
    find_runs,
    points_of,
)
from workbench.support.errors import UserError
from workbench.train.many import Task

Train = Callable[[Sequence[Task]], None]


@dataclass(frozen=True, slots=True)
class Said:
    """What a sweep does next, for people."""

    text: str
    runs: int = 0
    """How many runs that starts or takes up again."""


def carry_out(
    sweep: Sweep,
    home: Path,
    train: Train,
    data: SameData,
    *,
    retry: bool = False,
    say: Callable[[Said], None],
) -> None:
    """Train all of a sweep that is not done yet; run again, it goes on where it was stopped.

    A finished run with an equal recipe on the same images counts, whoever made it; stopped and lost runs go
    on; failed ones are tried again with `retry`; runs under way elsewhere are left alone.

    Raises:
        UserError: runs under way elsewhere keep a look from being taken; whatever `train` raises.
    """
    pending = _Pending(home, train, data, retry, say)
    _search(sweep.runs, sweep.prune, pending)
    finer = _finer(sweep, points_of(sweep.runs, find_runs(home, sweep.runs, data)))
    if finer:
        say(Said(f"finer search: {len({run.point for run in finer})} more points"))
        _search(finer, None, pending)


def _search(runs: Sequence[SweepRun], prune: Prune | None, pending: _Pending) -> None:
    alive = list(dict.fromkeys(run.point for run in runs))
    if prune is not None:
        shortest = min(run.recipe.training.epochs for run in runs)
        for epoch in prune.looks(shortest):
            keep = prune.survivors(len(alive))
            if keep == len(alive):
                break
            pending.bring(_of(runs, alive), until=epoch)
            alive = pending.best(runs, alive, epoch, keep)
    pending.bring(_of(runs, alive), until=None)


def _of(runs: Sequence[SweepRun], points: Sequence[str]) -> list[SweepRun]:
    return [run for run in runs if run.point in points]


def _finer(sweep: Sweep, coarse: Sequence[Point]) -> tuple[SweepRun, ...]:
    """The finer search, once every coarse point is either complete or pruned."""
    best = best_point(coarse)
    if best is None or not all(point.is_complete or point.is_pruned for point in coarse):
        return ()
    return sweep.around(best.name)


@dataclass(frozen=True, slots=True)
class _Pending:
    home: Path
    train: Train
    data: SameData
    retry: bool
    say: Callable[[Said], None]

    def bring(self, runs: Sequence[SweepRun], *, until: int | None) -> None:
        """Train runs up to an epoch, or to their ends, as far as they are not there yet."""
        found = find_runs(self.home, runs, self.data)
        tasks = []
        for run in runs:
            there = found.get(recipe_fingerprint(run.recipe))
            if there is None:
                tasks.append(Task(run.recipe, self.home, self.data, until=until))
            elif self._goes_on(there, until):
                if PRUNED in there.tags and until is None:
                    change_notes(there.run, remove=[PRUNED])
                tasks.append(Task(run.recipe, self.home, self.data, there.run, until))
        if tasks:
            how_far = "" if until is None else f" up to epoch {until}"
            self.say(Said(f"{len(tasks)} of {len(runs)} runs to train{how_far}", len(tasks)))
            self.train(tasks)

    def best(self, runs: Sequence[SweepRun], alive: Sequence[str], epoch: int, keep: int) -> list[str]:
        """The `keep` best of the points by mean validation accuracy up to `epoch`; tags the others' runs."""
        found = find_runs(self.home, _of(runs, alive), self.data)
        scores = {point: _score(_of(runs, [point]), found, epoch) for point in alive}
        ordered = sorted(alive, key=lambda point: -scores[point])  # stable: the first of equals stays
        going = [point for point in alive if point in ordered[:keep]]
        for run in _of(runs, [point for point in alive if point not in going]):
            there = found.get(recipe_fingerprint(run.recipe))
            if there is not None and there.status is not RunStatus.FINISHED and PRUNED not in there.tags:
                change_notes(there.run, add=[PRUNED])
        self.say(
            Said(
                f"epoch {epoch}: {len(going)} of {len(alive)} points go on, "
                f"the best at {100 * scores[ordered[0]]:.2f} % validation"
            )
        )
        return going

    def _goes_on(self, there: RunSummary, until: int | None) -> bool:
        if there.status is RunStatus.FINISHED or there.status.is_active:
            return False
        if there.status is RunStatus.FAILED and not self.retry:
            return False
        return until is None or epochs_done(there.run) < until


def _score(runs: Sequence[SweepRun], found: dict[str, RunSummary], epoch: int) -> float:
    """Mean over repeats; a run that failed before it was validated scores 0.

    Raises:
        UserError: a run is under way elsewhere and has not come so far.
    """
    total = 0.0
    for run in runs:
        there = found.get(recipe_fingerprint(run.recipe))
        if there is None:
            continue
        if there.status.is_active and epochs_done(there.run) < epoch:
            raise UserError(
                f"it is {there.status.value} elsewhere and the sweep needs its epoch {epoch}",
                where=there.id,
                hint="run the sweep again when it has ended",
            )
        total += accuracy_until(RunDirectory(there.path), epoch) or 0.0
    return total / len(runs)
