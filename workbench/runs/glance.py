"""A run at a glance, for a row of a table: its validation curve, how far it is, how long it has to go."""

from __future__ import annotations

import statistics
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.runs.epochs import EpochReader
from workbench.runs.events import EpochDone, Event, Message, StageStarted
from workbench.runs.metrics import read_events
from workbench.runs.results import read_top
from workbench.runs.summary import RunSummary, problem_of

if TYPE_CHECKING:
    from workbench.runs.remaining import Going

_KEPT = 400
"""Runs remembered: what a person scrolls through."""
_LAST_EPOCHS = 5
_TOLD = (Message.kind, StageStarted.kind, EpochDone.kind)
"""Lines that are looked at for warnings and damage; steps, most of a file, are not."""
_LARGEST_BYTES = 64 * 2**20
"""A longer record of a run that has ended is not read for a curve of ten characters."""


@dataclass(frozen=True, slots=True)
class Glance:
    """What a row shows beside the summary."""

    accuracies: tuple[float, ...]
    """Validation accuracy after every epoch of the whole run."""
    going: Going | None
    """None for a run that has ended or not begun."""


_NOTHING = Glance((), None)


class Glances:
    """Looks at runs, and remembers: one that grows is read on, one that has ended is read once.

    Belongs to one thread at a time.
    """

    def __init__(self) -> None:
        self._readers: dict[str, EpochReader] = {}
        self._ended: OrderedDict[tuple[str, float | None], Glance] = OrderedDict()

    def look(self, summary: RunSummary) -> Glance:
        """The run as it is now; one whose metrics cannot be read shows nothing."""
        if summary.status.is_active:
            reader = self._readers.setdefault(summary.id, EpochReader())
            return _glance(summary, _read(reader, summary))
        self._readers.pop(summary.id, None)
        key = (summary.id, summary.ended.ended if summary.ended else None)
        found = self._ended.pop(key, None) or _glance(summary, _read(EpochReader(), summary))
        self._ended[key] = found
        while len(self._ended) > _KEPT:
            self._ended.popitem(last=False)
        return found


def _read(reader: EpochReader, summary: RunSummary) -> Sequence[Event]:
    path = summary.run.metrics
    try:
        if not summary.status.is_active and path.stat().st_size > _LARGEST_BYTES:
            return ()
        return reader.read(path)
    except OSError:
        return ()


def _glance(summary: RunSummary, events: Sequence[Event]) -> Glance:
    epochs = [event for event in events if isinstance(event, EpochDone)]
    stages = [event for event in events if isinstance(event, StageStarted)]
    if not stages:
        return _NOTHING
    accuracies = tuple(event.accuracy for event in epochs if event.split == "val")
    if not summary.status.is_running:
        return Glance(accuracies, None)
    # Here, since it brings the recipe's schema with it, which a table of ended runs does without.
    from workbench.runs.remaining import going, planned_stages

    now = stages[-1]
    passed = [e for e in epochs if (e.stage, e.round) == (now.stage, now.round) and e.split != "test"]
    done = max((e.epoch for e in passed if e.split == "val"), default=0)
    planned = planned_stages(summary.recipe, stages, ())
    return Glance(accuracies, going(planned, now, done, _epoch_seconds(passed)))


def _epoch_seconds(passed: Sequence[EpochDone]) -> float | None:
    """How long an epoch takes with its validation: the middle of the last few."""
    seconds: dict[int, float] = {}
    for event in passed:
        seconds[event.epoch] = seconds.get(event.epoch, 0.0) + event.seconds
    return statistics.median(list(seconds.values())[-_LAST_EPOCHS:]) if seconds else None


def warnings_of(summary: RunSummary) -> tuple[str, ...]:
    """What a person should read of the run, as its results and its messages say; each once."""
    run = summary.run
    try:
        head = read_top(run.results)
    except OSError:
        head = {}
    concluded = head.get("warnings", [])
    try:
        size = run.metrics.stat().st_size
        tail = read_events(run.metrics, kinds=_TOLD) if size <= _LARGEST_BYTES else None
        records, skipped = ([], 0) if tail is None else (tail.records, tail.skipped)
        damage = [f"metrics.jsonl: {skipped:,} line{'s' * (skipped != 1)} cannot be read"] if skipped else []
    except FileNotFoundError:
        records, damage = [], []
    except OSError as error:
        records, damage = [], [problem_of(run.metrics, error)]
    said = [record.event for record in records]
    texts = [event.text for event in said if isinstance(event, Message) and event.level == "warning"]
    told = map(str, concluded) if isinstance(concluded, list) else ()
    return tuple(dict.fromkeys([*damage, *told, *texts]))
