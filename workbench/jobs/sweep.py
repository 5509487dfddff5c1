"""A sweep carried out: what is not done yet, halving by halving, then finer around the best; or queued."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from workbench.jobs.slurm import release
from workbench.jobs.start import Launched, launch, new_run, resume_run
from workbench.jobs.submission import Submission, settle, submit
from workbench.recipe import Recipe, dump_recipe, recipe_fingerprint
from workbench.recipe.sweep import Sweep, SweepRun
from workbench.recipe.sweep_table import Prune
from workbench.runs.layout import RunDirectory, create_run
from workbench.runs.notes import change_notes
from workbench.runs.process import ensure_unattended
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
    find_trained,
    points_of,
    starting,
)
from workbench.runs.ticket import read_ticket
from workbench.support.errors import UserError
from workbench.support.units import in_percent


@dataclass(frozen=True, slots=True)
class Ended:
    """How a task ended."""

    run: RunDirectory
    code: int
    """0 with results or parked as asked; else as the exit codes of `petbench run`, or 128 and a signal."""
    is_parked: bool = False
    reason: str = ""
    elsewhere: str = ""
    """Why nothing was trained here: another process trains the run, or has."""
    is_lost: bool = False
    """Whether its worker died: it goes on from its last checkpoint when the sweep is given again."""


@dataclass(frozen=True, slots=True)
class Task:
    """A run to train: from its beginning, or on from its last checkpoint."""

    recipe: Recipe
    home: Path
    """Where a new run's directory is made, when its turn comes."""
    data: SameData
    """Which runs of the recipe are on today's images."""
    run: RunDirectory | None = None
    """The run to go on with; None for a new one."""
    until: int | None = None
    """Park it once its first stage (its probe aside) has so many epochs behind it; None: to its end."""

    @property
    def is_new(self) -> bool:
        """Whether it begins a run."""
        return self.run is None

    def begun(self, *, is_patient: bool = False) -> RunDirectory | Ended | None:
        """The run to go on with, or a new one's directory; its end, where somebody else has seen to it since.

        Call it within `starting`, and hold that until the run has a process: a sweep in another terminal may
        have begun the same point, and of the two who look, the second must see it.

        Args:
            is_patient: return None for a run that is about to end elsewhere: it can go on in a moment.

        Raises: UserError, where no directory can be made.
        """
        there = find_trained(self.home, [self.recipe], self.data).get(recipe_fingerprint(self.recipe))
        if there is not None and there.status is RunStatus.STOPPING and is_patient:
            return None
        if there is not None and there.status.is_active:
            return Ended(there.run, 0, elsewhere=f"another process has it ({there.status.value}): left to it")
        if there is not None and there.status is RunStatus.FINISHED:
            return Ended(there.run, 0, elsewhere="another process has trained it meanwhile")
        if self.run is not None:
            return self.run
        if there is not None and there.status in (RunStatus.STOPPED, RunStatus.SILENT, RunStatus.LOST):
            return there.run
        return create_run(self.home, self.recipe.name, dump_recipe(self.recipe), datetime.now())


Train = Callable[[Sequence[Task]], None]
"""Trains runs, as `WorkerPool.train` does."""


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


def goes_on(there: RunSummary, *, retry: bool) -> bool:
    """Whether a sweep takes up a run that has begun and is not under way; a failed one only with `retry`."""
    interrupted = there.status in (RunStatus.STOPPED, RunStatus.SILENT, RunStatus.LOST)
    return interrupted or (retry and there.status is RunStatus.FAILED)


@dataclass(frozen=True, slots=True)
class Queued:
    """What was queued of a sweep, and its runs that are there already."""

    launched: tuple[Launched, ...]
    left: tuple[RunSummary, ...]
    """Finished, under way, or failed."""

    @property
    def left_words(self) -> str:
        """What is left alone, in words: `1 finished, 1 failed`; empty where nothing is."""
        words = [run.status.value for run in self.left]
        return ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))


