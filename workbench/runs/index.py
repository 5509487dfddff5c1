"""Every run of a directory in one go: from the cache where its entry still holds, else read."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from workbench.runs.layout import RunDirectory, run_directories
from workbench.runs.status import RunStatus, derive_status
from workbench.runs.summary import Awaited, RunSummary, queue_position, summarise, unasked, with_awaited
from workbench.support.clean import clean
from workbench.support.digests import SETTLED_NS
from workbench.support.records import plain, record_from
from workbench.support.regular_file import UnreadableFile, regular_size
from workbench.support.units import human_bytes

INDEX = ".index.sqlite"
_VERSION = 8  # of the cached form; a cache of another version is emptied
_TABLE = "CREATE TABLE runs (id TEXT PRIMARY KEY, stamp TEXT, summary TEXT, checksum INTEGER)"
_LARGEST_BYTES = 2**30  # ten thousand runs are 40 MB
_LOCK_SECONDS = 1.0
_STAMPED = (
    "",  # the directory itself: changes with every atomic write in it
    "recipe.toml",
    "results.toml",
    "metrics.jsonl",
    "process.json",
    "exit.json",
    "slurm.json",
    "notes.toml",
    "provenance.toml",
    "predictions",
)
_OF_THE_MOMENT = ("path", "status", "queue_position", "awaited")
_SEPARATOR = "\x1e"  # JSON text escapes control characters, so it never holds one
# What the file cannot be blamed for: then it is left as it is.
_BLAMELESS = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_INTERRUPT,
)
_PRIMARY = 0xFF  # of an extended result code
Tell = Callable[[str], None]


def unheard(_: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a run's files look like from outside."""

    text: str
    folder: str
    """The directory's part of it: one look tells whether anything was written atomically since."""
    settled: bool
    """Whether they have looked so for long enough to trust it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A cached summary as text, and the stamp of the files that it was made from."""

    stamp: str
    text: str

    @property
    def checksum(self) -> int:
        """Of both."""
        return zlib.crc32(f"{self.stamp} {self.text}".encode("utf-8", "surrogatepass"))


def stamp_of(run: RunDirectory) -> Stamp:
    """The run's files as they are now; a file that is not there has a dash."""
    parts: list[str] = []
    newest = 0
    folder = str(run.path)
    for name in _STAMPED:
        part, changed = _look(f"{folder}/{name}")
        parts.append(part)
        newest = max(newest, changed)
    return Stamp(" ".join(parts), parts[0], time.time_ns() - newest > SETTLED_NS)


def folder_stamp(run: RunDirectory) -> str:
    """The directory's part of the stamp, for a seventh of the price."""
    return _look(f"{run.path}/")[0]


def _look(path: str) -> tuple[str, int]:
    try:
        found = os.stat(path)  # noqa: PTH116 - Path.stat costs twice as much, seven times a run
    except OSError:
        return "-", 0
    return f"{found.st_ino:x}.{found.st_size:x}.{found.st_mtime_ns:x}", found.st_mtime_ns


def recall(run: RunDirectory, entry: Entry | None, stamp: Stamp | None) -> RunSummary | None:
    """The cached summary with the status of this moment; None where the entry is stale or damaged.

    Args:
        stamp: how the files look now; None takes the entry unseen.
    """
    if entry is None or (stamp is not None and entry.stamp != stamp.text):
        return None
    try:
        return _from_text(run, entry.text)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def entry_of(summary: RunSummary, stamp: Stamp) -> Entry:
    """What to keep: a JSON object, then one for each table of the recipe, a separator between them."""
    tables: dict[str, dict[str, Any]] = {}
    for key, value in summary.recipe.items():
        tables.setdefault(key.partition(".")[0] if "." in key else "", {})[key] = value
    known = plain(replace(summary, recipe={}))
    facts = json.dumps({key: value for key, value in known.items() if key not in _OF_THE_MOMENT})
    return Entry(stamp.text, _SEPARATOR.join([facts, *map(json.dumps, tables.values())]))


def _from_text(run: RunDirectory, text: str) -> RunSummary:
    facts, *tables = text.split(_SEPARATOR)
    values = json.loads(facts)
    metrics = values.pop("metrics")  # a loss may be nan, which no record has
    values |= {"path": str(run.path), "status": RunStatus.LOST.value, "recipe": {}, "metrics": {}}
    kept = record_from(values, RunSummary)
    status = derive_status(run, kept.process, kept.ended, kept.ticket)
    return replace(
        kept,
        status=status,
        recipe={key: value for table in tables for key, value in _read_table(table).items()},
        metrics=metrics,
        queue_position=queue_position(run, status),
    )


@lru_cache(maxsize=4096)
def _read_table(text: str) -> Mapping[str, Any]:
    """A table of a recipe; most runs share most of theirs, so each text is parsed once."""
    values: dict[str, Any] = json.loads(text)
    return values


