"""What a run can compute on here, and the lease that each device has."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from workbench.jobs.nvml import Gpu, read_gpus
from workbench.support.errors import UserError
from workbench.support.units import human_bytes

_NODES = Path("/dev")
_KFD = Path("/sys/class/kfd/kfd/topology/nodes")
"""Where AMD's driver tells of its processors, the GPUs among them (kernel, amdkfd topology)."""
Platform = Literal["cuda", "rocm"]
_BUILT_FOR: dict[str, Platform] = {"cuda": "cuda", "hip": "rocm"}
_TORCH_SAYS = re.compile(r"^(cuda|hip)\s*(?::[^=]*)?=\s*['\"].+['\"]", re.MULTILINE)
_VARIABLE: dict[Platform, str] = {"cuda": "CUDA_VISIBLE_DEVICES", "rocm": "HIP_VISIBLE_DEVICES"}


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
    """The value of `variable` that leaves only this one; empty for the CPU."""
    total_bytes: int = 0
    """Its own memory; 0 for the CPU, and where no driver tells."""
    variable: str = "CUDA_VISIBLE_DEVICES"

    @property
    def name_alone(self) -> str:
        """What a process that sees only this one calls it, and of several their kind."""
        return "cuda" if self.visible else "cpu"

    @property
    def is_slice(self) -> bool:
        """Whether it is a part of a card that MIG divides: a process sees one, and only if it is named."""
        return self.visible.startswith("MIG-")


@dataclass(frozen=True, slots=True)
class Demand:
    """What a run asks for."""

    devices: tuple[Device, ...]
    """Those that would do, in order of preference."""
    processes: int = 1
    """How many train it together."""

    @property
    def count(self) -> int:
        """How many of the devices it takes: a GPU a process; the CPU is one, whose cores they share."""
        return self.processes if self.devices[0].visible else 1

    @property
    def words(self) -> str:
        """`cuda:0`, `2 of cuda:0, cuda:1, cuda:2`."""
        names = [device.name for device in self.devices]
        return " or ".join(names) if self.count == 1 else f"{self.count} of {', '.join(names)}"


DevicesAsked = int | Literal["all"]
"""`training.devices`: how many devices train a recipe."""


def environment_of(devices: Sequence[Device]) -> dict[str, str]:
    """The environment of processes that shall see no other GPUs than these; they call them `name_alone`."""
    gpus = [device for device in devices if device.visible]
    return {gpus[0].variable: ",".join(device.visible for device in gpus)} if gpus else {}


def devices(environment: Mapping[str, str] | None = None) -> list[Device]:
    """The GPUs that CUDA_VISIBLE_DEVICES leaves and torch can use, then the CPU."""
    return [*_gpus(os.environ if environment is None else environment), _CPU]


def listed_device(name: str) -> Device | None:
    """The device that torch calls `cpu`, `cuda` or `cuda:N` here; None where nobody lists it."""
    return next((device for device in devices() if device.name in (name, f"{name}:0")), None)


def wanted_devices(name: str, environment: Mapping[str, str] | None = None) -> list[Device]:
    """The devices that `--device NAME` may mean, in order of preference.

    `auto` and `all`: any GPU, or the CPU where there is none. `cuda`: any GPU. `cuda:N` and `cpu`: that one;
    several with commas: any of these.

    Raises:
        UserError: there is none.
    """
    everything = devices(environment)
    gpus = everything[:-1]
    if name in ("auto", "all"):
        return gpus or [_CPU]
    if name == "cuda" and gpus:
        return gpus
    chosen: dict[str, Device] = {}
    for one in name.split(","):
        found = next((device for device in everything if device.name == one.strip()), None)
        if found is None:
            raise UserError(
                f"no device {one.strip()!r} here",
                where="--device",
                allowed=["auto", *(["cuda"] if gpus else []), *(device.name for device in everything)],
                hint="petbench doctor tells what this machine has",
            )
        chosen[found.name] = found
    return list(chosen.values())


def demand_of(name: str, asked: DevicesAsked = 1, environment: Mapping[str, str] | None = None) -> Demand:
    """What `--device NAME` and `training.devices` ask for together.

    Args:
        asked: `all`: every GPU that NAME may mean.

    Raises:
        UserError: there is no such device, or not so many.
    """
    wanted = wanted_devices(name, environment)
    gpus = [device for device in wanted if device.visible]
    if asked == 1 or (asked == "all" and not gpus):
        return Demand(tuple(wanted))
    if asked != "all" and not gpus:
        cores = usable_cores()
        if asked > cores:
            raise _too_many(asked, f"{cores} CPU cores", cores)
        return Demand(tuple(wanted), asked)
    # A slice of a divided card reaches no other (MIG user guide, "Application Considerations": no P2P).
    whole = tuple(device for device in gpus if not device.is_slice)
    if asked == "all":
        return Demand(whole, len(whole)) if whole else Demand(tuple(wanted))
    if asked > len(whole):
        names = ", ".join(device.name for device in whole)
        there = f"{len(whole)} GPUs ({names})" if whole else "no GPUs"
        sliced = " that are not divided" if len(whole) < len(gpus) else ""
        raise _too_many(asked, f"{there}{sliced}", len(whole))
    return Demand(whole, asked)


