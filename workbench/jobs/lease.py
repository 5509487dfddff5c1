"""A device's lease: a kernel file lock, so that a holder that dies, however it dies, frees the device."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from workbench.jobs.device import Device
from workbench.runs.layout import RunDirectory
from workbench.runs.waiting import jobs_home, queue_lock
from workbench.support.locks import try_lock
from workbench.support.records import read_record


@dataclass(frozen=True, slots=True)
class Lease:
    """A device that is ours until every copy of `descriptor` is closed, in this process and its children."""

    device: Device
    descriptor: int

    def release(self) -> None:
        """Let go of it here."""
        with contextlib.suppress(OSError):
            os.close(self.descriptor)


@dataclass(frozen=True, slots=True)
class Holder:
    """Who says to have a device."""

    path: str
    """The run's directory."""
    pid: int

    @property
    def run(self) -> RunDirectory:
        """The run."""
        return RunDirectory(Path(self.path))


def try_lease(device: Device, run: RunDirectory) -> Lease | None:
    """Take `device` for `run`; None where another run has it. The caller holds `queue_lock`.

    Raises:
        OSError: the lease's file cannot be made.
    """
    path = _lease_file(device.key)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = try_lock(path)
    if descriptor is None:
        return None
    # In place, as the lock is on this very file; without the holder's name the lease holds all the same.
    with contextlib.suppress(OSError):
        text = json.dumps(asdict(Holder(str(run.path.absolute()), os.getpid()))) + "\n"
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(), 0)
    return Lease(device, descriptor)


def holder_of(key: str) -> Holder | None:
    """Who has the device with this key; None where it is free. The caller holds `queue_lock`."""
    path = _lease_file(key)
    if not path.exists():
        return None
    descriptor = try_lock(path)
    if descriptor is not None:
        os.close(descriptor)
        return None
    return read_record(path, Holder) or Holder("", 0)


def is_free(key: str) -> bool:
    """Whether nobody has the device. The caller holds `queue_lock`."""
    return holder_of(key) is None


def holders() -> dict[str, Holder]:
    """Device key -> the run that has it, of every device in use."""
    folder = jobs_home() / "leases"
    try:
        with queue_lock():
            found = {path.stem: holder_of(path.stem) for path in sorted(folder.glob("*.lock"))}
    except OSError:
        return {}
    return {key: holder for key, holder in found.items() if holder is not None}


@contextlib.contextmanager
def lease_if_free(device: Device, run: RunDirectory) -> Iterator[Holder | None]:
    """Have `device` for the duration if it is free, else yield who has it; never waits.

    For runs in the foreground: the user who starts one has decided that it shall run now. Where there is no
    place for leases, nobody is asked.
    """
    lease: Lease | None = None
    holder: Holder | None = None
    try:
        with queue_lock():
            lease = try_lease(device, run)
            holder = None if lease else holder_of(device.key)
    except OSError:
        pass
    try:
        yield holder
    finally:
        if lease is not None:
            lease.release()


def _lease_file(key: str) -> Path:
    return jobs_home() / "leases" / f"{key}.lock"
