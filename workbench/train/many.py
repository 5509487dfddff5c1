"""Many runs: one after the other here, or side by side in processes of their own."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import FrameType

import torch

from workbench.jobs.control import pause_run, stop_run
from workbench.jobs.device import devices
from workbench.jobs.lease import lease_if_free
from workbench.recipe import Recipe, dump_recipe, load_recipe, recipe_fingerprint
from workbench.runs.control import STOP_SIGNALS
from workbench.runs.events import EpochDone, Event, Reporter, Silent
from workbench.runs.layout import RunDirectory, create_run
from workbench.runs.status import INTERRUPTED, RunStatus, status_of
from workbench.runs.sweeps import SameData, find_trained, is_first_stage, starting
from workbench.support.errors import RunFailed, UserError
from workbench.train.attempt import attempt
from workbench.train.interrupt import Interrupted, is_heard
from workbench.train.setup import Places

_LOOK_SECONDS = 0.05


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

    def begun(self) -> RunDirectory | Ended:
        """The run to go on with, or a new one's directory; its end, where somebody else has seen to it since.

        Call it within `starting`, and hold that until the run has a process: a sweep in another terminal may
        have begun the same point, and of the two who look, the second must see it.

        Raises: UserError, where no directory can be made.
        """
        there = find_trained(self.home, [self.recipe], self.data).get(recipe_fingerprint(self.recipe))
        if there is not None and there.status.is_active:
            return Ended(there.run, 0, elsewhere=f"another process has it ({there.status.value}): left to it")
        if there is not None and there.status is RunStatus.FINISHED:
            return Ended(there.run, 0, elsewhere="another process has trained it meanwhile")
        if self.run is not None:
            return self.run
        if there is not None and there.status in (RunStatus.STOPPED, RunStatus.SILENT, RunStatus.LOST):
            return there.run
        return create_run(self.home, self.recipe.name, dump_recipe(self.recipe), datetime.now())


@dataclass(frozen=True, slots=True)
class Ended:
    """How a task ended."""

    run: RunDirectory
    code: int
    """0 with results or parked as asked; else as the exit codes of `petbench run`."""
    is_parked: bool = False
    reason: str = ""
    elsewhere: str = ""
    """Why nothing was trained here: another process trains the run, or has."""


def train_all(
    tasks: Sequence[Task],
    places: Places,
    *,
    jobs: int = 1,
    command_line: Sequence[str] = (),
    reporter: Reporter | None = None,
    told: Callable[[Ended], None] = lambda _: None,
) -> None:
    """Train every task, at most `jobs` at a time; one that fails stops no other.

    Several at a time share the CPU's cores evenly, and on a machine with several GPUs (device `cuda` without
    a number) take them in turn.

    Args:
        reporter: shows the run under way; with one job only.
        told: called as each task ends.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; every run under way has written a checkpoint.
        RunFailed: a process that trained was killed.
    """
    if jobs == 1 or len(tasks) < 2:
        for task in tasks:
            with contextlib.ExitStack() as start:
                start.enter_context(starting(task.home))
                run = task.begun()
                ended = (
                    run
                    if isinstance(run, Ended)
                    else _train(
                        run, task.is_new, task.until, places, command_line, reporter or Silent(), start.close
                    )
                )
            told(ended)
            if ended.code == INTERRUPTED:
                raise Interrupted("SIGINT")
        return
    _train_beside(tasks, places, min(jobs, len(tasks)), command_line, told)


class _Park:
    """A reporter that pauses its own run once enough epochs are done; resumed, it goes on exactly."""

    def __init__(self, inner: Reporter, run: RunDirectory, until: int | None) -> None:
        self._inner, self._run, self._until = inner, run, until
        self.asked = False

    def event(self, event: Event) -> None:
        """Pass it on; after the last epoch wanted, ask the run to pause."""
        self._inner.event(event)
        if self._until is None or self.asked or not isinstance(event, EpochDone) or event.split != "val":
            return
        if event.stage != "probe" and (not is_first_stage(event) or event.epoch >= self._until):
            self.asked = True
            pause_run(self._run)

    def progress(self, task: str, done: int, total: int) -> None:
        """Pass it on."""
        self._inner.progress(task, done, total)


def _await_claim(run: RunDirectory, future: Future[Ended]) -> None:
    """Wait until the worker has claimed the run, or has ended: then whoever looks sees it."""
    while not future.done() and not status_of(run).is_active:
        time.sleep(_LOOK_SECONDS)


def _train(
    run: RunDirectory,
    is_new: bool,
    until: int | None,
    places: Places,
    command_line: Sequence[str],
    reporter: Reporter = Silent(),  # noqa: B008 (it holds nothing)
    claimed: Callable[[], None] = lambda: None,
) -> Ended:
    park = _Park(reporter, run, until)
    try:
        with _leased(run, places.device):
            outcome = attempt(
                run, load_recipe(run.recipe), places, park, command_line=command_line, on_claim=claimed
            )
    except UserError as error:
        return Ended(run, 2, reason=str(error))
    if outcome.code == 2 and is_new and not any(run.checkpoint.iterdir()):
        shutil.rmtree(run.path, ignore_errors=True)  # it has nothing to keep, as with petbench run
    if outcome.code == INTERRUPTED and park.asked and outcome.signal == signal.SIGTERM:
        return Ended(run, 0, is_parked=True)
    return Ended(run, outcome.code, reason=outcome.reason)


@contextlib.contextmanager
def _leased(run: RunDirectory, device: torch.device) -> Iterator[None]:
    """Have the device's lease if it is free, so that the queue in the background leaves the device alone."""
    name = "cpu" if device.type == "cpu" else f"cuda:{device.index or 0}"
    found = next((one for one in devices() if one.name == name), None)
    if found is None:
        yield
        return
    with lease_if_free(found, run):
        yield


