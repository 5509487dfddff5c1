"""What has happened in a run, told once: a resumed attempt's record stands in the place of the one before.

The law: events have a place in the course of a run. An attempt that goes on from a checkpoint says where
(`Resumed`), and whatever was recorded beyond is taken back. Attempts of petbench 0.1.0 did not say so: there
an event of training takes back all beyond its place. What is said twice of a place is as it was last said.

Which epoch is the best is one rule for the weights that are kept and for all that is said of them: the one of
highest validation accuracy, of equals the least loss, and of complete equals the latest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple, assert_never

from workbench.runs.events import (
    ConfusionSeen,
    EpochDone,
    Event,
    Message,
    PoolTaught,
    RanksSeen,
    Resumed,
    RoundLabelled,
    SplitName,
    StageName,
    StageStarted,
    StepDone,
)
from workbench.runs.metrics import MetricsReader

STAGE_ORDER: dict[StageName, int] = {"probe": 0, "teacher": 1, "student": 2, "fit": 3}
"""Of the stages within a round."""
ROUND = -1
"""A round is labelled before its first stage."""
AFTER_STEPS = float("inf")


class Part(IntEnum):
    """The records of one place: a step, or an epoch's end in the order in which it is recorded."""

    STEP = 0
    TRAIN = 1
    POOL = 2
    RANKS = 3
    VAL = 4
    CONFUSION = 5


class Place(NamedTuple):
    """Where in the course of a run something happened; places sort as the run goes along them."""

    round: int
    stage: int
    """In `STAGE_ORDER`."""
    epoch: int
    """From 1 within the stage; 0 where it begins."""
    step: float
    """Optimiser steps since the stage began; infinite for what follows on the epoch's last step."""
    part: Part = Part.STEP


def place_of(event: Event) -> Place | None:
    """The place of an event; None for what has none.

    That are messages, word of a resumed attempt, and tests, which come after training and are of any epoch.
    """
    match event:
        case StageStarted():
            return Place(event.round, STAGE_ORDER[event.stage], 0, -1)
        case RoundLabelled():
            return Place(event.round, ROUND, 0, -1)
        case StepDone():
            return Place(event.round, STAGE_ORDER[event.stage], event.epoch, event.step)
        case EpochDone(split="test") | Message() | Resumed():
            return None
        case EpochDone():
            return _end_of_epoch(event, Part.TRAIN if event.split == "train" else Part.VAL)
        case PoolTaught():
            return _end_of_epoch(event, Part.POOL)
        case RanksSeen():
            return _end_of_epoch(event, Part.RANKS)
        case ConfusionSeen():
            return _end_of_epoch(event, Part.CONFUSION)
        case _:
            assert_never(event)


def goes_on_from(event: Event) -> Place | None:
    """The place beyond which an event takes back what was recorded before it; None: it takes back nothing.

    A stage or a round is announced again when an attempt resumes within it: that takes nothing back.
    """
    match event:
        case Resumed(epoch=0, step=0):
            return Place(event.round, STAGE_ORDER[event.stage], 0, -1)
        case Resumed():
            return Place(event.round, STAGE_ORDER[event.stage], event.epoch + 1, event.step)
        case StepDone() | EpochDone() | ConfusionSeen() | PoolTaught() | RanksSeen():
            return place_of(event)
        case StageStarted() | RoundLabelled() | Message():
            return None
        case _:
            assert_never(event)


def _end_of_epoch(event: EpochDone | ConfusionSeen | PoolTaught | RanksSeen, part: Part) -> Place:
    return Place(event.round, STAGE_ORDER[event.stage], event.epoch, AFTER_STEPS, part)


