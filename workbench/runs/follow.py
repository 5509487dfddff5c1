"""Following one run: its curves, confusions, rounds and progress as a value, brought up to date cheaply."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.runs.curve_table import CurveTable
from workbench.runs.following import AXES, Axis, EpochCurve, Following, StageMark, StepCurve
from workbench.runs.history import (
    ELAPSED,
    EPOCH_ACCURACY,
    EPOCH_RATE,
    EPOCH_SPEED,
    EPOCHS_A_STAGE,
    LOSS,
    PLACE,
    STEP_MEMORY,
    STEP_RATE,
    STEP_SPEED,
    History,
)
from workbench.runs.layout import RunDirectory
from workbench.runs.metrics import read_events
from workbench.runs.process import ExitRecord, ProcessRecord, read_exit, read_process
from workbench.runs.remaining import Going, going, planned_stages
from workbench.runs.results import read_headline
from workbench.runs.stage_axes import StageAxes
from workbench.runs.status import RunStatus, derive_status
from workbench.support.flat import flatten
from workbench.support.regular_file import open_regular
from workbench.support.toml_text import read_toml

__all__ = ["AXES", "Axis", "Following", "RunFollower"]

_READ_BYTES = 4 * 2**20  # a refresh: so that a long file shows as it is read
_HEAD_BYTES = 96
_LAST_EPOCHS = 6
_Floats = NDArray[np.float64]


class RunFollower:
    """Reads a run's files again and again; a refresh costs what is new in them.

    At most some megabytes of metrics are taken up at once: `read_share` tells whether to refresh again at
    once. A file that was replaced or cut off is read anew from its start.
    """

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._history = History()
        self._offset = 0
        self._size = 0
        self._skipped = 0
        self._identity: tuple[int, bytes] | None = None
        self._recipe: Mapping[str, Any] = {}
        self._following: Following | None = None

    def refresh(self) -> Following:
        """The run as it is now; the very same object as the last time when nothing has changed.

        Raises:
            OSError: a file is there and cannot be read.
        """
        grown = self._read_metrics()
        process, ended = read_process(self._run), read_exit(self._run)
        status = derive_status(self._run, process, ended)
        if not self._recipe:
            self._recipe = _read_recipe(self._run)
        last = self._following
        if (
            last is not None
            and not grown
            and (last.status, last.process, last.ended) == (status, process, ended)
        ):
            return last
        self._following = self._assemble(status, process, ended)
        return self._following

    def _read_metrics(self) -> bool:
        """Take up what is new; whether there was anything."""
        try:
            with open_regular(self._run.metrics) as stream:
                now = os.fstat(stream.fileno())
                head = stream.read(_HEAD_BYTES)
        except FileNotFoundError:
            return self._start_over(None, 0)
        # The same file has the same number and still begins as it did.
        anew = False
        old = self._identity
        if old is None or old[0] != now.st_ino or not head.startswith(old[1]) or now.st_size < self._offset:
            anew = self._start_over((now.st_ino, head), now.st_size)
        elif len(head) > len(old[1]):
            self._identity = (now.st_ino, head)
        self._size = now.st_size
        if now.st_size == self._offset:
            return anew
        tail = read_events(self._run.metrics, self._offset, limit=_READ_BYTES)
        moved = tail.offset != self._offset
        self._offset = tail.offset
        self._skipped += tail.skipped
        self._history.add(tail.records)
        return anew or moved

    def _start_over(self, identity: tuple[int, bytes] | None, size: int) -> bool:
        """Forget what was read of another file; whether there was any."""
        had = self._offset > 0
        if had:
            self._history = History()
        self._offset, self._size, self._identity, self._skipped = 0, size, identity, 0
        return had

    def _assemble(
        self, status: RunStatus, process: ProcessRecord | None, ended: ExitRecord | None
    ) -> Following:
        history = self._history
        named = self._named_best() if status is RunStatus.FINISHED else None
        stages = StageAxes(history, _batch_size(self._recipe))
        steps, train, val = (_columns(table) for table in (history.steps, history.train, history.val))
        marks = stages.marks()
        return Following(
            run=self._run,
            status=status,
            process=process,
            ended=ended,
            recipe=self._recipe,
            read_share=self._read_share(),
            skipped=self._skipped,
            stages=marks,
            steps=StepCurve(
                stages.places(steps, between=True),
                steps[LOSS],
                steps[STEP_RATE],
                steps[STEP_SPEED],
                steps[STEP_MEMORY],
            ),
            train=_epoch_curve(train, stages),
            val=_epoch_curve(val, stages),
            tests=tuple(history.tests.values()),
            teacher=history.bests.teacher,
            best=history.bests.best if named is None else history.bests.kept(*named),
            confusions=tuple(seen for _, seen in history.confusions),
            rounds=tuple(history.rounds[number] for number in sorted(history.rounds)),
            messages=tuple(history.messages),
            latest_step=history.latest_step,
            going=self._going(marks, stages, val) if marks else None,
            latest_time=history.latest_time,
        )

    def _named_best(self) -> tuple[int, int] | None:
        """(round, epoch) that the results of a finished run name as the best; None where they do not."""
        try:
            top = read_headline(self._run.results)[""]
            return int(top["best_round"]), int(top["best_epoch"])
        except (OSError, KeyError, ValueError, OverflowError):
            return None

    def _read_share(self) -> float:
        """A last line that is still being written counts as read."""
        left = self._size - self._offset
        return 1.0 if left < _READ_BYTES else self._offset / self._size

    def _going(self, marks: tuple[StageMark, ...], stages: StageAxes, val: _Floats) -> Going:
        events = [mark.event for mark in marks]
        history = self._history
        planned = planned_stages(self._recipe, events, list(history.rounds.values()))
        key = stages.keys[-1]
        own = val[:, stages.of(val) == key]
        epoch = float(own[PLACE, -1] % EPOCHS_A_STAGE) if own.shape[1] else 0.0
        latest = history.latest_step
        if latest is not None and (latest.stage, latest.round) == (events[-1].stage, events[-1].round):
            spent = latest.step / max(1.0, stages.steps_an_epoch(key))
            epoch = min(max(epoch, spent), epoch + 1.0)
        times = own[ELAPSED, -_LAST_EPOCHS - 1 :]
        seconds = float(np.median(np.diff(times))) if len(times) > 1 else None
        return going(planned, events[-1], epoch, seconds)


def _columns(table: CurveTable) -> _Floats:
    """(columns, N) float64, a copy of its own that nobody changes."""
    columns = np.ascontiguousarray(table.rows.T)
    columns.setflags(write=False)
    return columns


def _epoch_curve(columns: _Floats, stages: StageAxes) -> EpochCurve:
    return EpochCurve(
        stages.places(columns, between=False),
        columns[LOSS],
        columns[EPOCH_ACCURACY],
        columns[EPOCH_RATE],
        columns[EPOCH_SPEED],
    )


def _batch_size(recipe: Mapping[str, Any]) -> int:
    size = recipe.get("training.batch_size")
    return size if isinstance(size, int) else 0


def _read_recipe(run: RunDirectory) -> Mapping[str, Any]:
    try:
        return flatten(read_toml(run.recipe))
    except OSError:
        return {}
