"""The queue: who waits for which device, whose turn it is, and in what order the others come."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from workbench.jobs.device import Device
from workbench.jobs.lease import Lease, is_free, try_lease
from workbench.runs.layout import RunDirectory
from workbench.runs.process import ProcessRecord
from workbench.runs.waiting import Waiting, queue_lock, read_waiting, write_waiting
from workbench.support.errors import UserError


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """A run that waits."""

    run_id: str
    path: Path
    position: int
    """1 for the next."""
    device: str
    """As asked for."""
    since: float
    """Seconds since the epoch."""


def queue_of(runs_home: Path | None = None) -> list[QueueEntry]:
    """The runs that wait, in order; all of this user on this machine, or those under `runs_home`.

    Positions are those in the whole queue.
    """
    living = [entry for entry in read_waiting() if entry.is_alive]
    entries = [
        QueueEntry(entry.run.id, entry.run.path, position, entry.device, entry.since)
        for position, entry in enumerate(living, 1)
    ]
    if runs_home is None:
        return entries
    home = runs_home.absolute()
    return [entry for entry in entries if entry.path.parent == home]


def join_queue(run: RunDirectory, process: ProcessRecord, device: str, wanted: Sequence[Device]) -> int:
    """Put a run at the end; returns 0 if a device is free for it now, else its place.

    Raises:
        OSError: the queue cannot be written.
    """
    with queue_lock():
        entry = _entry(run, process, device, wanted)
        ahead = [other for other in read_waiting() if other.path != entry.path and other.is_alive]
        write_waiting([*ahead, entry])
        return _place([*ahead, entry])


def take_turn(
    run: RunDirectory, process: ProcessRecord, device: str, wanted: Sequence[Device]
) -> Lease | int:
    """Take a device and leave the queue, if it is this run's turn for one; else its place in the queue.

    A device goes to the first in line that could use it, so one that came later never overtakes on it. An
    entry that was lost, with a damaged file, goes to the end again.

    Raises:
        OSError: queue or leases cannot be written.
    """
    with queue_lock():
        waiting = list(read_waiting())
        mine = _entry(run, process, device, wanted)
        place = next((at for at, entry in enumerate(waiting) if _same(entry, mine)), None)
        if place is None:
            waiting.append(mine)
            place = len(waiting) - 1
            write_waiting(waiting)
        lease = _first_free(waiting[:place], run, wanted)
        if lease is None:
            return place + 1
        try:
            write_waiting([entry for entry in waiting if not _same(entry, mine) and entry.is_alive])
        except OSError:
            lease.release()
            raise
        return lease


def leave_queue(run: RunDirectory) -> None:
    """Take a run out; others move up. Raises: OSError."""
    path = str(run.path.absolute())
    with queue_lock():
        waiting = read_waiting()
        kept = [entry for entry in waiting if entry.path != path]
        if len(kept) < len(waiting):
            write_waiting(kept)


def move_in_queue(run: RunDirectory, position: int) -> None:
    """Put a waiting run at `position`, 1 for the next; a number past the end means the end.

    Raises:
        UserError: the run does not wait, or the queue cannot be written.
    """
    if position < 1:
        raise UserError(f"no position {position}", allowed="1 (the next) and up")
    path = str(run.path.absolute())
    try:
        with queue_lock():
            living = [entry for entry in read_waiting() if entry.is_alive]
            mine = next((entry for entry in living if entry.path == path), None)
            if mine is None:
                raise UserError(
                    "it does not wait in the queue", where=run.id, hint="petbench queue lists what waits"
                )
            living.remove(mine)
            living.insert(position - 1, mine)
            write_waiting(living)
    except OSError as error:
        raise UserError(f"the queue cannot be written: {error.strerror or error}") from error


def _place(waiting: Sequence[Waiting]) -> int:
    """The last one's place once all that have a free device have started; 0 if it has one itself."""
    free = {key: is_free(key) for entry in waiting for key in entry.keys}
    left = 0
    for entry in waiting:
        device = next((key for key in entry.keys if free[key]), None)
        if device is None:
            left += 1
        else:
            free[device] = False
    return left if device is None else 0


def _first_free(ahead: Sequence[Waiting], run: RunDirectory, wanted: Sequence[Device]) -> Lease | None:
    for device in wanted:
        if any(device.key in entry.keys and entry.is_alive for entry in ahead):
            continue
        lease = try_lease(device, run)
        if lease is not None:
            return lease
    return None


def _entry(run: RunDirectory, process: ProcessRecord, device: str, wanted: Sequence[Device]) -> Waiting:
    return Waiting(
        path=str(run.path.absolute()),
        attempt=process.attempt,
        device=device,
        keys=tuple(one.key for one in wanted),
        since=time.time(),
        boot_id=process.boot_id,
        pid=process.pid,
        start_ticks=process.start_ticks,
    )


def _same(one: Waiting, other: Waiting) -> bool:
    return (one.path, one.pid, one.start_ticks) == (other.path, other.pid, other.start_ticks)
