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
    count: int = 1
    """How many devices it takes at once."""

    @property
    def words(self) -> str:
        """What it waits for: `auto`, `2 of cuda`."""
        return self.device if self.count == 1 else f"{self.count} of {self.device}"


def queue_of(runs_home: Path | None = None) -> list[QueueEntry]:
    """The runs that wait, in order; all of this user on this machine, or those under `runs_home`.

    Positions are those in the whole queue.
    """
    living = [entry for entry in read_waiting() if entry.is_alive]
    entries = [
        QueueEntry(entry.run.id, entry.run.path, position, entry.device, entry.since, entry.count)
        for position, entry in enumerate(living, 1)
    ]
    if runs_home is None:
        return entries
    home = runs_home.absolute()
    return [entry for entry in entries if entry.path.parent == home]


def join_queue(
    run: RunDirectory, process: ProcessRecord, device: str, wanted: Sequence[Device], count: int = 1
) -> int:
    """Put a run at the end; returns 0 if `count` of the devices are free for it now, else its place.

    Raises:
        OSError: the queue cannot be written.
    """
    with queue_lock():
        entry = _entry(run, process, device, wanted, count)
        ahead = [other for other in read_waiting() if other.path != entry.path and other.is_alive]
        write_waiting([*ahead, entry])
        return _place([*ahead, entry])


def take_turn(
    run: RunDirectory, process: ProcessRecord, device: str, wanted: Sequence[Device], count: int = 1
) -> Lease | int:
    """Take `count` devices and leave the queue, if it is this run's turn for them; else its place there.

    A device goes to the first in line that could use it, so one that came later never overtakes on it: nor
    while the first waits for a second device. An entry that was lost, with a damaged file, goes to the end
    again.

    Raises:
        OSError: queue or leases cannot be written.
    """
    with queue_lock():
        waiting = list(read_waiting())
        mine = _entry(run, process, device, wanted, count)
        place = next((at for at, entry in enumerate(waiting) if _same(entry, mine)), None)
        if place is None:
            waiting.append(mine)
            place = len(waiting) - 1
            write_waiting(waiting)
        ahead = {key for entry in waiting[:place] if entry.is_alive for key in entry.keys}
        lease = try_lease([one for one in wanted if one.key not in ahead], run, count)
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
    left, waits = 0, False
    for entry in waiting:
        found = [key for key in entry.keys if free[key]]
        waits = len(found) < entry.count
        left += waits
        # One that waits keeps the devices that it could use from all that come later.
        free |= dict.fromkeys(entry.keys if waits else found[: entry.count], False)
    return left if waits else 0


def _entry(
    run: RunDirectory, process: ProcessRecord, device: str, wanted: Sequence[Device], count: int
) -> Waiting:
    return Waiting(
        path=str(run.path.absolute()),
        attempt=process.attempt,
        device=device,
        keys=tuple(one.key for one in wanted),
        since=time.time(),
        boot_id=process.boot_id,
        pid=process.pid,
        start_ticks=process.start_ticks,
        count=count,
    )


def _same(one: Waiting, other: Waiting) -> bool:
    return (one.path, one.pid, one.start_ticks) == (other.path, other.pid, other.start_ticks)
