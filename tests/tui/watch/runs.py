"""Runs to watch: in every state, with curves, confusions and rounds."""

from __future__ import annotations

import math
import os
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tests.runs.making import NOW, make_results, make_run, rewrite_json
from workbench.runs.attempt_control import write_control
from workbench.runs.ensemble import Ensemble, Member, write_ensemble
from workbench.runs.events import (
    ConfusionSeen,
    EpochDone,
    Event,
    Message,
    RanksSeen,
    RoundLabelled,
    StageStarted,
    StepDone,
)
from workbench.runs.layout import RunDirectory
from workbench.runs.metrics import MetricsWriter
from workbench.runs.predictions import save_predictions
from workbench.runs.process import note_start, write_exit, write_process
from workbench.runs.results import write_results

START = NOW.timestamp()
Process = subprocess.Popen[bytes]
RECIPE: dict[str, Any] = {
    "training": {"epochs": 4, "batch_size": 10},
    "pseudo_label": {
        "strategy": "iterative",
        "labelled_fraction": 0.1,
        "rounds": 2,
        "epochs_per_round": 4,
        "select": "top_fraction",
        "fraction": 0.5,
    },
}
_BINS = [0, 0, 1, 2, 3, 5, 4, 3, 2, 2, 3, 3, 4, 5, 6, 7, 9, 11, 12, 8]


def made(home: Path, name: str = "lite_iter", hex_: str = "aaa1") -> RunDirectory:
    """A run with a known id, never started."""
    run = make_run(home, name, **RECIPE)
    target = home / f"{run.id[:-4]}{hex_}"
    run.path.rename(target)
    return RunDirectory(target)


def teacher_and_round() -> Iterator[Event]:
    """A teacher of four epochs, then a round whose student is half through its four."""
    yield Message("info", "10 labelled, 90 unlabelled images")
    yield from _stage("teacher", 0, 4)
    yield RoundLabelled(1, 90, 45, 0.911, 0.8, 0, 0.71, [20, 24, 1], _BINS)
    yield from _stage("student", 1, 2)


def _stage(name: str, round_: int, epochs: int) -> Iterator[Event]:
    yield StageStarted(name, round_, 4, 10, 45 * round_, False)  # type: ignore[arg-type]
    for epoch in range(1, epochs + 1):
        accuracy = 0.9 - 0.4 * math.exp(-epoch / 2) + 0.02 * round_
        for step in (2 * epoch - 1, 2 * epoch):
            yield StepDone(name, round_, epoch, step, 2.0 / step, 1e-3 / epoch, 200.0 + step, 2**30)  # type: ignore[arg-type]
        for split, value in (("train", accuracy + 0.05), ("val", accuracy)):
            yield EpochDone(name, round_, epoch, split, 1.5 / epoch, value, 1e-3, 210.0, 2.0)  # type: ignore[arg-type]
        yield ConfusionSeen(name, round_, epoch, [[9 - round_, 1 + round_, 0], [3, 6 + epoch, 0], [0, 0, 10]])  # type: ignore[arg-type]


def together(events: Iterable[Event], speeds: list[float], memory: list[int]) -> Iterator[Event]:
    """The same, each epoch trained by several processes."""
    for event in events:
        yield event
        if isinstance(event, EpochDone) and event.split == "train":
            yield RanksSeen(event.stage, event.round, event.epoch, speeds, memory)


def write_timed(run: RunDirectory, events: Iterable[Event], monkeypatch_time: list[float]) -> None:
    """Write events a second apart from `NOW`; the list holds the clock, which the caller has put in place."""
    with MetricsWriter(run.metrics) as writer:
        for event in events:
            monkeypatch_time[0] += 1.0
            writer.event(event)


