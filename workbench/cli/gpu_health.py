"""Findings, and checks that cannot take each other down."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from workbench.jobs.nvml import library, processes_on, slices_of, text_of
from workbench.support.units import human_bytes


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    """Something works less well, or not for every recipe."""
    ERROR = "error"
    """No run can train until it is mended."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report."""

    name: str
    level: Level
    text: str
    advice: str = ""
    """What to do, where something is to be done."""


@dataclass(frozen=True, slots=True)
class Check:
    """A look at one thing; `look` may find several things and may raise anything."""

    name: str
    look: Callable[[], Iterable[Finding]]


def run_checks(checks: Sequence[Check]) -> Iterator[Finding]:
    """Every finding as it is made; a check that breaks becomes a warning with its reason."""
    for check in checks:
        try:
            yield from check.look()
        except Exception as error:
            reason = " ".join(str(error).split()) or "no reason given"
            yield Finding(
                check.name, Level.WARNING, f"could not be checked: {type(error).__name__}: {reason[:300]}"
            )


_PCI = Path("/sys/bus/pci/devices")
_NVIDIA, _DISPLAY = "0x10de", "0x03"
_CROWDED = 0.25
"""Below this share of free memory a GPU is as good as taken."""
_GET_TORCH = "install a CUDA build of torch: https://pytorch.org/get-started/locally names the command"


@dataclass(frozen=True, slots=True)
class TorchBuild:
    """Which torch is installed and whether it can use a GPU."""

    version: str
    cuda: str | None
    """CUDA version that it was built for; None for a build without."""
    hip: str | None
    """ROCm version that it was built for."""
    available: bool
    built_for: tuple[str, ...] = ()
    """Architectures that it has code for (`sm_80`); empty where it does not tell."""


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process that computes on a GPU."""

    pid: int
    user: str | None
    """None where the process cannot be seen: another container's, or gone."""
    memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as the driver sees it; `index` is the driver's, before CUDA_VISIBLE_DEVICES."""

    index: int
    name: str
    memory_bytes: int
    free_bytes: int
    processes: tuple[GpuProcess, ...]
    capability: tuple[int, int] | None = None
    """Compute capability; None where the driver does not tell."""
    slices: int = 0
    """Parts that MIG divides it into."""


@dataclass(frozen=True, slots=True)
class Driver:
    """The NVIDIA driver, and the newest CUDA that it speaks."""

    version: str
    cuda: tuple[int, int]
    gpus: tuple[Gpu, ...]


@dataclass(frozen=True, slots=True)
class DriverTrouble:
    """Why there is no driver to ask; `missing` where none is installed."""

    reason: str
    missing: bool


def look_at_gpus() -> Iterator[Finding]:
    """Findings on torch's and the driver's view of the GPUs."""
    yield from judge_gpus(
        read_torch(),
        read_driver(),
        card_present=has_nvidia_card(),
        visible=os.environ.get("CUDA_VISIBLE_DEVICES"),
    )


def read_torch() -> TorchBuild:
    """What torch says of itself."""
    import torch

    from workbench.compute.accelerators import ACCELERATORS, built_for

    return TorchBuild(
        version=torch.__version__,
        cuda=torch.version.cuda,
        hip=torch.version.hip,
        available=ACCELERATORS["cuda"].count() > 0,
        built_for=built_for(),
    )