def usable_cores() -> int:
    """The CPU cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def _too_many(asked: int, there: str, most: int) -> UserError:
    return UserError(
        f"{asked} devices are more than there are: {there} here",
        where="training.devices",
        allowed=f"1 to {most}, or all" if most > 1 else "1, or all",
        hint="--devices N takes another number for this once; petbench doctor tells what this machine has",
    )


_CPU = Device(name="cpu", label="CPU", key="cpu", visible="")


def _gpus(environment: Mapping[str, str]) -> list[Device]:
    platform = torch_platform()
    if platform is None:
        return []
    variable = environment.get(_VARIABLE[platform])
    if platform == "rocm":
        return _amd_gpus(environment.get("CUDA_VISIBLE_DEVICES") if variable is None else variable)
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


def _amd_gpus(variable: str | None) -> list[Device]:
    """AMD's GPUs, as a torch for ROCm numbers them.

    Args:
        variable: HIP_VISIBLE_DEVICES, or CUDA_VISIBLE_DEVICES, which HIP reads where that is not set.
    """
    cards = _amd_cards()
    entries = visible_without_driver(len(cards), variable)
    return [
        Device(f"cuda:{place}", f"AMD GPU {entry}", cards[int(entry)], entry, variable=_VARIABLE["rocm"])
        for place, entry in enumerate(entries)
        if _is_number(entry) and int(entry) < len(cards)
    ]


def _amd_cards() -> list[str]:
    """A lease's name for each GPU that AMD's driver has, in its order."""
    cards: list[str] = []
    for node in sorted(_KFD.glob("*"), key=lambda path: (len(path.name), path.name)):
        try:
            words = (node / "properties").read_text("utf-8").split()
        except (OSError, ValueError):
            continue
        facts = dict(zip(words[::2], words[1::2], strict=False))
        if facts.get("simd_count", "0") != "0":  # a processor without is a CPU
            cards.append(f"rocm-{facts.get('unique_id', '0')}-{len(cards)}")
    return cards


@cache
def torch_platform() -> Platform | None:
    """What the installed torch was built for; read from its files, as importing it takes seconds."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    try:
        text = (Path(spec.origin).parent / "version.py").read_text("utf-8")
    except (OSError, ValueError):
        return "cuda"  # a build that tells elsewhere: the trainer will say if it cannot use the GPU
    return platform_said(text)


def platform_said(version: str) -> Platform | None:
    """What torch's `version.py` says that it was built for; None: the CPU alone."""
    found = _TORCH_SAYS.search(version)
    return None if found is None else _BUILT_FOR[found[1]]


def visible_gpus(gpus: Sequence[Gpu], variable: str | None) -> list[tuple[str, Gpu | None]]:
    """(entry, GPU) for `cuda:0`, `cuda:1` … in the order that CUDA gives them.

    As CUDA reads the variable (CUDA Programming Guide, "CUDA environment variables"), and torch before it:
    the first entry that names nothing hides itself and all after it; `-1` names nothing; a GPU named twice
    hides all. Numbers are those of PCI order, as petbench has CUDA count. A slice of a divided card may be
    named even where the driver does not list it; one that is not named is there for a process of its own.

    Args:
        variable: the variable's text; None where it is not set: every GPU.
    """
    if variable is None:
        return [(gpu.uuid, gpu) for gpu in gpus]
    named: list[tuple[str, Gpu | None]] = []
    for entry in (part.strip() for part in variable.split(",")):
        found = _named(gpus, entry)
        if found is None:
            break
        named.append(found)
    keys = [key for key, _ in named]
    return named if len(set(keys)) == len(keys) else []


def visible_without_driver(present: int, variable: str | None) -> list[str]:
    """The entries that stand for `cuda:0`, `cuda:1` … where only the number of GPUs is known."""
    if variable is None:
        return [str(index) for index in range(present)]
    entries: list[str] = []
    for entry in (part.strip() for part in variable.split(",")):
        if not _is_number(entry) and not entry.startswith(("GPU-", "MIG-")):
            break
        entries.append(entry)
    return entries if len(set(entries)) == len(entries) else []


def _named(gpus: Sequence[Gpu], entry: str) -> tuple[str, Gpu | None] | None:
    if entry.startswith("MIG-"):
        return entry, next((gpu for gpu in gpus if gpu.uuid == entry), None)
    # Of a card that is divided CUDA takes the first slice.
    if entry.startswith("GPU-"):
        matches = [gpu for gpu in gpus if (gpu.card or gpu.uuid).startswith(entry)]
        is_one = len({gpu.card or gpu.uuid for gpu in matches}) == 1  # a unique beginning is enough
        return (matches[0].uuid, matches[0]) if is_one else None
    found = next((gpu for gpu in gpus if _is_number(entry) and gpu.index == int(entry)), None)
    return None if found is None else (found.uuid, found)


def _is_number(entry: str) -> bool:
    return entry.isascii() and entry.isdecimal() and len(entry) < 5
