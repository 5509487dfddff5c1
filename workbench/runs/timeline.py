"""The one history of a run: what a resumed attempt did again replaces what the earlier one had recorded."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.runs.events import (
    ConfusionSeen,
    EpochDone,
    Event,
    PoolTaught,
    RoundLabelled,
    StageStarted,
    StepDone,
)

STAGE_ORDER = {"probe": 0, "teacher": 1, "student": 2, "fit": 3}
_Position = tuple[int, int, int]


def timeline(events: Sequence[Event]) -> list[Event]:
    """`events` less those that a later attempt went back behind.

    A run resumed from its checkpoint records again from there. A step, epoch or confusion is dropped when a
    later event of training lies at an earlier (round, stage, epoch), or is its own repetition; a step also
    when a later step of its epoch is not after it. Stages and rounds are dropped likewise, but take nothing
    back themselves: said twice, the last saying stands at the first one's place.
    """
    kept: list[Event] = []
    lowest: _Position | None = None
    lowest_step: tuple[_Position, int] | None = None
    seen: set[tuple[object, ...]] = set()
    for event in reversed(events):
        identity = _identity(event)
        position = _position(event)
        if position is not None and lowest is not None and position > lowest:
            continue
        if isinstance(event, StepDone) and position is not None:
            if lowest_step is not None and (position, event.step) >= lowest_step:
                continue
            lowest_step = (position, event.step)
        elif identity is not None:
            if identity in seen:
                if not isinstance(event, StageStarted | RoundLabelled):
                    continue
                _move_last(kept, identity)
                continue
            seen.add(identity)
        if position is not None and _is_training(event) and (lowest is None or position < lowest):
            lowest = position
        kept.append(event)
    kept.reverse()
    return kept


def epochs(events: Sequence[Event]) -> list[EpochDone]:
    """The epochs of the `timeline`: one record for every (stage, round, epoch, split), in order."""
    return [event for event in timeline(events) if isinstance(event, EpochDone)]


def _position(event: Event) -> _Position | None:
    """(round, stage, epoch) that `event` belongs to; None for what has no place in training.

    The test split is evaluated after training, for an earlier epoch, so it has none.
    """
    match event:
        case EpochDone(split="test"):
            return None
        case StepDone() | EpochDone() | ConfusionSeen() | PoolTaught():
            return (event.round, STAGE_ORDER[event.stage], event.epoch)
        case StageStarted():
            return (event.round, STAGE_ORDER[event.stage], 0)
        case RoundLabelled():
            return (event.round, -1, 0)
        case _:
            return None


def _is_training(event: Event) -> bool:
    return isinstance(event, StepDone | EpochDone | ConfusionSeen | PoolTaught)


def _identity(event: Event) -> tuple[object, ...] | None:
    """What makes two records tell the same thing; None for messages, which are never the same."""
    match event:
        case EpochDone():
            return (event.kind, event.stage, event.round, event.epoch, event.split)
        case ConfusionSeen() | PoolTaught():
            return (event.kind, event.stage, event.round, event.epoch)
        case StageStarted():
            return (event.kind, event.stage, event.round)
        case RoundLabelled():
            return (event.kind, event.round)
        case _:
            return None


def _move_last(kept: list[Event], identity: tuple[object, ...]) -> None:
    """Move the event of this identity to the end of a list that is being built backwards."""
    place = next(i for i in range(len(kept) - 1, -1, -1) if _identity(kept[i]) == identity)
    kept.append(kept.pop(place))
