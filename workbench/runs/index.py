"""`runs/.index.sqlite`: a cache of summaries, so that listing thousands of runs does not read them all again.

The directories are the truth. An entry counts only while the sizes and times of the run's files are those
it was made from; the cache is made anew where it is missing or damaged, and done without where it cannot be
opened.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from workbench.runs.layout import RunDirectory, run_directories
from workbench.runs.process import ExitRecord, ProcessRecord
from workbench.runs.status import derive_status
from workbench.runs.summary import Progress, RunSummary, summarise

INDEX = ".index.sqlite"
_VERSION = 1  # of the cached form; a cache of another version is emptied
_LOCK_SECONDS = 5.0
# File times may be as coarse as this (ext3, some network file systems), so a file changed a moment ago may
# change again unseen: such runs are not cached yet.
_SETTLED_NS = 2_000_000_000
_STAMPED = (
    "",  # the directory itself: changes with every atomic write in it
    "recipe.toml",
    "results.toml",
    "metrics.jsonl",
    "process.json",
    "exit.json",
    "notes.toml",
)
_SEPARATOR = "\x1e"  # JSON text escapes control characters, so it never holds one
_CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def list_runs(runs_home: Path) -> list[RunSummary]:
    """A summary of every run under `runs_home`, newest first.

    Raises:
        UserError: when `runs_home` is a file or cannot be read.
    """
    runs = run_directories(runs_home)
    cached = _load(runs_home / INDEX)
    summaries: list[RunSummary] = []
    fresh: dict[str, tuple[str, str]] = {}
    for run in runs:
        stamp, settled = _stamp(run)
        summary = _recall(run, stamp, cached.get(run.id))
        if summary is None:
            try:
                summary = summarise(run)
            except FileNotFoundError:
                continue  # removed since the directory was read
            if settled:
                fresh[run.id] = (stamp, _to_text(summary))
        summaries.append(summary)
    gone = cached.keys() - {run.id for run in runs}
    if fresh or gone:
        _store(runs_home / INDEX, fresh, gone)
    return summaries


def _stamp(run: RunDirectory) -> tuple[str, bool]:
    """What the run's files look like from outside, and whether they have for long enough to trust it."""
    parts: list[str] = []
    newest = 0
    folder = str(run.path)
    for name in _STAMPED:
        try:
            found = os.stat(f"{folder}/{name}")  # noqa: PTH116 - Path.stat costs twice as much, seven times a run
        except OSError:
            parts.append("-")
            continue
        parts.append(f"{found.st_ino:x}.{found.st_size:x}.{found.st_mtime_ns:x}")
        newest = max(newest, found.st_mtime_ns)
    return " ".join(parts), time.time_ns() - newest > _SETTLED_NS


def _recall(run: RunDirectory, stamp: str, entry: tuple[str, str] | None) -> RunSummary | None:
    """The cached summary with the status of this moment; None where the entry is stale or damaged."""
    if entry is None or entry[0] != stamp:
        return None
    try:
        return _from_text(run, entry[1])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _to_text(summary: RunSummary) -> str:
    """A JSON object, then one for each table of the recipe, a separator between them."""
    tables: dict[str, dict[str, Any]] = {}
    for key, value in summary.recipe.items():
        tables.setdefault(key.partition(".")[0] if "." in key else "", {})[key] = value
    facts = json.dumps(
        {
            "name": summary.name,
            "created": summary.created.isoformat(),
            "tags": summary.tags,
            "note": summary.note,
            "archived": summary.archived,
            "metrics": dict(summary.metrics),
            "progress": summary.progress and asdict(summary.progress),
            "process": summary.process and asdict(summary.process),
            "ended": summary.ended and asdict(summary.ended),
            "problem": summary.problem,
        }
    )
    return _SEPARATOR.join([facts, *map(json.dumps, tables.values())])


def _from_text(run: RunDirectory, text: str) -> RunSummary:
    facts, *tables = text.split(_SEPARATOR)
    values = json.loads(facts)
    process = ProcessRecord(**values["process"]) if values["process"] else None
    ended = ExitRecord(**values["ended"]) if values["ended"] else None
    return RunSummary(
        path=run.path,
        status=derive_status(run, process, ended),
        name=values["name"],
        created=datetime.fromisoformat(values["created"]),
        tags=tuple(values["tags"]),
        note=values["note"],
        archived=values["archived"],
        recipe={key: value for table in tables for key, value in _read_table(table).items()},
        metrics=values["metrics"],
        progress=Progress(**values["progress"]) if values["progress"] else None,
        process=process,
        ended=ended,
        problem=values["problem"],
    )


@lru_cache(maxsize=4096)
def _read_table(text: str) -> Mapping[str, Any]:
    """A table of a recipe; most runs share most of theirs, so each text is parsed once."""
    values: dict[str, Any] = json.loads(text)
    return values


def _load(path: Path) -> dict[str, tuple[str, str]]:
    """(stamp, summary) by run id; nothing where there is no usable cache."""
    if not path.is_file():
        return {}
    try:
        with _opened(path) as database:
            if _version(database) != _VERSION:
                return {}
            rows = database.execute("SELECT id, stamp, summary FROM runs")
            return {str(id_): (str(stamp), str(summary)) for id_, stamp, summary in rows}
    except sqlite3.Error as error:
        _remove_if_corrupt(path, error)
        return {}


def _store(path: Path, fresh: Mapping[str, tuple[str, str]], gone: set[str]) -> None:
    """Keep new summaries and forget runs that went; a cache that cannot be written is left as it is."""
    try:
        with _opened(path) as database:
            database.execute("BEGIN IMMEDIATE")
            if _version(database) != _VERSION:
                database.execute("DROP TABLE IF EXISTS runs")
                database.execute("CREATE TABLE runs (id TEXT PRIMARY KEY, stamp TEXT, summary TEXT)")
                database.execute(f"PRAGMA user_version = {_VERSION}")
            database.executemany("DELETE FROM runs WHERE id = ?", [(id_,) for id_ in gone])
            database.executemany(
                "INSERT OR REPLACE INTO runs VALUES (?, ?, ?)",
                [(id_, stamp, summary) for id_, (stamp, summary) in fresh.items()],
            )
            database.execute("COMMIT")
    except (sqlite3.Error, UnicodeEncodeError) as error:
        _remove_if_corrupt(path, error)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection without Python's implicit transactions; closing it rolls back what was not committed."""
    database = sqlite3.connect(path, timeout=_LOCK_SECONDS, isolation_level=None)
    try:
        yield database
    finally:
        database.close()


def _version(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def _remove_if_corrupt(path: Path, error: Exception) -> None:
    """Clear a damaged cache away for the next listing to make anew; others keep the file they have open."""
    code = getattr(error, "sqlite_errorcode", None)
    if code in _CORRUPT:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
