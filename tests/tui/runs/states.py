"""Runs in every state, as their files and processes make them."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.runs.making import epoch, finish, make_results, make_run, sleeping
from workbench.runs.events import Message, StageStarted
from workbench.runs.layout import RunDirectory
from workbench.runs.metrics import MetricsWriter
from workbench.runs.process import read_process, write_exit, write_process
from workbench.runs.waiting import Waiting, queue_lock, read_waiting, write_waiting

PSEUDO = {
    "strategy": "iterative",
    "labelled_fraction": 0.1,
    "rounds": 5,
    "epochs_per_round": 4,
    "select": "top_fraction",
    "fraction": 0.2,
}


def made(home: Path, name: str, hex_: str, *, age_seconds: int = 0, **recipe: Any) -> RunDirectory:
    """A run with a known id, never started."""
    run = make_run(home, name, age_seconds=age_seconds, training={"epochs": 8}, **recipe)
    target = home / f"{run.id[:-4]}{hex_}"
    run.path.rename(target)
    return RunDirectory(target)


def finished(home: Path, name: str, hex_: str, accuracy: float = 0.8, **more: Any) -> RunDirectory:
    """A run with results and a curve of three epochs."""
    run = made(home, name, hex_, **more)
    teacher = 0.86 if "pseudo_label" in more else None
    with MetricsWriter(run.metrics) as writer:
        writer.event(StageStarted("fit", 0, 3, 10, 0, False))
        for number, value in enumerate((0.5, 0.7, accuracy), 1):
            writer.event(epoch(number, value))
    return finish(run, make_results(accuracy, teacher_accuracy=teacher))


def failed(home: Path, name: str, hex_: str, **more: Any) -> RunDirectory:
    """A run that ran out of memory, with a warning before."""
    run = made(home, name, hex_, **more)
    with MetricsWriter(run.metrics) as writer:
        writer.event(StageStarted("fit", 0, 8, 10, 0, False))
        writer.event(Message("warning", "the device has 2 GiB left"))
    write_exit(run, code=1, reason="OOM @ step 41")
    return run


def going(run: RunDirectory, process: subprocess.Popen[bytes]) -> RunDirectory:
    """Make `process` the run's trainer, in round 3 of 5."""
    write_process(run, "cuda:0", pid=process.pid)
    with MetricsWriter(run.metrics) as writer:
        writer.event(StageStarted("teacher", 0, 8, 10, 0, False))
        for number in range(1, 9):
            writer.event(epoch(number, number / 10, stage="teacher"))
        for round_ in (1, 2, 3):
            writer.event(StageStarted("student", round_, 4, 10, 20, False))
            for number in range(1, 5 if round_ < 3 else 3):
                writer.event(epoch(number, 0.8 + round_ / 50 + number / 500, stage="student", round=round_))
    return run


def queued(run: RunDirectory, process: subprocess.Popen[bytes]) -> RunDirectory:
    """Make `process` the supervisor that waits for a device."""
    write_process(run, "cuda:0", pid=process.pid, role="waiting")
    claimed = read_process(run)
    assert claimed is not None
    entry = Waiting(
        path=str(run.path.absolute()),
        attempt=claimed.attempt,
        device="auto",
        keys=("cuda:0",),
        since=time.time(),
        boot_id=claimed.boot_id,
        pid=claimed.pid,
        start_ticks=claimed.start_ticks,
    )
    with queue_lock():
        write_waiting([*read_waiting(), entry])
    return run


@contextlib.contextmanager
def sleeper(*runs: RunDirectory) -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives as long as the block; ends at SIGTERM or SIGINT.

    It is known as the trainer of `runs` by its command line.
    """
    process = subprocess.Popen(sleeping(*runs))
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def a_few(home: Path) -> list[RunDirectory]:
    """Three ended runs, newest first: finished with pseudo-labels, failed, finished without."""
    return [
        finished(home, "lite_iter", "aaa1", 0.85, pseudo_label=PSEUDO, age_seconds=300, tags=["table1"]),
        failed(home, "r152_final", "aaa2", age_seconds=7200),
        finished(home, "lite_full", "aaa3", 0.93, age_seconds=90_000),
    ]
