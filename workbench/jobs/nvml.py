"""NVIDIA's management library: which GPUs the driver has, and who uses how much of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as the driver sees it, before CUDA_VISIBLE_DEVICES."""

    index: int
    uuid: str
    """As CUDA writes it: `GPU-8932f937-…`."""
    name: str
    total_bytes: int


@dataclass(frozen=True, slots=True)
class GpuLoad:
    """What a GPU does at this moment."""

    gpu: Gpu
    utilisation: float | None
    """Share of the last moment in which it computed, 0 to 1; None where the card does not tell."""
    used_bytes: int
    processes: tuple[tuple[int, int], ...]
    """(pid, bytes) of every process that computes on it; 0 bytes where the driver does not tell."""


def read_gpus() -> list[Gpu] | None:
    """Every GPU of the machine in PCI order; None without an NVIDIA driver that answers."""
    try:
        with _library() as nvml:
            return [_gpu(nvml, index) for index in range(nvml.nvmlDeviceGetCount())]
    except _errors():
        return None


def read_loads() -> list[GpuLoad]:
    """The load of every GPU; nothing without an NVIDIA driver that answers."""
    try:
        with _library() as nvml:
            return [_load(nvml, index) for index in range(nvml.nvmlDeviceGetCount())]
    except _errors():
        return []


@contextmanager
def _library() -> Iterator[Any]:
    import pynvml

    pynvml.nvmlInit()
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()


def _errors() -> tuple[type[Exception], ...]:
    try:
        import pynvml
    except ImportError:
        return (ImportError,)
    return (pynvml.NVMLError, OSError)


def _gpu(nvml: Any, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    return Gpu(
        index=index,
        uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
        name=_text(nvml.nvmlDeviceGetName(handle)),
        total_bytes=int(nvml.nvmlDeviceGetMemoryInfo(handle).total),
    )


def _load(nvml: Any, index: int) -> GpuLoad:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    try:
        utilisation: float | None = nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
    except nvml.NVMLError:
        utilisation = None  # a GPU divided by MIG, or a virtual one
    try:
        running = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
    except nvml.NVMLError:
        running = []  # some containers and older cards do not tell
    return GpuLoad(
        gpu=_gpu(nvml, index),
        utilisation=utilisation,
        used_bytes=int(nvml.nvmlDeviceGetMemoryInfo(handle).used),
        processes=tuple((int(process.pid), int(process.usedGpuMemory or 0)) for process in running),
    )


def _text(value: str | bytes) -> str:
    """NVML's older bindings return bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
