"""`metrics.jsonl`: a run's events, one a line, appended by the trainer and read by anyone at any time."""

from __future__ import annotations

import json
import math
import os
import re
import time
from collections.abc import Collection
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, get_args

from workbench.runs.events import Event, Reporter
from workbench.support.validate import validated

_LINE_START = re.compile(rb'\{"t":[^,"]*,"kind":"(\w+)"')
_KINDS: dict[str, type[Event]] = {event_type.kind: event_type for event_type in get_args(Event)}


class MetricsWriter:
    """The reporter that keeps the record: each event becomes a line of `path` at once.

    A line is one `write` on a descriptor opened with O_APPEND, so a reader sees whole lines and a kill
    leaves at most one torn line, which the next writer closes off. Numbers that JSON lacks are the strings
    "nan", "inf" and "-inf", which `float` reads back.

    Raises:
        OSError: when the disk is full; the file stays readable.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._torn = not _ends_with_newline(self._file)

    def event(self, event: Event) -> None:
        """Append `event` with the time."""
        record: dict[str, Any] = {"t": round(time.time(), 3), "kind": event.kind}
        for field in fields(event):
            record[field.name] = _json_value(getattr(event, field.name))
        line = json.dumps(record, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        self._append(b"\n" + line if self._torn else line)

    def progress(self, task: str, done: int, total: int) -> None:
        """Not recorded."""

    def close(self) -> None:
        """Release the file."""
        os.close(self._file)

    def __enter__(self) -> MetricsWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _append(self, line: bytes) -> None:
        self._torn = True
        while line:
            line = line[os.write(self._file, line) :]
        self._torn = False


class Tee:
    """A reporter that passes everything on to several, in order."""

    def __init__(self, *reporters: Reporter) -> None:
        self._reporters = reporters

    def event(self, event: Event) -> None:
        """Pass on."""
        for reporter in self._reporters:
            reporter.event(event)

    def progress(self, task: str, done: int, total: int) -> None:
        """Pass on."""
        for reporter in self._reporters:
            reporter.progress(task, done, total)


@dataclass(frozen=True, slots=True)
class Record:
    """An event and when it happened, in seconds since the epoch."""

    time: float
    event: Event


@dataclass(frozen=True, slots=True)
class Tail:
    """What a file held from an offset to its last newline."""

    records: list[Record]
    offset: int
    """Where to read on from."""
    skipped: int
    """Lines that are no event: torn by a kill, or of a kind that this version does not know."""


def read_events(
    path: Path, offset: int = 0, *, kinds: Collection[str] | None = None, limit: int | None = None
) -> Tail:
    """Read the events from byte `offset` to the last newline; a file that is not there has none.

    Args:
        kinds: read only events of these kinds; others are passed over without a look, and not counted.
        limit: stop after about so many bytes, but not before the end of a line.
    """
    try:
        with path.open("rb") as stream:
            stream.seek(offset)
            text = stream.read(-1 if limit is None else limit)
            while limit is not None and b"\n" not in text and (more := stream.read(limit)):
                text += more
    except FileNotFoundError:
        return Tail([], offset, 0)
    end = text.rfind(b"\n") + 1
    records: list[Record] = []
    skipped = 0
    for line in text[:end].splitlines():
        if not line or _is_unwanted(line, kinds):
            continue
        record = _parse(line)
        if record is None:
            skipped += 1
        elif kinds is None or record.event.kind in kinds:
            records.append(record)
    return Tail(records, offset + end, skipped)


def _is_unwanted(line: bytes, kinds: Collection[str] | None) -> bool:
    """Whether the line says up front that it is of another kind: spares parsing it."""
    start = _LINE_START.match(line) if kinds is not None else None
    return start is not None and kinds is not None and start[1].decode() not in kinds


def _parse(line: bytes) -> Record | None:
    try:
        values = json.loads(line)
        kind = _KINDS.get(values["kind"])
        return Record(float(values["t"]), validated(kind, values)) if kind is not None else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _json_value(value: object) -> object:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _ends_with_newline(file: int) -> bool:
    size = os.fstat(file).st_size
    return size == 0 or os.pread(file, 1, size - 1) == b"\n"
