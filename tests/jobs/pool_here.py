"""A sweep's pool without workers: for tests of what a sweep comes to. `test_worker_pool` has real workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import torch

from workbench.jobs.device import Demand
from workbench.jobs.sweep import Ended, Task
from workbench.jobs.worker_pool import Order
from workbench.runs.layout import RunDirectory
from workbench.runs.sweeps import starting
from workbench.support.paths import cache_home
from workbench.train import Places
from workbench.train.worker import train_run


def train_here(tasks: Sequence[Task], places: Places, told: Callable[[Ended], None]) -> None:
    """Train every task in this process, as a worker would."""
    for task in tasks:
        with ExitStack() as start:
            start.enter_context(starting(task.home))
            run = task.begun()
            if isinstance(run, RunDirectory):
                order = Order(str(run.path), task.is_new, task.until or 0, 1)
                answer = train_run(order, places, on_claim=start.close)
                run = Ended(run, answer.code, answer.is_parked, answer.reason)
            assert run is not None
            told(run)


class PoolHere:
    """In place of a `WorkerPool`."""

    def __init__(
        self,
        demand: Demand,
        jobs: int,
        *,
        data_home: Path,
        command_line: Sequence[str] = (),
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._places = Places(data_home, cache_home(), torch.device("cpu"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left."""

    def warm(self, tasks: int) -> None:
        """Torch is loaded."""

    def train(self, tasks: Sequence[Task], told: Callable[[Ended], None]) -> None:
        """As a pool of one worker would."""
        train_here(tasks, self._places, told)
