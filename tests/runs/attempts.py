"""Runs that were interrupted and gone on with, as the trainer records them, and what they come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hypothesis import strategies as st

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

STAGES: tuple[tuple[StageName, int, int], ...] = (
    *(("probe", 0, 1), ("teacher", 0, 2)),
    *(("student", 1, 2), ("probe", 2, 1), ("student", 2, 1)),
)
"""(name, round, epochs) of a run of two rounds."""
STEPS = 3
"""An epoch."""


@dataclass(frozen=True)
class Interrupted:
    """What the attempts at a run recorded, one after another, and what of it happened in the end."""

    told: list[Event]
    happened: list[Event]


def whole_run(*, online: bool = False, together: bool = False) -> list[Event]:
    """All that a run of `STAGES` records when nothing happens to it; `together`: two processes train it."""
    events: list[Event] = []
    for stage, round_, epochs in STAGES:
        if round_ and not any(isinstance(e, RoundLabelled) and e.round == round_ for e in events):
            events.append(RoundLabelled(round_, 90, 45, 0.9, 0.8, 3, 0.7, [20, 25], [0] * 20))
        events.append(StageStarted(stage, round_, epochs, 10, 45 * bool(round_), False))
        if stage == "student":  # it falls back on what it began from
            events += _end(stage, round_, 0, online=False, together=False)
        for epoch in range(1, epochs + 1):
            steps = range((epoch - 1) * STEPS + 1, epoch * STEPS + 1)
            events += [StepDone(stage, round_, epoch, step, 1.0, 1e-3, 200.0, 2**30) for step in steps]
            events += _end(stage, round_, epoch, online=online and stage == "student", together=together)
    return [*events, _done("teacher", 0, 2, "test"), _done("student", 2, 1, "test")]


def _end(stage: StageName, round_: int, epoch: int, *, online: bool, together: bool) -> list[Event]:
    trained: list[Event] = [_done(stage, round_, epoch, "train")] if epoch else []
    taught: list[Event] = [PoolTaught(stage, round_, epoch, 45, 0.5, None, 0.4, [0.9])] if online else []
    ranks: list[Event] = [RanksSeen(stage, round_, epoch, [9.0, 8.0], [5, 6])] if together else []
    seen: list[Event] = [_done(stage, round_, epoch, "val"), ConfusionSeen(stage, round_, epoch, [[4]])]
    return trained + taught + ranks + seen


def _done(stage: StageName, round_: int, epoch: int, split: str) -> EpochDone:
    return EpochDone(stage, round_, epoch, split, 1.0, 0.5, 1e-3, 100.0, 2.0)  # type: ignore[arg-type]


@st.composite
def interrupted_runs(draw: st.DrawFn, *, says_so: bool, until_the_end: bool = False) -> Interrupted:
    """Attempts that are killed anywhere and go on from a checkpoint that lies anywhere before.

    Args:
        says_so: the attempts say where they go on, which those of petbench 0.1.0 did not. What these take
            back shows once they have recorded something of training.
        until_the_end: the last attempt is not killed.
    """
    whole = whole_run(online=draw(st.booleans()), together=draw(st.booleans()))
    told: list[Event] = []
    happened: list[Event] = []
    start = 0
    attempts = draw(st.integers(1, 4))
    for attempt in range(1, attempts + 1):
        first, then = _first_words(whole, start, says_so=says_so) if attempt > 1 else ([], start)
        least = then if says_so else min(then + 1, len(whole))
        end = len(whole) if until_the_end and attempt == attempts else draw(st.integers(least, len(whole)))
        redone = [_marked(event, attempt) for event in whole[then:end]]
        told += [Message("warning", f"attempt {attempt}"), *first, *redone]
        # An attempt that only concludes the run again trains nothing, so that what was tested stays true.
        still = happened[then + len(redone) :] if start == _trained(whole) else []
        happened = [*happened[:start], *whole[start:then], *redone, *still]
        start = draw(st.sampled_from([place for place in range(end + 1) if _has_checkpoint(whole, place)]))
    return Interrupted(told, happened)


def _trained(whole: Sequence[Event]) -> int:
    """After how many events there is nothing left to train."""
    return next(i for i, event in enumerate(whole) if isinstance(event, EpochDone) and event.split == "test")


def _has_checkpoint(whole: Sequence[Event], place: int) -> bool:
    """Whether one may hold the first `place` events: none, or up to a step or an epoch's end."""
    if not place:
        return True
    last = whole[place - 1]
    return isinstance(last, StepDone) or (isinstance(last, ConfusionSeen) and last.epoch > 0)


def _first_words(whole: Sequence[Event], start: int, *, says_so: bool) -> tuple[list[Event], int]:
    """What an attempt says first that goes on after `start` events, and how many are then behind it."""
    last = whole[start - 1] if start else None
    stage = next((e for e in reversed(whole[:start]) if isinstance(e, StageStarted)), None)
    ends = isinstance(last, ConfusionSeen) and stage is not None and last.epoch == stage.epochs
    if isinstance(last, StepDone | ConfusionSeen) and stage is not None and not ends:
        done = last.epoch - isinstance(last, StepDone)
        step = last.step if isinstance(last, StepDone) else last.epoch * STEPS
        resumed = [Resumed(stage.stage, stage.round, done, step)] if says_so else []
        return [*resumed, stage], start
    coming = next((i for i in range(start, len(whole)) if isinstance(whole[i], StageStarted)), None)
    if coming is None:  # the tests are left to do
        return [], start
    stage = whole[coming]  # type: ignore[assignment]
    assert isinstance(stage, StageStarted)
    resumed = [Resumed(stage.stage, stage.round, 0, 0)] if says_so else []
    return [*whole[start:coming], *resumed, stage], coming + 1


def _marked(event: Event, attempt: int) -> Event:
    """The event with the attempt's number in it, where it has room."""
    match event:
        case StepDone() | EpochDone():
            return replace(event, loss=float(attempt))
        case PoolTaught():
            return replace(event, used=attempt / 10)
        case RanksSeen():
            return replace(event, memory_bytes=[attempt, attempt])
        case ConfusionSeen():
            return replace(event, matrix=[[attempt]])
        case _:
            return event
