"""A run's curves kept up to date event by event, as tables from whose ends a resumed attempt drops some rows.

What it takes back is said by `run_history`; this makes it cheap for a million steps: once they are many, rows
are thinned evenly, so that memory has a bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np
from numpy.typing import NDArray

from workbench.runs.events import (
    ConfusionSeen,
    EpochDone,
    Event,
    Message,
    PoolTaught,
    RanksSeen,
    Resumed,
    RoundLabelled,
    StageName,
    StageStarted,
    StepDone,
)
from workbench.runs.metrics import Record
from workbench.runs.run_history import (
    AFTER_STEPS,
    ROUND,
    STAGE_ORDER,
    Part,
    Place,
    RunningBest,
    goes_on_from,
    place_of,
)

# Columns of both tables. The first is an event's place down to the epoch, as one number that sorts likewise.
PLACE, STEP, ELAPSED, LOSS = range(4)
STEP_RATE, STEP_SPEED, STEP_MEMORY = 4, 5, 6
EPOCH_ACCURACY, EPOCH_RATE, EPOCH_SPEED, EPOCH_SECONDS = 4, 5, 6, 7
_STEP_COLUMNS, _EPOCH_COLUMNS = 7, 8

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
        self.steps = CurveTable(_STEP_COLUMNS, extremes_of=LOSS)
        self.train = CurveTable(_EPOCH_COLUMNS, extremes_of=LOSS)
        self.val = CurveTable(_EPOCH_COLUMNS, extremes_of=LOSS)
        self.bests = RunningBest()
        self.tests: dict[tuple[str, int, int], EpochDone] = {}
        self.stages: dict[int, StageSeen] = {}
        self.rounds: dict[int, RoundLabelled] = {}
        self.pools: dict[int, PoolTaught] = {}
        self.ranks: dict[int, RanksSeen] = {}
        self.confusions: list[tuple[int, SeenConfusion]] = []
        self.messages: list[Said] = []
        self.latest_step: StepDone | None = None
        self.latest_time = 0.0
        self._new_steps: list[tuple[float, ...]] = []
        self._reached: Place | None = None
        self._shift: float | None = None
        self._longest_epoch = 0.0
        self._confusion_every = 1
        self._confusions_seen = 0

    def add(self, records: Iterable[Record]) -> None:
        """Take up what was read next."""
        for record in records:
            elapsed = self._elapsed(record.time)
            back = goes_on_from(record.event)
            if back is not None and self._lies_before(back, record.event):
                elapsed = self._go_back(back, record.time)
            match record.event:
                case StepDone() as step:
                    self._add_step(step, elapsed)
                case EpochDone(split="test") as tested:
                    self.tests[tested.stage, tested.round, tested.epoch] = tested
                case EpochDone() as epoch:
                    self._add_epoch(epoch, elapsed)
                case ConfusionSeen() as seen:
                    self._add_confusion(seen)
                case StageStarted() as stage:
                    self.stages[stage_of(_row(stage.round, stage.stage))] = StageSeen(stage, elapsed)
                case RoundLabelled() as labelled:
                    self.rounds[labelled.round] = labelled
                case PoolTaught() as taught:
                    self.pools[_row(taught.round, taught.stage, taught.epoch)] = taught
                case RanksSeen() as ranks:
                    self.ranks[_row(ranks.round, ranks.stage, ranks.epoch)] = ranks
                case Message() as message:
                    self.messages.append(Said(record.time, message))
                    del self.messages[:-_MESSAGES]
                case Resumed():
                    pass  # what it takes back is gone
                case _:
                    assert_never(record.event)
            place = place_of(record.event)
            if place is not None and (self._reached is None or place > self._reached):
                self._reached = place
        self._flush()

    @property
    def latest_ranks(self) -> RanksSeen | None:
        """What each of several processes did in the last epoch; None where one trained it alone."""
        return self.ranks.get(int(self.train.rows[-1, PLACE])) if len(self.train) else None

    def _add_step(self, step: StepDone, elapsed: float) -> None:
        row = _row(step.round, step.stage, step.epoch)
        steps = self._new_steps or self.steps.rows[-1:].tolist()
        if steps and (steps[-1][PLACE], steps[-1][STEP]) == (row, step.step):
            self._flush()
            self.steps.truncate(len(self.steps) - 1)
        self.latest_step = step
        self._new_steps.append(
            (
                row,
                step.step,
                elapsed,
                step.loss,
                step.learning_rate,
                step.images_per_second,
                step.memory_bytes,
            )
        )

    def _add_epoch(self, epoch: EpochDone, elapsed: float) -> None:
        row = _row(epoch.round, epoch.stage, epoch.epoch)
        table = self.train if epoch.split == "train" else self.val
        if len(table) and table.rows[-1, PLACE] == row:
            table.truncate(len(table) - 1)
        if epoch.split == "val":
            self.bests.take_back(lambda best: _row(best.round, best.stage, best.epoch) >= row)
            self.bests.add(epoch)
        self._longest_epoch = max(self._longest_epoch, epoch.seconds)
        values = (
            row,
            self._stage_step(row),
            elapsed,
            epoch.loss,
            epoch.accuracy,
            epoch.learning_rate,
            epoch.images_per_second,
            epoch.seconds,
        )
        table.extend([values])

    def _add_confusion(self, event: ConfusionSeen) -> None:
        try:
            matrix = np.array(event.matrix, dtype=np.int32)
        except (ValueError, OverflowError):
            return
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            return
        matrix.setflags(write=False)
        kept, row = self.confusions, _row(event.round, event.stage, event.epoch)
        # The latest is always here; it stays behind a newer one only if it is its turn.
        if kept and (kept[-1][0] == row or (self._confusions_seen - 1) % self._confusion_every):
            kept.pop()
        kept.append((row, SeenConfusion(event.stage, event.round, event.epoch, matrix)))
        self._confusions_seen += 1
        if len(kept) > 2 and len(kept) * matrix.nbytes > _MATRIX_BYTES:
            self._confusion_every *= 2
            self.confusions = [*kept[:-1:2], kept[-1]]

    def _lies_before(self, place: Place, event: Event) -> bool:
        """Whether going on from `place` takes anything back, or is known to be another attempt's."""
        return self._reached is not None and (place < self._reached or isinstance(event, Resumed))

    def _go_back(self, beyond: Place, time: float) -> float:
        """Drop what lies beyond a place; the elapsed time there."""
        self._flush()
        row = _row_of(beyond)

        def stays(at: int, part: Part) -> bool:
            return (at, AFTER_STEPS, part) <= (row, beyond.step, beyond.part)

        steps = self.steps.rows
        keep, end = (int(np.searchsorted(steps[:, PLACE], row, side=side)) for side in ("left", "right"))
        self.steps.truncate(keep + int(np.searchsorted(steps[keep:end, STEP], beyond.step, side="right")))
        for table, part in ((self.train, Part.TRAIN), (self.val, Part.VAL)):
            side: Literal["left", "right"] = "right" if stays(row, part) else "left"
            table.truncate(int(np.searchsorted(table.rows[:, PLACE], row, side=side)))
        self.bests.take_back(lambda best: not stays(_row(best.round, best.stage, best.epoch), Part.VAL))
        self.confusions = [seen for seen in self.confusions if stays(seen[0], Part.CONFUSION)]
        self.pools = {at: seen for at, seen in self.pools.items() if stays(at, Part.POOL)}
        self.ranks = {at: seen for at, seen in self.ranks.items() if stays(at, Part.RANKS)}
        self.stages = {key: seen for key, seen in self.stages.items() if key * EPOCHS_A_STAGE <= row}
        self.rounds = {number: seen for number, seen in self.rounds.items() if _round_row(number) <= row}
        self.tests = {}
        if self._reached is None or self._reached > beyond:
            self._reached = beyond
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

    def _stage_step(self, row: int) -> float:
        """The latest step of the stage that a place is in."""
        if self._new_steps and stage_of(self._new_steps[-1][PLACE]) == stage_of(row):
            return self._new_steps[-1][STEP]
        if len(self.steps) and stage_of(self.steps.rows[-1, PLACE]) == stage_of(row):
            return float(self.steps.rows[-1, STEP])
        return 0.0

    def _flush(self) -> None:
        self.steps.extend(self._new_steps)
        self._new_steps = []


