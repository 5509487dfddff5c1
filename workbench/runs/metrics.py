"""`metrics.jsonl`: a run's events, one a line, appended by the trainer and read by anyone at any time."""

from __future__ import annotations

import json
import math
import os
import re
import time
import zlib
from collections.abc import Collection
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, get_args

from workbench.runs.events import Event, Reporter
from workbench.support.records import validated
from workbench.support.regular_file import UnreadableFile, open_regular, open_to_append, parse_json
from workbench.support.units import human_bytes

LARGEST_BYTES = 4 * 2**30
"""Of a thousand classes an epoch takes 2 MB."""
_LONGEST_LINE = 64 * 2**20
"""Of a confusion of five thousand classes."""
_HEAD_BYTES = 96
"""By which a file is known again."""
_MOST_EPOCHS = 2**24
_END_OF_TIME = 2.0**35  # in seconds since 1970
_LINE_START = re.compile(rb'\{"t":[^,"]*,"kind":"(\w+)"')
_SEAL = re.compile(rb',"crc32":"([0-9a-f]{8})"\}$')
_KINDS: dict[str, type[Event]] = {event_type.kind: event_type for event_type in get_args(Event)}


class MetricsWriter:
    """The reporter that keeps the record: each event becomes a line of `path` at once.

    A line is one `write` on a descriptor opened with O_APPEND, so a reader sees whole lines and a kill
    leaves at most one torn line, which the next writer closes off. Numbers that JSON lacks are the strings
    "nan", "inf" and "-inf", which `float` reads back.

    Raises:
        OSError: when the disk is full; the file stays readable. Or it is a link or no regular file.
    """

    def __init__(self, path: Path) -> None:
        self._file = open_to_append(path)
        self._torn = not _ends_with_newline(self._file)

    def event(self, event: Event) -> None:
        """Append `event` with the time."""
        record: dict[str, Any] = {"t": round(time.time(), 3), "kind": event.kind}
        for field in fields(event):
            record[field.name] = _json_value(getattr(event, field.name))
        line = _sealed(json.dumps(record, separators=(",", ":"), allow_nan=False).encode())
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


@dataclass(slots=True)
class Tail:
    """What a file held from an offset to its last newline."""

    records: list[Record]
    offset: int
    """Where to read on from."""
    skipped: int
    """Lines that are no event: torn by a kill, or of a kind that this version does not know."""

    def take(self, line: bytes, kinds: Collection[str] | None) -> None:
        """Add the event of a line, if it is of one of these kinds."""
        line = line.strip()
        if not line or _is_unwanted(line, kinds):
            return
        record = _parse(line)
        if record is None:
            self.skipped += 1
        elif kinds is None or record.event.kind in kinds:
            self.records.append(record)


def read_events(
    path: Path, offset: int = 0, *, kinds: Collection[str] | None = None, limit: int | None = None
) -> Tail:
    """Read the events from byte `offset` to the last newline; a file that is not there has none.

    Args:
        kinds: read only events of these kinds; others are passed over without a look, and not counted.
        limit: stop after about so many bytes, but not before the end of a line.

    Raises:
        UnreadableFile: no regular file, larger than any record of a run, or it cannot be read.
    """
    tail = Tail([], offset, 0)
    try:
        with open_regular(path) as stream:
            size = os.fstat(stream.fileno()).st_size
            if size > LARGEST_BYTES:
                raise UnreadableFile(
                    path, f"{human_bytes(size)}, and at most {human_bytes(LARGEST_BYTES)} are read"
                )
            stream.seek(offset)
            while limit is None or tail.offset - offset < limit:
                line = stream.readline(_LONGEST_LINE)
                length = len(line)
                if length == _LONGEST_LINE and not line.endswith(b"\n"):
                    line, length = b"\n", length + _rest_of_line(stream)
                    tail.skipped += 1
                if not line.endswith(b"\n"):
                    break  # the end, or still being written
                tail.offset += length
                tail.take(line, kinds)
    except FileNotFoundError:
        return tail
    except UnreadableFile:
        raise
    except OSError as error:
        raise UnreadableFile(path, f"cannot be read: {error.strerror or error}") from error
    return tail


@dataclass(frozen=True, slots=True)
class News:
    """What a reader that reads on has found."""

    records: list[Record]
    anew: bool
    """Whether it is of another file in the place of the one before: what that one told is void."""
    moved: bool
    """Whether any of the file was read."""
    skipped: int
    """Of all that was read of this file, the lines that are no event."""
    share: float
    """How much of the file has been read; a last line that is still being written counts as read."""


