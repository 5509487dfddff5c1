"""Stages and epochs of a run that grows: every byte of `metrics.jsonl` is looked at once."""

from __future__ import annotations

from pathlib import Path

from workbench.runs.events import EpochDone, Event, StageStarted
from workbench.runs.metrics import read_events
from workbench.runs.timeline import timeline
from workbench.support.regular_file import regular_size

_KINDS = (StageStarted.kind, EpochDone.kind)


class EpochReader:
    """Keeps what it has read of one file; asked again, it reads on from there."""

    def __init__(self) -> None:
        self._offset = 0
        self._events: list[Event] = []
        self._told: list[Event] = []

    def read(self, path: Path) -> list[Event]:
        """The `timeline` of the stages and epochs so far; a file that is not there has none.

        Raises:
            UnreadableFile: the file is there and cannot be read.
        """
        try:
            size = regular_size(path)
        except FileNotFoundError:
            size = 0
        if size < self._offset:  # another file in its place
            self._offset, self._events, self._told = 0, [], []
        if size > self._offset:
            tail = read_events(path, self._offset, kinds=_KINDS)
            self._offset = tail.offset
            if tail.records:
                self._events += [record.event for record in tail.records]
                self._told = timeline(self._events)
        return self._told
