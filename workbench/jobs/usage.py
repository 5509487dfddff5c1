"""How busy the GPUs are: with this user's petbench runs, and with all else."""

from __future__ import annotations

import os
from dataclasses import dataclass

from workbench.jobs.lease import holders
from workbench.jobs.nvml import read_loads
from workbench.runs.process import read_process


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


def _own_pids() -> frozenset[int]:
    """The trainers of runs that have a device: in the foreground the holder itself, else its child."""
    pids = {os.getpid()}
    for holder in holders().values():
        pids.add(holder.pid)
        process = read_process(holder.run)
        if process is not None:
            pids.add(process.pid)
    return frozenset(pids)
