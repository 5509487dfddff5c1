"""`run.log`: what a run said, a line at a time with the time, for people and for bug reports."""

from __future__ import annotations

import os
import traceback
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import assert_never

from workbench.runs.events import (
    ConfusionSeen,
    EpochDone,
    Event,
    Message,
    PoolTaught,
    RanksSeen,
    Resumed,
    RoundLabelled,
    StageStarted,
    StepDone,
    stage_words,
)
from workbench.runs.values import number_words
from workbench.support.clean import clean
from workbench.support.regular_file import open_regular, open_to_append
from workbench.support.units import human_speed, in_percent


class RunLog:
    """The reporter that writes `run.log`, opened for each line: a full disk or a kill costs one at most."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def event(self, event: Event) -> None:
        """Append the event in words; steps, confusions and ranks are for `metrics.jsonl` alone."""
        if not isinstance(event, StepDone | ConfusionSeen | RanksSeen):
            self.line(describe(event))

    def progress(self, task: str, done: int, total: int) -> None:
        """Note the end of each task."""
        if done == total and "epoch" not in task:
            self.line(f"{task}: {total} done")

    def line(self, text: str) -> None:
        """Append `text` with the time, cleaned."""
        self._append(f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S} {clean(text)}\n")

    def crash(self, error: BaseException) -> None:
        """Append the whole traceback, cleaned line by line."""
        lines = "".join(traceback.format_exception(error)).splitlines()
        self._append("".join(f"    {clean(line)}\n" for line in lines))

    def _append(self, text: str) -> None:
        with open(open_to_append(self._path), "a", encoding="utf-8") as stream:  # noqa: PTH123
            stream.write(text)


def describe(event: Event) -> str:
    """One line about an event."""
    stage = stage_words(event.stage, event.round) if not isinstance(event, RoundLabelled | Message) else ""
    match event:
        case Resumed():
            where = f"epoch {event.epoch} and step {event.step} are done" if event.step else "from the start"
            return f"resumed: {stage}, {where}"
        case StageStarted():
            what = f"{stage}: {event.epochs} epochs, {event.labelled} labelled"
            pseudo = f", {event.pseudo_labelled} pseudo-labelled" if event.pseudo_labelled else ""
            return f"{what}{pseudo}{', on cached features' if event.features else ''}"
        case EpochDone():
            right = event.words if event.split != "train" else in_percent(event.accuracy)
            loss = number_words("loss", event.loss)
            return f"{stage} epoch {event.epoch} {event.split}: loss {loss}, accuracy {right}"
        case RoundLabelled():
            right = f", {in_percent(event.accuracy)} right" if event.accuracy is not None else ""
            chosen = f"{event.selected} of {event.pool} pseudo-labels"
            return f"round {event.round}: {chosen}{right}, {event.flipped} flipped"
        case PoolTaught():
            right = f", {in_percent(event.accuracy)} right" if event.accuracy is not None else ""
            where = f"{stage} epoch {event.epoch}"
            return f"{where}: {in_percent(event.used)} of {event.images} pool images taught{right}"
        case RanksSeen():
            speeds = " + ".join(map(human_speed, event.images_per_second))
            return f"{stage} epoch {event.epoch}: {speeds} images/s by rank"
        case StepDone():
            return f"{stage} step {event.step}: loss {number_words('loss', event.loss)}"
        case ConfusionSeen():
            return f"{stage} epoch {event.epoch}: confusion recorded"
        case Message():
            return f"{event.level}: {event.text}"
        case _:
            assert_never(event)


_TAIL_BYTES = 2 * 2**20
_MOST_LINES = 20_000
_LONGEST_LINE = 4_000


@dataclass(frozen=True, slots=True)
class LogLines:
    """The last lines of a log, as they stand in the file: show them through `clean` only."""

    lines: tuple[str, ...]
    before_bytes: int
    """Bytes of the file before the first of these lines."""
    size: int
    """Of the file, in bytes."""


EMPTY_LOG = LogLines((), 0, 0)


class LogTail:
    """Reads the last two MiB of a log, then what is appended; at most the last 20,000 lines are kept."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log = EMPTY_LOG
        self._offset = 0
        self._rest = b""
        self._file = -1

    def refresh(self) -> LogLines:
        """The lines as they are now; the very same object as the last time when nothing has changed.

        A line that is still being written is left for later. A log that is not there has no lines; one that
        was replaced or cut off is read anew.
        """
        try:
            with open_regular(self._path) as stream:
                now = os.fstat(stream.fileno())
                if now.st_ino != self._file or now.st_size < self._offset:
                    self._start_over(now)
                if now.st_size == self._offset:
                    return self._log
                stream.seek(self._offset)
                text = stream.read(_TAIL_BYTES if now.st_size - self._offset > _TAIL_BYTES else -1)
        except OSError:
            self._log, self._offset, self._rest, self._file = EMPTY_LOG, 0, b"", -1
            return self._log
        if now.st_size - self._offset > _TAIL_BYTES:
            # More than a tail's worth since the last look: begin again at the end.
            self._start_over(now)
            return self.refresh()
        self._take(text, now.st_size)
        return self._log

    def _start_over(self, now: os.stat_result) -> None:
        """Begin at the first whole line of the tail."""
        self._file, self._rest = now.st_ino, b""
        self._offset = max(0, now.st_size - _TAIL_BYTES)
        self._log = LogLines((), self._offset, now.st_size)

    def _take(self, text: bytes, size: int) -> None:
        first = not self._log.lines and self._log.before_bytes > 0 and not self._rest
        before = self._log.before_bytes
        self._offset += len(text)
        whole, newline, rest = (self._rest + text).rpartition(b"\n")
        self._rest = rest[:_LONGEST_LINE]
        new = whole.split(b"\n") if newline else []
        if first and len(new) > 1:
            before += len(new[0]) + 1  # the tail begins within a line
            new = new[1:]
        lines = [line[:_LONGEST_LINE].decode("utf-8", "backslashreplace").rstrip("\r") for line in new]
        kept = [*self._log.lines, *lines]
        if len(kept) > _MOST_LINES:
            dropped = kept[:-_MOST_LINES]
            before += sum(len(line.encode("utf-8", "replace")) + 1 for line in dropped)
            kept = kept[-_MOST_LINES:]
        self._log = LogLines(tuple(kept), before, size)