@dataclass(frozen=True, slots=True)
class RunHistory:
    """What has happened in a run so far."""

    events: tuple[Event, ...] = ()
    """All that have a place, in the order of their places."""
    tests: tuple[EpochDone, ...] = ()
    """Of the test split, once training is over."""
    messages: tuple[Message, ...] = ()
    """Of all attempts, in the order in which they came."""
    skipped: int = 0
    """Lines that are no event: damaged, torn by a kill, or of a later version."""

    @property
    def stages(self) -> tuple[StageStarted, ...]:
        """The stages that have begun; the last is under way, or was the last."""
        return tuple(event for event in self.events if isinstance(event, StageStarted))

    @property
    def rounds(self) -> tuple[RoundLabelled, ...]:
        """What the teachers have labelled."""
        return tuple(event for event in self.events if isinstance(event, RoundLabelled))

    def epochs(self, split: SplitName, within: StageStarted | None = None) -> tuple[EpochDone, ...]:
        """A split's epochs, of the whole run or of one stage."""
        return tuple(
            event
            for event in (self.tests if split == "test" else self.events)
            if isinstance(event, EpochDone)
            and event.split == split
            and (within is None or (event.stage, event.round) == (within.stage, within.round))
        )

    def best_of(self, stage: StageStarted) -> EpochDone | None:
        """The best epoch of a stage; None before one is validated."""
        return best_epoch(self.epochs("val", stage))

    @property
    def ranks(self) -> RanksSeen | None:
        """What each of several processes did in the last epoch; None where one trained it alone."""
        for event in reversed(self.events):
            match event:
                case RanksSeen():
                    return event
                case EpochDone(split="train"):
                    return None
                case _:
                    continue
        return None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should read, each once."""
        texts = (message.text for message in self.messages if message.level == "warning")
        return tuple(dict.fromkeys(texts))

    @property
    def bests(self) -> RunningBest:
        """Which epochs are the best of the run and of its teacher."""
        bests = RunningBest()
        for epoch in self.epochs("val"):
            bests.add(epoch)
        return bests


class HistoryRecord:
    """A history while it grows: events are taken up as they come, `history` is what they tell so far."""

    def __init__(self, before: RunHistory = RunHistory()) -> None:
        self._placed: list[tuple[Place, Event]] = []
        self._tests: dict[tuple[str, int, int], EpochDone] = {}
        self._messages: list[Message] = []
        for event in (*before.events, *before.tests, *before.messages):
            self.add(event)

    def add(self, event: Event) -> None:
        """Take up the next event."""
        back = goes_on_from(event)
        if back is not None:
            self._take_back(back)
        if isinstance(event, Message):
            self._messages.append(event)
        elif isinstance(event, EpochDone) and event.split == "test":
            self._tests[event.stage, event.round, event.epoch] = event
        elif (place := place_of(event)) is not None:
            self._put(place, event)

    def history(self, skipped: int = 0) -> RunHistory:
        """What has happened so far; `skipped` lines told nothing."""
        placed = tuple(event for _, event in self._placed)
        return RunHistory(placed, tuple(self._tests.values()), tuple(self._messages), skipped)

    def _take_back(self, beyond: Place) -> None:
        before = len(self._placed)
        while self._placed and self._placed[-1][0] > beyond:
            self._placed.pop()
        if len(self._placed) < before:
            self._tests.clear()  # of a model that is trained again

    def _put(self, place: Place, event: Event) -> None:
        at = len(self._placed)
        while at and self._placed[at - 1][0] > place:
            at -= 1
        if at and self._placed[at - 1][0] == place:
            self._placed[at - 1] = (place, event)
        else:
            self._placed.insert(at, (place, event))


def history_of(events: Iterable[Event]) -> RunHistory:
    """The history that events tell, in the order in which they were recorded."""
    record = HistoryRecord()
    for event in events:
        record.add(event)
    return record.history()


class HistoryReader:
    """Reads a run's history on as it grows: every byte of `metrics.jsonl` is looked at once.

    Steps, confusions and thresholds, which are most of a file, are passed over: curves are of `follow`.
    """

    _KINDS = (
        *(Resumed.kind, StageStarted.kind, EpochDone.kind),
        *(RoundLabelled.kind, RanksSeen.kind, Message.kind),
    )

    def __init__(self, path: Path) -> None:
        self._lines = MetricsReader(path, kinds=self._KINDS)
        self._record = HistoryRecord()
        self._history = RunHistory()

    def read(self) -> RunHistory:
        """The history so far; the very same object where nothing was added. Of no file there is none.

        Raises:
            UnreadableFile: the file is there and cannot be read.
        """
        news = self._lines.read()
        if news.anew:
            self._record = HistoryRecord()
        for record in news.records:
            self._record.add(record.event)
        if news.anew or news.records or self._history.skipped != news.skipped:
            self._history = self._record.history(news.skipped)
        return self._history


def read_history(path: Path) -> RunHistory:
    """The history that `metrics.jsonl` tells, as a `HistoryReader` reads it. Raises: UnreadableFile."""
    return HistoryReader(path).read()


def is_better(accuracy: float, loss: float, than: EpochDone) -> bool:
    """Whether an epoch that comes after `than` takes its place."""
    return not stays(than.accuracy, than.loss, accuracy, loss)


def stays(accuracy: float, loss: float, later_accuracy: float, later_loss: float) -> bool:
    """Whether the best so far is kept against a later epoch."""
    return (accuracy, -loss) > (later_accuracy, -later_loss)


def best_epoch(epochs: Iterable[EpochDone]) -> EpochDone | None:
    """The best of the validated epochs among those given, in order; None where there is none."""
    best: EpochDone | None = None
    for epoch in epochs:
        if epoch.split == "val" and (best is None or is_better(epoch.accuracy, epoch.loss, best)):
            best = epoch
    return best


class RunningBest:
    """The epoch whose weights a run would keep if it ended now, while epochs come and a resume goes back.

    Of a pseudo-label run that is the best of its students where it beats the teacher, else the teacher's; a
    probe's only while there is nothing else. A last fit on the labels begins with the student as it is (epoch
    0): that one is no epoch of its own.
    """

    def __init__(self) -> None:
        # Each epoch that was the best when it came: to go back is to take some off the end.
        self._bests: dict[str, list[EpochDone]] = {"final": [], "teacher": [], "probe": []}

    @property
    def best(self) -> EpochDone | None:
        """None before an epoch is validated."""
        final, teacher, probe = (bests[-1] if bests else None for bests in self._bests.values())
        if final is None or teacher is None:
            return final or teacher or probe
        return teacher if is_better(teacher.accuracy, teacher.loss, final) else final

    def kept(self, round: int, epoch: int) -> EpochDone | None:
        """The epoch that a finished run says it kept; the best where it names none of those that were.

        Runs of an older petbench kept their student also where it had lost against its teacher.
        """
        tops = (bests[-1] for bests in self._bests.values() if bests)
        return next((top for top in tops if (top.round, top.epoch) == (round, epoch)), self.best)

    @property
    def teacher(self) -> EpochDone | None:
        """The best of the teacher; None where there is none."""
        bests = self._bests["teacher"]
        return bests[-1] if bests else None

    def add(self, epoch: EpochDone) -> None:
        """Take up the next epoch; one that was not validated has no say."""
        if epoch.split != "val" or (epoch.round and not epoch.epoch):
            return
        bests = self._bests["final" if epoch.stage in ("student", "fit") else epoch.stage]
        if not bests or is_better(epoch.accuracy, epoch.loss, bests[-1]):
            bests.append(epoch)

    def take_back(self, goes: Callable[[EpochDone], bool]) -> None:
        """Forget the latest epochs, as far as they go."""
        for bests in self._bests.values():
            while bests and goes(bests[-1]):
                bests.pop()


def epoch_words(epoch: EpochDone) -> str:
    """`12`, `r3 1` in the third round, `teacher 4`: an epoch counts from 1 within its stage."""
    if epoch.stage == "teacher":
        return f"teacher {epoch.epoch}"
    return f"r{epoch.round} {epoch.epoch}" if epoch.round else str(epoch.epoch)
