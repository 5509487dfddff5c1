"""The queue's file: which runs of this user wait for a device of this machine, in order."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from workbench.runs.layout import RunDirectory
from workbench.support.atomic import atomic_write
from workbench.support.clean import slug
from workbench.support.identity import ProcessId, is_running
from workbench.support.locks import locked
from workbench.support.paths import state_home
from workbench.support.records import plain, record_from
from workbench.support.regular_file import read_json

_LIMIT_BYTES = 4 * 2**20
"""Ten thousand runs that wait."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A run that waits, and the supervisor that waits for it."""

    path: str
    """The run's directory, absolute."""
    attempt: int
    device: str
    """As asked for: `auto`, `cpu`, `cuda`, `cuda:N`."""
    keys: tuple[str, ...]
    """The devices that would do, by their leases' names, in order of preference."""
    since: float
    """Seconds since the epoch."""
    boot_id: str
    pid: int
    start_ticks: int
    count: int = 1
    """How many of these devices it takes at once."""

    @property
    def run(self) -> RunDirectory:
        """The run."""
        return RunDirectory(Path(self.path))

    @property
    def is_alive(self) -> bool:
        """Whether its supervisor still waits; of one that died the place is free."""
        return is_running(ProcessId(self.boot_id, self.pid, self.start_ticks))


def jobs_home() -> Path:
    """Queue and leases of this user on this machine; a home directory may be shared by several machines."""
    return state_home() / "jobs" / slug(socket.gethostname())


@contextlib.contextmanager
def queue_lock() -> Iterator[None]:
    """Hold the queue and all leases still, for a moment. Raises: OSError, where there is no place for it."""
    home = jobs_home()
    home.mkdir(parents=True, exist_ok=True)
    with locked(home / "queue.lock"):
        yield


def read_waiting() -> tuple[Waiting, ...]:
    """Who waits, first in line first; supervisors that died may be among them. Nobody if it is damaged."""
    path = jobs_home() / "queue.json"
    try:
        found = path.stat()
    except OSError:
        return ()
    return _parsed(path, found.st_ino, found.st_size, found.st_mtime_ns)


def write_waiting(waiting: Sequence[Waiting]) -> None:
    """Replace the queue; the caller holds `queue_lock`. Raises: OSError."""
    lines = ",\n".join(json.dumps(plain(entry)) for entry in waiting)
    atomic_write(jobs_home() / "queue.json", f"[\n{lines}\n]\n")


def position_of(run: RunDirectory) -> int | None:
    """The place of `run` in the queue, 1 for the next; None where it does not wait."""
    path = str(run.path.absolute())
    return next((place for place, entry in enumerate(read_waiting(), 1) if entry.path == path), None)


@lru_cache(maxsize=2)
def _parsed(path: Path, _inode: int, _size: int, _mtime_ns: int) -> tuple[Waiting, ...]:
    try:
        rows = read_json(path, _LIMIT_BYTES)
        return tuple(record_from(row, Waiting) for row in rows if isinstance(rows, list))
    except (OSError, ValueError, TypeError):
        return ()
