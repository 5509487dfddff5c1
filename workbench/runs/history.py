"""A run's timeline kept up to date event by event: `timeline` says what it must equal, this makes it cheap.

Events of training come in order of (round, stage, epoch) unless a resumed attempt goes back; then what lies
beyond is dropped from the ends of the tables.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.runs.best_epoch import RunningBest
from workbench.runs.curve_table import CurveTable
from workbench.runs.events import ConfusionSeen, EpochDone, Message, RoundLabelled, StageStarted, StepDone
from workbench.runs.metrics import Record
from workbench.runs.timeline import STAGE_ORDER

# Columns of both tables. A place is (round, stage, epoch) as one number that sorts like them.
PLACE, STEP, ELAPSED, LOSS = range(4)
STEP_RATE, STEP_SPEED, STEP_MEMORY = 4, 5, 6
EPOCH_ACCURACY, EPOCH_RATE, EPOCH_SPEED = 4, 5, 6
_COLUMNS = 7

EPOCHS_A_STAGE = 2**24
_MATRIX_BYTES = 32 * 2**20
_MESSAGES = 500
_SILENCE_SECONDS = 120.0
_SILENCE_EPOCHS = 4.0


@dataclass(frozen=True, slots=True, eq=False)
class SeenConfusion:
    """The validation confusion after an epoch."""

    stage: str
    round: int
    epoch: int
    matrix: NDArray[np.int32]
    """(C, C) int32 counts: rows are true classes, columns predictions."""


@dataclass(frozen=True, slots=True)
class Said:
    """A message and when it came, in seconds since the epoch."""

    time: float
    message: Message


@dataclass(frozen=True, slots=True)
class StageSeen:
    """A stage and when it began, in seconds of the run's own time."""

    event: StageStarted
    elapsed: float