def read_driver() -> Driver | DriverTrouble:
    """What NVML says; it comes with the driver."""
    import pynvml

    try:
        with library() as nvml:
            cuda = nvml.nvmlSystemGetCudaDriverVersion()
            gpus = tuple(_read_gpu(nvml, index) for index in range(nvml.nvmlDeviceGetCount()))
            version = text_of(nvml.nvmlSystemGetDriverVersion())
            return Driver(version, (cuda // 1000, cuda % 1000 // 10), gpus)
    except pynvml.NVMLError_LibraryNotFound:
        return DriverTrouble("no NVIDIA driver", missing=True)
    except pynvml.NVMLError as error:
        return DriverTrouble(str(error), missing=False)


def has_nvidia_card() -> bool:
    """Whether the PCI bus has an NVIDIA display controller; a driver is not needed to see that."""
    try:
        devices = list(_PCI.iterdir())
        return any(
            (device / "vendor").read_text().strip() == _NVIDIA
            and (device / "class").read_text().startswith(_DISPLAY)
            for device in devices
        )
    except OSError:
        return False  # no sysfs: another system, or a container that hides it


def judge_gpus(
    build: TorchBuild, driver: Driver | DriverTrouble, *, card_present: bool, visible: str | None
) -> Iterator[Finding]:
    """What to make of torch, driver and hardware together.

    Args:
        card_present: an NVIDIA card is in the machine.
        visible: CUDA_VISIBLE_DEVICES.
    """
    if isinstance(driver, DriverTrouble):
        yield _without_driver(build, driver, card_present)
        return
    for gpu in driver.gpus:
        yield _judge_gpu(gpu, build)
    speaks = f"driver {driver.version}, CUDA {driver.cuda[0]}.{driver.cuda[1]}"
    if build.available:
        yield Finding("driver", Level.OK, f"{speaks}; torch can use it")
    elif build.cuda is None:
        yield Finding("driver", Level.WARNING, f"{speaks}, but this torch is a CPU build", _GET_TORCH)
    elif visible is not None and visible.strip() in ("", "-1"):
        yield Finding(
            "driver",
            Level.WARNING,
            f"{speaks}, but CUDA_VISIBLE_DEVICES hides every GPU",
            "unset CUDA_VISIBLE_DEVICES",
        )
    elif driver.cuda[0] < int(build.cuda.split(".")[0]):
        yield Finding(
            "driver",
            Level.WARNING,
            f"{speaks}: too old for torch, which was built for CUDA {build.cuda}",
            f"update the driver, or {_GET_TORCH.replace('a CUDA build', 'a build for an older CUDA')}",
        )
    else:
        yield Finding(
            "driver",
            Level.WARNING,
            f"{speaks}, but torch (CUDA {build.cuda}) cannot use it",
            "python -c 'import torch; torch.zeros(1).cuda()' tells why; after an update reboot",
        )


def _without_driver(build: TorchBuild, trouble: DriverTrouble, card_present: bool) -> Finding:
    if build.available:  # AMD, or a driver without NVML
        return Finding(
            "GPU", Level.OK, f"torch can use a GPU ({f'ROCm {build.hip}' if build.hip else 'CUDA'})"
        )
    if not trouble.missing:
        return Finding(
            "GPU",
            Level.WARNING,
            f"the NVIDIA driver does not answer: {trouble.reason}",
            "after an update of the driver reboot the machine; nvidia-smi should say the same",
        )
    if card_present:
        return Finding(
            "GPU",
            Level.WARNING,
            "an NVIDIA card is there, but no driver",
            "install the driver, or start the container with --gpus all",
        )
    return Finding("GPU", Level.OK, "none: runs use the CPU")


def _judge_gpu(gpu: Gpu, build: TorchBuild) -> Finding:
    name = f"GPU {gpu.index}"
    text = f"{gpu.name}, {human_bytes(gpu.free_bytes)} of {human_bytes(gpu.memory_bytes)} free"
    if gpu.slices:
        text += f", divided by MIG into {gpu.slices}"
    if gpu.capability and build.built_for:
        from workbench.compute.accelerators import has_code_for, wheel_for

        if not has_code_for(gpu.capability, build.built_for):
            number = ".".join(map(str, gpu.capability))
            text += f"; torch {build.version} has no code for its compute capability {number}"
            return Finding(name, Level.WARNING, text, wheel_for(gpu.capability))
    me = _own_name()
    others = [process for process in gpu.processes if process.user is None or process.user != me]
    mine = [process for process in gpu.processes if process not in others]
    if mine:
        text += f"; yours: {', '.join(_told(process) for process in mine)}"
    if others:
        text += f"; others: {', '.join(_told(process) for process in others)}"
    if others or gpu.free_bytes < _CROWDED * gpu.memory_bytes:
        advice = "another GPU can be chosen with --device cuda:N; a run that finds too little memory says so"
        return Finding(name, Level.WARNING, text, advice)
    return Finding(name, Level.OK, text)


def _told(process: GpuProcess) -> str:
    memory = "" if process.memory_bytes is None else f", {human_bytes(process.memory_bytes)}"
    return f"{process.user or 'unseen user'} (pid {process.pid}{memory})"


def _read_gpu(nvml: Any, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    return Gpu(
        index=index,
        name=text_of(nvml.nvmlDeviceGetName(handle)),
        memory_bytes=int(memory.total),
        free_bytes=int(memory.free),
        processes=tuple(_processes(nvml, handle)),
        capability=_capability(nvml, handle),
        slices=sum(1 for _ in slices_of(nvml, handle)),
    )


def _capability(nvml: Any, handle: Any) -> tuple[int, int] | None:
    try:
        major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    except (nvml.NVMLError, AttributeError):
        return None
    return int(major), int(minor)


def _processes(nvml: Any, handle: Any) -> Iterator[GpuProcess]:
    import psutil

    for pid, used in processes_on(nvml, handle):
        try:
            user: str | None = psutil.Process(pid).username()
        except psutil.Error:
            user = None
        yield GpuProcess(pid, user, used)


def _own_name() -> str | None:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return None  # a user id without a name, as in some containers