def write_log(run: RunDirectory, count: int = 60) -> None:
    """A log with a warning in the middle."""
    lines = [f"2026-11-22 12:00:{i % 60:02d} teacher epoch {i} val: loss 0.5" for i in range(count)]
    lines[count // 2] = "2026-11-22 12:00:30 warning: the device has 2 GiB left"
    run.log.write_text("\n".join(lines) + "\n")


def finish(run: RunDirectory) -> RunDirectory:
    """Give it results and a clean end."""
    with MetricsWriter(run.metrics) as writer:
        writer.event(EpochDone("student", 1, 2, "test", 0.6, 0.83, 1e-3, 210.0, 2.0))
    write_results(run.results, make_results(0.83, teacher_accuracy=0.8))
    said = np.eye(3, dtype=np.float32)[[0, 0, 1]]
    for split in ("val", "test", "teacher-val"):
        save_predictions(run.predictions(split), ["Bengal_1", "Abyssinian_1", "beagle_1"], said, np.arange(3))
    write_exit(run, code=0, reason="done")
    return run


def averaged(home: Path, name: str = "both", hex_: str = "aaa2") -> RunDirectory:
    """An ensemble of two runs, as `petbench ensemble` leaves it."""
    run = make_run(home, name)
    target = home / f"{run.id[:-4]}{hex_}"
    run.path.rename(target)
    run = RunDirectory(target)
    members = tuple(
        Member(f"2026-{one}", one, f"members/0{place}-{one}", "0" * 64, 1.0, 0.8, 0.5)
        for place, one in enumerate(("lite0", "lite1"), start=1)
    )
    differs = {"model.backbone": ("efficientnet_lite0", "efficientnet_lite1")}
    write_ensemble(run, Ensemble(members, False, "all", (), differs))
    results = replace(make_results(0.83), best_epoch=0)
    with MetricsWriter(run.metrics) as writer:
        for split, on in (("val", results.val), ("test", results.test)):
            writer.event(EpochDone("fit", 0, 0, split, on.loss, on.accuracy, 0.0, 0.0, 0.0, on.images))  # type: ignore[arg-type]
        writer.event(ConfusionSeen("fit", 0, 0, [list(row) for row in results.val.confusion]))
    write_results(run.results, results)
    write_exit(run, code=0, attempt=1)
    return run


def alive(run: RunDirectory, process: Process) -> RunDirectory:
    """Make `process` its trainer."""
    write_process(run, "cpu", pid=process.pid)
    return run


def preparing(run: RunDirectory, process: Process) -> None:
    """A trainer that is still at its images: no event, but a log."""
    alive(run, process)
    run.log.write_text("2026-11-22 12:00:01 begins\n2026-11-22 12:00:59 decodes 1,203 of 3,680 images\n")


def starting(run: RunDirectory, process: Process) -> None:
    """A supervisor that has its device."""
    note_start(run, write_process(run, "cpu", pid=process.pid, role="waiting"), "cpu")


def stopping(run: RunDirectory, process: Process) -> None:
    """A trainer that is asked to stop."""
    record = write_process(run, "cpu", pid=process.pid)
    write_control(run, "stop", record.attempt, grace_seconds=120.0)


def stalled(run: RunDirectory, process: Process) -> None:
    """A trainer without a sign for a minute and a half."""
    alive(run, process)
    rewrite_json(run.process, started=START - 200)
    os.utime(run.heartbeat, (START - 90, START - 90))


def dead(run: RunDirectory, process: Process) -> None:
    """A trainer that was killed, and nobody wrote down how it ended."""
    alive(run, process)
    process.kill()
    process.wait()


def failed(run: RunDirectory, process: Process) -> None:
    """A trainer that said why it ended."""
    alive(run, process)
    write_exit(run, code=1, reason="OOM @ step 41")


def parked(run: RunDirectory, process: Process) -> None:
    """A trainer that wrote a checkpoint and left."""
    alive(run, process)
    write_exit(run, code=130, reason="paused")


def many_classes(home: Path, count: int) -> RunDirectory:
    """A finished run of `count` breeds, which takes breed 004 for breed 007 more often than any other."""
    run = made(home)
    matrix = 30 * np.eye(count, dtype=int)
    matrix[4, 4], matrix[4, 7] = 24, 6
    matrix[50, 50], matrix[50, 51] = 28, 2
    with MetricsWriter(run.metrics) as writer:
        writer.event(StageStarted("fit", 0, 1, 10, 0, False))
        writer.event(EpochDone("fit", 0, 1, "val", 0.5, 0.99, 1e-3, 210.0, 2.0))
        writer.event(ConfusionSeen("fit", 0, 1, matrix.tolist()))
    names = tuple(f"breed_{number:03d}" for number in range(count))
    write_results(run.results, replace(make_results(), classes=names))
    write_exit(run, code=0, reason="done")
    return run