class History:
    """What has happened so far.

    `elapsed` columns hold the run's own time in seconds: from the first event, less the silences in which no
    attempt was under way, which are those longer than two minutes and than four of the longest epochs.
    Confusions are thinned to every second epoch, and again, when they fill 32 MiB; the latest stays.
    """

    def __init__(self) -> None:
        self.steps = CurveTable(_COLUMNS, extremes_of=LOSS)
        self.train = CurveTable(_COLUMNS, extremes_of=LOSS)
        self.val = CurveTable(_COLUMNS, extremes_of=LOSS)
        self.bests = RunningBest()
        self.tests: dict[tuple[str, int, int], EpochDone] = {}
        self.stages: dict[int, StageSeen] = {}
        self.rounds: dict[int, RoundLabelled] = {}
        self.confusions: list[tuple[int, SeenConfusion]] = []
        self.messages: list[Said] = []
        self.latest_step: StepDone | None = None
        self.latest_time = 0.0
        self._new_steps: list[tuple[float, ...]] = []
        self._place = -1
        self._step = -1
        self._announced = -1  # the furthest place of a stage or round, which come before their first step
        self._shift: float | None = None
        self._longest_epoch = 0.0
        self._confusion_every = 1
        self._confusions_seen = 0

    def add(self, records: Iterable[Record]) -> None:
        """Take up what was read next."""
        for record in records:
            elapsed = self._elapsed(record.time)
            match record.event:
                case StepDone() as step:
                    self._add_step(step, elapsed, record.time)
                case EpochDone(split="test") as tested:
                    self.tests[tested.stage, tested.round, tested.epoch] = tested
                case EpochDone() as epoch:
                    self._add_epoch(epoch, elapsed, record.time)
                case ConfusionSeen() as seen:
                    self._add_confusion(seen, record.time)
                case StageStarted() as stage:
                    key = stage_of(_place(stage.round, stage.stage, 0))
                    self.stages[key] = StageSeen(stage, elapsed)
                    self._announced = max(self._announced, key * EPOCHS_A_STAGE)
                case RoundLabelled() as labelled:
                    self.rounds[labelled.round] = labelled
                    self._announced = max(self._announced, _round_place(labelled.round))
                case Message() as message:
                    self.messages.append(Said(record.time, message))
                    del self.messages[:-_MESSAGES]
        self._flush()

    def _add_step(self, step: StepDone, elapsed: float, time: float) -> None:
        place = _place(step.round, step.stage, step.epoch)
        if self._lies_behind(place) or (place == self._place and step.step <= self._step):
            elapsed = self._go_back(place, step.step, time)
        self._place, self._step = place, step.step
        self.latest_step = step
        self._new_steps.append(
            (
                place,
                step.step,
                elapsed,
                step.loss,
                step.learning_rate,
                step.images_per_second,
                step.memory_bytes,
            )
        )

    def _add_epoch(self, epoch: EpochDone, elapsed: float, time: float) -> None:
        place = _place(epoch.round, epoch.stage, epoch.epoch)
        table = self.train if epoch.split == "train" else self.val
        elapsed = self._reach(place, elapsed, time)
        if len(table) and table.rows[-1, PLACE] == place:
            table.truncate(len(table) - 1)
        if epoch.split == "val":
            self.bests.take_back(lambda best: _place(best.round, best.stage, best.epoch) >= place)
            self.bests.add(epoch)
        self._longest_epoch = max(self._longest_epoch, epoch.seconds)
        row = (
            place,
            self._stage_step(place),
            elapsed,
            epoch.loss,
            epoch.accuracy,
            epoch.learning_rate,
            epoch.images_per_second,
        )
        table.extend([row])

    def _add_confusion(self, event: ConfusionSeen, time: float) -> None:
        place = _place(event.round, event.stage, event.epoch)
        self._reach(place, 0.0, time)
        try:
            matrix = np.array(event.matrix, dtype=np.int32)
        except (ValueError, OverflowError):
            return
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            return
        matrix.setflags(write=False)
        kept = self.confusions
        # The latest is always here; it stays behind a newer one only if it is its turn.
        if kept and (kept[-1][0] == place or (self._confusions_seen - 1) % self._confusion_every):
            kept.pop()
        kept.append((place, SeenConfusion(event.stage, event.round, event.epoch, matrix)))
        self._confusions_seen += 1
        if len(kept) > 2 and len(kept) * matrix.nbytes > _MATRIX_BYTES:
            self._confusion_every *= 2
            self.confusions = [*kept[:-1:2], kept[-1]]

    def _reach(self, place: int, elapsed: float, time: float) -> float:
        """Go on to `place`, or back to it."""
        if self._lies_behind(place):
            elapsed = self._go_back(place, None, time)
            self._place, self._step = place, self._last_step(place)
        elif place > self._place:
            self._place, self._step = place, -1
        return elapsed

    def _lies_behind(self, place: int) -> bool:
        """Whether training at `place` takes back something that is known already."""
        return place < max(self._place, self._announced)

    def _last_step(self, place: int) -> int:
        """The latest step kept of an epoch; -1 where it has none."""
        rows = self.steps.rows
        return int(rows[-1, STEP]) if len(rows) and rows[-1, PLACE] == place else -1

    def _go_back(self, place: int, step: int | None, time: float) -> float:
        """Drop what lies beyond `place`, and with `step` the steps from there on; the elapsed time there."""
        self._flush()
        steps = self.steps.rows
        keep = int(np.searchsorted(steps[:, PLACE], place, side="right"))
        if step is not None:
            start = int(np.searchsorted(steps[:, PLACE], place, side="left"))
            keep = start + int(np.searchsorted(steps[start:keep, STEP], step, side="left"))
        self.steps.truncate(keep)
        for table in (self.train, self.val):
            table.truncate(int(np.searchsorted(table.rows[:, PLACE], place, side="right")))
        self.bests.take_back(lambda best: _place(best.round, best.stage, best.epoch) > place)
        self.confusions = [seen for seen in self.confusions if seen[0] <= place]
        self.stages = {key: seen for key, seen in self.stages.items() if key * EPOCHS_A_STAGE <= place}
        self.rounds = {r: seen for r, seen in self.rounds.items() if _round_place(r) <= place}
        announced = [*(key * EPOCHS_A_STAGE for key in self.stages), *map(_round_place, self.rounds)]
        self._announced = max(announced, default=-1)
        tables = (self.steps, self.train, self.val)
        reached = max((float(t.rows[-1, ELAPSED]) for t in tables if len(t)), default=0.0)
        self._shift = time - reached
        return reached

    def _elapsed(self, time: float) -> float:
        """The run's own time at `time`; it never goes back by itself."""
        if self._shift is None:
            self._shift, self.latest_time = time, time
        gap = time - self.latest_time
        if gap < 0 or gap > max(_SILENCE_SECONDS, _SILENCE_EPOCHS * self._longest_epoch):
            self._shift += gap
        self.latest_time = time
        return time - self._shift

    def _stage_step(self, place: int) -> float:
        """The latest step of the stage that `place` is in."""
        if self._new_steps and stage_of(self._new_steps[-1][PLACE]) == stage_of(place):
            return self._new_steps[-1][STEP]
        if len(self.steps) and stage_of(self.steps.rows[-1, PLACE]) == stage_of(place):
            return float(self.steps.rows[-1, STEP])
        return 0.0

    def _flush(self) -> None:
        self.steps.extend(self._new_steps)
        self._new_steps = []


def stage_of(place: float) -> int:
    """Round and stage of a place as one number; sorts like them."""
    return int(place) // EPOCHS_A_STAGE


def _place(round_number: int, stage: str, epoch: int) -> int:
    return (4 * round_number + 1 + STAGE_ORDER[stage]) * EPOCHS_A_STAGE + epoch


def _round_place(round_number: int) -> int:
    """A round is labelled before its first stage."""
    return 4 * round_number * EPOCHS_A_STAGE