def stage_of(row: float) -> int:
    """Round and stage of a place as one number; sorts like them."""
    return int(row) // EPOCHS_A_STAGE


def _row(round_number: int, stage: StageName, epoch: int = 0) -> int:
    return _row_of(Place(round_number, STAGE_ORDER[stage], epoch, 0))


def _round_row(round_number: int) -> int:
    return _row_of(Place(round_number, ROUND, 0, 0))


def _row_of(place: Place) -> int:
    """A place down to the epoch, as one number."""
    return (4 * place.round + 1 + place.stage) * EPOCHS_A_STAGE + place.epoch


MOST_ROWS = 32_768
"""Rows that are kept whole: a hundred for every column of dots that the widest terminal shows."""


class CurveTable:
    """Rows in order of time, each a tuple of `columns` numbers.

    Beyond `most` rows, neighbours are merged: of every `group` rows the two with the least and the greatest
    value in the column `extremes_of` stay, so that a curve drawn of them has the same outline. The group
    doubles whenever the table is full again; the newest rows, up to one group, are always whole.
    """

    def __init__(self, columns: int, *, extremes_of: int, most: int = MOST_ROWS) -> None:
        self._rows = np.empty((1024, columns), dtype=np.float64)
        self._count = 0
        self._merged = 0
        self._group = 2
        self._by = extremes_of
        self._most = most

    def __len__(self) -> int:
        return self._count

    @property
    def rows(self) -> NDArray[np.float64]:
        """(N, columns) float64: the live rows, a view that the next change may alter."""
        return self._rows[: self._count]

    def extend(self, rows: Sequence[Sequence[float]] | NDArray[np.float64]) -> None:
        """Append rows."""
        if not len(rows):
            return
        self._reserve(len(rows))
        self._rows[self._count : self._count + len(rows)] = rows
        self._count += len(rows)
        self._merge_new()
        while self._merged > self._most:
            self._merge_again()

    def truncate(self, count: int) -> None:
        """Keep the first `count` rows."""
        self._count = min(self._count, count)
        self._merged = min(self._merged, self._count)

    def _reserve(self, more: int) -> None:
        needed = self._count + more
        if needed > len(self._rows):
            larger = np.empty((max(needed, 2 * len(self._rows)), self._rows.shape[1]), dtype=np.float64)
            larger[: self._count] = self.rows
            self._rows = larger

    def _merge_new(self) -> None:
        """Bring whole groups of new rows to the density of the old ones."""
        new = self._count - self._merged
        whole = new // self._group * self._group
        pairs = _extremes(self._rows[self._merged : self._merged + whole], self._group, self._by)
        rest = self._rows[self._merged + whole : self._count].copy()
        self._merged += len(pairs)
        self._rows[self._merged - len(pairs) : self._merged] = pairs
        self._count = self._merged + len(rest)
        self._rows[self._merged : self._count] = rest

    def _merge_again(self) -> None:
        """Halve the density of everything."""
        self._group *= 2
        whole = self._merged // 4 * 4
        kept = [_extremes(self._rows[:whole], 4, self._by), self._rows[whole : self._count].copy()]
        self._merged -= whole // 2
        self._count -= whole // 2
        np.concatenate(kept, out=self._rows[: self._count])


def _extremes(rows: NDArray[np.float64], group: int, column: int) -> NDArray[np.float64]:
    """Of every `group` rows the two with the least and the greatest value, in their order; a copy.

    A value that is NaN counts as none; a group of equal values keeps its first and its last row.
    """
    if group <= 2 or not len(rows):
        return rows.copy()
    values = rows[:, column].reshape(-1, group)
    least = np.argmin(np.where(np.isnan(values), np.inf, values), axis=1)
    most = group - 1 - np.argmax(np.where(np.isnan(values), -np.inf, values)[:, ::-1], axis=1)
    first, second = np.minimum(least, most), np.maximum(least, most)
    same = first == second
    second = np.where(same & (first == 0), group - 1, second)
    first = np.where(same & (first > 0), 0, first)
    starts = np.arange(len(values)) * group
    picked = np.stack([starts + first, starts + second], axis=1).reshape(-1)
    chosen: NDArray[np.float64] = rows[picked]
    return chosen