def _train_beside(
    tasks: Sequence[Task],
    places: Places,
    jobs: int,
    command_line: Sequence[str],
    told: Callable[[Ended], None],
) -> None:
    waiting = list(enumerate(tasks))
    working: dict[Future[Ended], RunDirectory] = {}
    interrupted = False
    # Spawned: a forked process would inherit torch's threads and CUDA context in an unknown state.
    context = multiprocessing.get_context("spawn")
    threads = max(1, torch.get_num_threads() // jobs)
    with (
        ProcessPoolExecutor(jobs, context, _begin_worker, (threads,)) as pool,
        _signals_as_interrupt(),
    ):
        while working or (waiting and not interrupted):
            try:
                while waiting and len(working) < jobs and not interrupted:
                    number, task = waiting.pop(0)
                    own = _place_of(places, number)
                    with starting(task.home):
                        run = task.begun()
                        if isinstance(run, Ended):
                            told(run)
                            continue
                        future = pool.submit(_train, run, task.is_new, task.until, own, tuple(command_line))
                        working[future] = run
                        _await_claim(run, future)
                done, _ = wait(working, return_when=FIRST_COMPLETED)
                for future in done:
                    del working[future]
                    told(future.result())
            except KeyboardInterrupt:
                interrupted = True
                for run in working.values():
                    with contextlib.suppress(UserError):  # not begun yet, or just ended
                        stop_run(run)
            except BrokenProcessPool as error:
                raise RunFailed(
                    "a process that trained was killed, probably for want of memory",
                    advice="give fewer --jobs; the same command goes on where this one ended",
                ) from error
    if interrupted:
        raise Interrupted("SIGINT")


def _begin_worker(threads: int) -> None:
    """A group of its own: Ctrl-C in the terminal reaches the parent alone, which asks each run once."""
    os.setpgrp()
    for number in STOP_SIGNALS:
        if number != signal.SIGINT:
            signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(threads)


def _place_of(places: Places, number: int) -> Places:
    if places.device.type != "cuda" or places.device.index is not None:
        return places
    return replace(places, device=torch.device("cuda", number % torch.cuda.device_count()))


@contextlib.contextmanager
def _signals_as_interrupt() -> Iterator[None]:
    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    # SIGINT too: a shell starts what it puts in the background with SIGINT ignored.
    heard = [number for number in STOP_SIGNALS if is_heard(number)]
    before = {number: signal.signal(number, interrupt) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