class MetricsReader:
    """Reads one file on: a look costs what is new in it. One that was replaced or cut off is read anew.

    Args:
        kinds: as `read_events`.
        at_once: bytes of a look, about; None: all there are.
    """

    def __init__(
        self, path: Path, *, kinds: Collection[str] | None = None, at_once: int | None = None
    ) -> None:
        self._path, self._kinds, self._at_once = path, kinds, at_once
        self._offset = self._size = self._skipped = 0
        self._identity: tuple[int, bytes] | None = None

    def read(self) -> News:
        """What has come since the last look.

        Raises:
            UnreadableFile: the file is there and cannot be read.
        """
        anew = self._look()
        if self._size == self._offset:
            return News([], anew, False, self._skipped, 1.0)
        tail = read_events(self._path, self._offset, kinds=self._kinds, limit=self._at_once)
        moved = tail.offset != self._offset
        self._offset = tail.offset
        self._skipped += tail.skipped
        left = self._size - self._offset
        whole = left < (self._at_once or left + 1)
        return News(tail.records, anew, moved, self._skipped, 1.0 if whole else self._offset / self._size)

    def _look(self) -> bool:
        """See how long the file is; whether it is another than the one that was read."""
        try:
            with open_regular(self._path) as stream:
                now = os.fstat(stream.fileno())
                head = stream.read(_HEAD_BYTES)
        except FileNotFoundError:
            return self._start_over(None, 0)
        # The same file has the same number and still begins as it did.
        old = self._identity
        if old is None or old[0] != now.st_ino or not head.startswith(old[1]) or now.st_size < self._offset:
            return self._start_over((now.st_ino, head), now.st_size)
        self._identity, self._size = (now.st_ino, head), now.st_size
        return False

    def _start_over(self, identity: tuple[int, bytes] | None, size: int) -> bool:
        """Forget what was read of another file; whether there was any."""
        had = self._offset > 0
        self._offset, self._size, self._identity, self._skipped = 0, size, identity, 0
        return had


def _rest_of_line(stream: BinaryIO) -> int:
    """Pass over the rest of a line that is too long to be an event; how many bytes that was."""
    passed = 0
    while part := stream.readline(_LONGEST_LINE):
        passed += len(part)
        if part.endswith(b"\n"):
            break
    return passed


def _is_unwanted(line: bytes, kinds: Collection[str] | None) -> bool:
    """Whether the line says up front that it is of another kind: spares parsing it."""
    start = _LINE_START.match(line) if kinds is not None else None
    return start is not None and kinds is not None and start[1].decode() not in kinds


def _parse(line: bytes) -> Record | None:
    """The event of a line; None where it is none, or holds what training cannot have measured."""
    try:
        seal = _SEAL.search(line)
        if seal is not None and int(seal[1], 16) != zlib.crc32(line[: seal.start()]):
            return None
        values = parse_json(line)
        kind = _KINDS.get(values["kind"])
        if kind is None or not all(_is_possible(key, value) for key, value in values.items()):
            return None
        return Record(float(values["t"]), validated(kind, values))
    except (ValueError, TypeError, KeyError, OverflowError):
        return None


def _is_possible(key: str, value: object) -> bool:
    """Whether a number can be what its name says; a loss, a rate or a threshold may be any.

    A reader counts and divides by these numbers, and makes places on an axis of them.
    """
    if key in ("accuracy", "pool_accuracy"):  # which may be a last bit above 1
        return value is None or (isinstance(value, int | float) and 0 <= value <= 1.001)
    if key in ("epoch", "epochs", "round"):
        return isinstance(value, int) and 0 <= value < _MOST_EPOCHS
    if key in ("t", "seconds"):
        return isinstance(value, int | float) and 0 <= value < _END_OF_TIME
    return not isinstance(value, int) or 0 <= value < 2**53


def _sealed(line: bytes) -> bytes:
    """A JSON object as a line that ends with the CRC-32 of all before it: a changed digit is no event."""
    body = line[:-1]
    return body + b',"crc32":"%08x"}\n' % zlib.crc32(body)


def _json_value(value: object) -> object:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _ends_with_newline(file: int) -> bool:
    size = os.fstat(file).st_size
    return size == 0 or os.pread(file, 1, size - 1) == b"\n"