def load_entries(runs_home: Path, newest: int | None = None, *, tell: Tell = unheard) -> dict[str, Entry]:
    """What is cached, by run id; of the `newest` ids only where given. Nothing without a usable cache.

    Args:
        tell: hears why there is nothing, where the cache is to blame.
    """
    path = runs_home / INDEX
    if not os.path.lexists(path):
        return {}
    try:
        with _opened(path) as database:
            if _version(database) != _VERSION:
                return {}
            _refuse_other_tables(database)
            rows = database.execute(
                "SELECT id, stamp, summary, checksum FROM runs ORDER BY id DESC LIMIT ?",
                (-1 if newest is None else newest,),
            )
            return dict(_sound(rows))
    except (sqlite3.Error, OSError, MemoryError) as error:
        _give_up(path, error, tell)
        return {}


def store_entries(
    runs_home: Path, fresh: Mapping[str, Entry], gone: Set[str], *, tell: Tell = unheard
) -> None:
    """Keep new summaries and forget runs that went; a cache that cannot be written is left as it is.

    Args:
        tell: hears why it could not be kept.
    """
    if not fresh and not gone:
        return
    path = runs_home / INDEX
    with contextlib.suppress(OSError):  # sqlite's own mode knows no umask: colleagues share the directory
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666))
    try:
        with _opened(path) as database:
            database.execute("BEGIN IMMEDIATE")
            if _version(database) != _VERSION:
                database.execute("DROP TABLE IF EXISTS runs")
                database.execute(_TABLE)
                database.execute(f"PRAGMA user_version = {_VERSION}")
            _refuse_other_tables(database)
            database.executemany("DELETE FROM runs WHERE id = ?", [(id_,) for id_ in gone])
            database.executemany(
                "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?)",
                [(id_, entry.stamp, entry.text, entry.checksum) for id_, entry in fresh.items()],
            )
            database.execute("COMMIT")
    except (sqlite3.Error, OSError, MemoryError, UnicodeEncodeError) as error:
        _give_up(path, error, tell)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection without Python's implicit transactions; closing it rolls back what was not committed.

    Raises:
        UnreadableFile: the file is something else, on which SQLite might wait for ever.
    """
    for beside in ("", "-journal", "-wal", "-shm"):
        # By its name: to open and close it here would end the locks that another thread's SQLite holds on it.
        with contextlib.suppress(FileNotFoundError):
            size = regular_size(path.with_name(path.name + beside))
            if size > _LARGEST_BYTES:
                raise sqlite3.DatabaseError(f"{human_bytes(size)} large")
    database = sqlite3.connect(path, timeout=_LOCK_SECONDS, isolation_level=None)
    try:
        yield database
    finally:
        database.close()


def _version(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def _refuse_other_tables(database: sqlite3.Connection) -> None:
    """A view or a trigger of the right name would do as its maker pleases. Raises: sqlite3.DatabaseError."""
    made = database.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL LIMIT 2").fetchall()
    if made != [(_TABLE,)]:
        raise sqlite3.DatabaseError("it has other tables")


def _sound(rows: Iterable[tuple[object, ...]]) -> Iterator[tuple[str, Entry]]:
    """The entries that are as they were written."""
    for id_, stamp, text, checksum in rows:
        if isinstance(id_, str) and isinstance(stamp, str) and isinstance(text, str):
            entry = Entry(stamp, text)
            if entry.checksum == checksum:
                yield id_, entry


def _give_up(path: Path, error: Exception, tell: Tell) -> None:
    """Clear a damaged cache away, to be made anew; others keep the file they have open."""
    code = getattr(error, "sqlite_errorcode", None)
    if isinstance(error, UnreadableFile):
        tell(f"{INDEX} is {error.reason}: the runs are read without it")
    elif isinstance(error, sqlite3.DatabaseError) and (code is None or code & _PRIMARY not in _BLAMELESS):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        tell(f"{INDEX} was damaged ({clean(error, 80)}) and is made anew")
    else:
        tell(f"{INDEX} cannot be used just now ({clean(error, 80)}): the runs are read without it")


__all__ = ["INDEX", "list_runs"]


def list_runs(runs_home: Path, *, tell: Tell = unheard, awaited: Awaited = unasked) -> list[RunSummary]:
    """A summary of every run under `runs_home`, newest first.

    Args:
        tell: hears, in a line, why the cache of summaries was of no use.
        awaited: what Slurm says of a job that it keeps waiting.

    Raises:
        UserError: when `runs_home` is a file or cannot be read.
    """
    runs = run_directories(runs_home)
    told: list[str] = []
    cached = load_entries(runs_home, tell=told.append)
    summaries: list[RunSummary] = []
    fresh: dict[str, Entry] = {}
    for run in runs:
        stamp = stamp_of(run)
        summary = recall(run, cached.get(run.id), stamp)
        if summary is None:
            try:
                summary = summarise(run)
            except FileNotFoundError:
                continue  # removed since the directory was read
            if stamp.settled:
                fresh[run.id] = entry_of(summary, stamp)
        summaries.append(with_awaited(summary, awaited))
    store_entries(runs_home, fresh, cached.keys() - {run.id for run in runs}, tell=told.append)
    for line in dict.fromkeys(told):
        tell(line)
    return summaries
