"""Who has which device: leases, and how busy the GPUs are with this user's runs and with all else.

A lease is a kernel file lock, so that a holder that dies, however it dies, frees the device.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from workbench.jobs.device import Device, listed_device
from workbench.jobs.nvml import read_loads
from workbench.runs.layout import RunDirectory
from workbench.runs.process import read_process
from workbench.runs.waiting import jobs_home, queue_lock
from workbench.support.clean import clean
from workbench.support.locks import try_lock
from workbench.support.records import plain, read_record
from workbench.support.units import human_bytes


@dataclass(frozen=True, slots=True)
class Lease:
    """Devices that are ours until every copy of `descriptors` is closed, in this process and its children."""

    devices: tuple[Device, ...]
    """At least one."""
    descriptors: tuple[int, ...]
    """A device each; none of what a cluster has granted: there is nobody to keep that from."""

    @property
    def name(self) -> str:
        """`cuda:0`, `cuda:0, cuda:1`."""
        return ", ".join(device.name for device in self.devices)

    def rename(self, run: RunDirectory) -> None:
        """Say that another run has them now; without its name the lease holds all the same."""
        text = json.dumps(plain(Holder(str(run.path.absolute()), os.getpid()))) + "\n"
        for descriptor in self.descriptors:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, 0)  # in place, as the lock is on this very file
                os.pwrite(descriptor, text.encode(), 0)

    def release(self) -> None:
        """Let go of them here."""
        for descriptor in self.descriptors:
            with contextlib.suppress(OSError):
                os.close(descriptor)


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

    def has(self, device: Device) -> str:
        """That it has a device, in words."""
        return f"{device.name} is in use by {clean(self.run.id) or 'another petbench run'}"


def try_lease(devices: Sequence[Device], run: RunDirectory, count: int = 1) -> Lease | None:
    """Take the first `count` of `devices` that are free for `run`, or none of them: None where fewer are.

    The caller holds `queue_lock`. So nobody has some and waits for more, and no two runs wait for each other.

    Raises:
        OSError: a lease's file cannot be made; none is held then.
    """
    taken: list[tuple[Device, int]] = []
    try:
        for device in devices:
            path = _lease_file(device.key)
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = try_lock(path)
            if descriptor is None:
                continue
            taken.append((device, descriptor))
            if len(taken) == count:
                lease = Lease(tuple(one for one, _ in taken), tuple(number for _, number in taken))
                taken = []
                lease.rename(run)
                return lease
    finally:
        for _, descriptor in taken:
            os.close(descriptor)
    return None


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


def order_free(wanted: Sequence[Device]) -> tuple[list[Device], list[Device]]:
    """(those that nobody has, with the most free memory first; those that a run has, as they come).

    For runs in the foreground, which never wait. Where there is no place for leases, memory alone decides.

    Args:
        wanted: in order of preference.
    """
    if len(wanted) == 1:  # whoever has it, there is no choice
        return list(wanted), []
    try:
        with queue_lock():
            free = [device for device in wanted if is_free(device.key)]
    except OSError:
        free = list(wanted)
    left = {load.gpu.uuid: load.gpu.total_bytes - load.used_bytes for load in read_loads()}
    return sorted(free, key=lambda device: -left.get(device.key, 0)), [  # of equals the first
        device for device in wanted if device not in free
    ]


@contextlib.contextmanager
def lease_if_free(devices: Sequence[Device], run: RunDirectory) -> Iterator[dict[Device, Holder]]:
    """Have those of `devices` that are free for the duration, and yield who has the others; never waits.

    For runs in the foreground: the user who starts one has decided that it shall run now. Where there is no
    place for leases, nobody is asked.
    """
    leases: list[Lease] = []
    others: dict[Device, Holder] = {}
    with contextlib.suppress(OSError), queue_lock():
        for device in devices:
            lease = try_lease([device], run)
            holder = None if lease else holder_of(device.key)
            leases += [lease] if lease else []
            others |= {device: holder} if holder else {}
    try:
        yield others
    finally:
        for lease in leases:
            lease.release()


@dataclass(frozen=True, slots=True)
class GpuUse:
    """A GPU at this moment; `index` is the driver's, before CUDA_VISIBLE_DEVICES."""

    index: int
    name: str
    uuid: str
    utilisation: float | None
    """0 to 1; None where the card does not tell."""
    used_bytes: int
    total_bytes: int
    own_bytes: int
    """Of this user's petbench runs."""

    @property
    def other_bytes(self) -> int:
        """Of everything else, the driver's own needs among it."""
        return max(0, self.used_bytes - self.own_bytes)


def gpu_usage() -> list[GpuUse]:
    """Every GPU of this machine; nothing without an NVIDIA driver. Takes some milliseconds."""
    loads = read_loads()
    if not loads:
        return []
    own = _own_pids()
    return [
        GpuUse(
            index=load.gpu.index,
            name=load.gpu.name,
            uuid=load.gpu.uuid,
            utilisation=load.utilisation,
            used_bytes=load.used_bytes,
            total_bytes=load.gpu.total_bytes,
            own_bytes=sum(used for pid, used in load.processes if pid in own),
        )
        for load in loads
    ]


def others_on(name: str, own: Collection[int] = ()) -> str:
    """Who computes on a device, and what of its memory is free, in words; "" where nobody tells.

    Args:
        name: `cuda` or `cuda:N`, as CUDA_VISIBLE_DEVICES numbers them here.
        own: processes to leave out.
    """
    device = listed_device(name)
    load = next((load for load in read_loads() if device and load.gpu.uuid == device.key), None)
    others = [] if load is None else [(pid, used) for pid, used in load.processes if pid not in own]
    if load is None or not others:
        return ""
    free = human_bytes(max(0, load.gpu.total_bytes - load.used_bytes))
    return f"{', '.join(_told(pid, used) for pid, used in others)}; {free} are free"


def _told(pid: int, used: int) -> str:
    try:
        process = psutil.Process(pid)
        who = f"{process.username()}'s {process.name()}"
    except psutil.Error:
        who = "somebody"  # another container's, or gone
    return clean(f"{who} (pid {pid}{f', {human_bytes(used)}' if used else ''})", 120)


def _own_pids() -> frozenset[int]:
    """The trainers of runs that have a device: in the foreground the holder itself, else its child."""
    pids = {os.getpid()}
    for holder in holders().values():
        pids.add(holder.pid)
        process = read_process(holder.run)
        if process is not None:
            pids.add(process.pid)
    return frozenset(pids)


def _lease_file(key: str) -> Path:
    return jobs_home() / "leases" / f"{key}.lock"