def refuse_queue(sweep: Sweep) -> None:
    """Raises: UserError, for a sweep that cannot be queued whole."""
    if sweep.prune is not None or sweep.refine is not None:
        raise UserError(
            "sweep.prune and sweep.refine decide on the way what to train",
            where="[sweep]",
            hint="petbench sweep without --background trains it (tmux keeps it going), or take the keys out",
        )


def queue_sweep(
    sweep: Sweep,
    home: Path,
    data: SameData,
    *,
    data_home: Path | None,
    device: str = "auto",
    command_line: Sequence[str] = (),
    notify: str | None = None,
    retry: bool = False,
    told: Callable[[Launched], None] = lambda _: None,
    slurm: Submission | None = None,
) -> Queued:
    """Put all of a sweep that is not done yet into the queue, each run under a supervisor of its own.

    Args:
        slurm: give them to Slurm instead, as one array.
        data: which runs are on today's images.
        retry: try failed runs again.
        told: called as each run is queued.
        data_home, device, command_line, notify: as for `launch`.

    Raises:
        UserError: as `refuse_queue`, or a run cannot be queued.
    """
    refuse_queue(sweep)
    if slurm is not None:
        return _submit_sweep(sweep, home, data, slurm, retry=retry, told=told)
    launched: list[Launched] = []
    left: list[RunSummary] = []
    with starting(home):
        found = find_runs(home, sweep.runs, data)
        for run in sweep.runs:
            there = found.get(recipe_fingerprint(run.recipe))
            if there is None:
                one = launch(
                    run.recipe,
                    home,
                    data_home=data_home,
                    device=device,
                    command_line=command_line,
                    notify=notify,
                )
            elif goes_on(there, retry=retry):
                one = resume_run(
                    there.run, data_home=data_home, device=device, command_line=command_line, notify=notify
                )
            else:
                left.append(there)
                continue
            launched.append(one)
            told(one)
    return Queued(tuple(launched), tuple(left))


def _submit_sweep(
    sweep: Sweep,
    home: Path,
    data: SameData,
    how: Submission,
    *,
    retry: bool,
    told: Callable[[Launched], None],
) -> Queued:
    """As `queue_sweep`. Of one that was killed on the way the next submits nothing again."""
    wanted: list[RunDirectory] = []
    left: list[RunSummary] = []
    new: list[RunDirectory] = []
    released: list[Launched] = []
    with starting(home):
        settle(find_runs(home, sweep.runs, data).values())
        found = find_runs(home, sweep.runs, data)
        on_the_way = {print_: one for print_, one in found.items() if goes_on(one, retry=retry)}
        ensure_unattended([one.run for one in on_the_way.values()])
        for run in sweep.runs:
            there = found.get(recipe_fingerprint(run.recipe))
            if there is None:
                new.append(new_run(run.recipe, home))
                wanted.append(new[-1])
            elif recipe_fingerprint(run.recipe) not in on_the_way:
                left.append(there)
            elif there.ticket is not None and there.ticket.is_open:  # parked
                release(there.run, there.ticket)
                released.append(Launched(there.run, 0, there.ticket.job))
            else:
                wanted.append(there.run)
        try:
            tickets = submit(wanted, how) if wanted else {}
        except UserError:
            for one in new:
                if read_ticket(one) is None:  # no job has it
                    shutil.rmtree(one.path, ignore_errors=True)
            raise
    launched = [*released, *(Launched(run, 0, ticket.job) for run, ticket in tickets.items())]
    for each in launched:
        told(each)
    return Queued(tuple(launched), tuple(left))


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
                f"the best at {in_percent(scores[ordered[0]])} validation"
            )
        )
        return going

    def _goes_on(self, there: RunSummary, until: int | None) -> bool:
        # One that is asked to stop can go on in a moment; its task waits for that.
        if there.status is not RunStatus.STOPPING and not goes_on(there, retry=self.retry):
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
