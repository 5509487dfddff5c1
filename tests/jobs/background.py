"""Real runs in the background, and patience for what becomes of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.train.making import TRUNK, recipe_text
from workbench.jobs import Launched, launch
from workbench.jobs.device import wanted_devices
from workbench.jobs.lease import try_lease
from workbench.recipe import parse_recipe
from workbench.runs.layout import RunDirectory
from workbench.runs.process import ProcessRecord, read_process
from workbench.runs.status import RunStatus, status_of
from workbench.runs.waiting import queue_lock

PATIENCE_SECONDS = 120.0
ENDLESS = TRUNK.replace("epochs = 2", "epochs = 1000")
"""Trains until it is stopped."""
SOME_SECONDS = TRUNK.replace("epochs = 2", "epochs = 6") + "checkpoint_seconds = 0\n"
"""Long enough to be caught in the middle; a checkpoint after every step."""


class Background:
    """Launches under one runs home."""

    def __init__(self, runs: Path, sample: Path) -> None:
        self.runs = runs
        self._sample = sample

    def launch(self, text: str = TRUNK, *, name: str = "tiny", notify: str | None = None) -> Launched:
        """`petbench launch` of a recipe, on the CPU."""
        named = recipe_text(text, self._sample).replace('name = "tiny-trunk"', f'name = "{name}"')
        return launch(parse_recipe(named), self.runs, device="cpu", notify=notify)

    def recipe_file(self, text: str, path: Path) -> Path:
        """The recipe as a file, for the command line."""
        path.write_text(recipe_text(text, self._sample))
        return path


@contextmanager
def cpu_taken(run: RunDirectory) -> Iterator[None]:
    """This process has the CPU's lease meanwhile, so that launched runs wait."""
    with queue_lock():
        lease = try_lease(wanted_devices("cpu"), run)
    assert lease is not None
    try:
        yield
    finally:
        lease.release()


def wait_until(happened: Callable[[], bool], what: str = "") -> None:
    """Wait for something that will happen. Raises: TimeoutError, long after it should have."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.02)


def wait_for_status(run: RunDirectory, *wanted: RunStatus) -> RunStatus:
    """Wait until a run is in one of these states. Raises: TimeoutError, with its log."""
    seen: list[RunStatus] = []

    def reached() -> bool:
        seen.append(status_of(run))
        return seen[-1] in wanted

    try:
        wait_until(reached)
    except TimeoutError:
        log = run.log.read_text() if run.log.exists() else ""
        raise TimeoutError(f"{run.id} is {seen[-1]}, not {wanted}\n{log}") from None
    return seen[-1]


def wait_for_epochs(run: RunDirectory, count: int) -> None:
    """Wait until a run has validated so many epochs."""
    wait_until(lambda: _epochs(run) >= count, f"{count} epochs of {run.id}")


def process_of(run: RunDirectory) -> ProcessRecord:
    """Who runs it."""
    process = read_process(run)
    assert process is not None
    return process


def kill(pid: int, number: int) -> None:
    """Signal a process of a run that this test started."""
    os.kill(pid, number)


def _epochs(run: RunDirectory) -> int:
    return run.metrics.read_text().count('"split":"val"') if run.metrics.exists() else 0
