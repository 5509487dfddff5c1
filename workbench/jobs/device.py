"""What a run can compute on here, and the lease that each device has."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from workbench.jobs.nvml import read_gpus
from workbench.jobs.visible import visible_gpus, visible_without_driver
from workbench.support.errors import UserError
from workbench.support.units import human_bytes

_NODES = Path("/dev")
_TORCH_CUDA = re.compile(r"^cuda\s*(?::[^=]*)?=\s*(['\"].+['\"])", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Device:
    """A device that one background run at a time has."""

    name: str
    """`cuda:0`, `cuda:1` … as CUDA_VISIBLE_DEVICES numbers them, or `cpu`."""
    label: str
    """What it is, for people."""
    key: str
    """Its lease's name, the same whatever CUDA_VISIBLE_DEVICES says: `cpu`, a GPU's UUID."""
    visible: str
    """The CUDA_VISIBLE_DEVICES that leaves only this one; empty for the CPU."""
    total_bytes: int = 0
    """Its own memory; 0 for the CPU, and where no driver tells."""


def devices(environment: Mapping[str, str] | None = None) -> list[Device]:
    """The GPUs that CUDA_VISIBLE_DEVICES leaves and torch can use, then the CPU."""
    return [*_gpus(os.environ if environment is None else environment), _CPU]


def wanted_devices(name: str, environment: Mapping[str, str] | None = None) -> list[Device]:
    """The devices that `--device NAME` may mean, in order of preference.

    `auto`: any GPU, or the CPU where there is none. `cuda`: any GPU. `cuda:N` and `cpu`: that one.

    Raises:
        UserError: there is none.
    """
    everything = devices(environment)
    gpus = everything[:-1]
    if name == "auto":
        return gpus or [_CPU]
    if name == "cuda" and gpus:
        return gpus
    chosen = [device for device in everything if device.name == name]
    if not chosen:
        raise UserError(
            f"no device {name!r} here",
            where="--device",
            allowed=["auto", *(["cuda"] if gpus else []), *(device.name for device in everything)],
            hint="petbench doctor tells what this machine has",
        )
    return chosen


_CPU = Device(name="cpu", label="CPU", key="cpu", visible="")


def _gpus(environment: Mapping[str, str]) -> list[Device]:
    if not torch_has_cuda():
        return []
    variable = environment.get("CUDA_VISIBLE_DEVICES")
    gpus = read_gpus()
    if gpus is None:
        entries = visible_without_driver(_count_nodes(), variable) if _count_nodes() else []
        return [
            Device(f"cuda:{index}", f"GPU {entry}", _key(entry), entry) for index, entry in enumerate(entries)
        ]
    return [
        Device(
            name=f"cuda:{index}",
            label=f"{gpu.name}, {human_bytes(gpu.total_bytes)}" if gpu else entry,
            key=_key(entry),
            visible=entry,
            total_bytes=gpu.total_bytes if gpu else 0,
        )
        for index, (entry, gpu) in enumerate(visible_gpus(gpus, variable))
    ]


def _key(entry: str) -> str:
    """A safe file name; entries come from the environment."""
    return re.sub(r"[^A-Za-z0-9-]", "_", entry if not entry.isdecimal() else f"cuda-{entry}")[:120]


def _count_nodes() -> int:
    """GPUs by their device files, for drivers that hide the management library."""
    return sum(path.name[6:].isdecimal() for path in _NODES.glob("nvidia*"))


@cache
def torch_has_cuda() -> bool:
    """Whether the installed torch was built for CUDA; read from its files, as importing it takes seconds."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return False
    try:
        text = (Path(spec.origin).parent / "version.py").read_text("utf-8")
    except (OSError, ValueError):
        return True  # a build that tells elsewhere: the trainer will say if it cannot use the GPU
    return _TORCH_CUDA.search(text) is not None
