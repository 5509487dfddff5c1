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
    """Of the card, in PCI order; slices of a card that MIG divides have the same."""
    uuid: str
    """As CUDA writes it: `GPU-8932f937-…`, or `MIG-…` of a slice."""
    name: str
    total_bytes: int
    card: str = ""
    """A slice's card, by its UUID."""


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
    """Every GPU of the machine in PCI order; of a card that MIG divides its slices, which programs run on.

    None without an NVIDIA driver that answers.
    """
    try:
        with library() as nvml:
            return [gpu for gpu, _ in _gpus(nvml)]
    except _errors():
        return None


def read_loads() -> list[GpuLoad]:
    """The load of every GPU; nothing without an NVIDIA driver that answers."""
    try:
        with library() as nvml:
            return [_load(nvml, gpu, handle) for gpu, handle in _gpus(nvml)]
    except _errors():
        return []


@contextmanager
def library() -> Iterator[Any]:
    """The library, begun, for the duration; raises its `NVMLError` where there is no driver that answers."""
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


def _gpus(nvml: Any) -> Iterator[tuple[Gpu, Any]]:
    """(GPU or slice, its handle)."""
    for index in range(nvml.nvmlDeviceGetCount()):
        whole = nvml.nvmlDeviceGetHandleByIndex(index)
        slices = list(slices_of(nvml, whole))
        card = text_of(nvml.nvmlDeviceGetUUID(whole)) if slices else ""
        for handle in slices or [whole]:
            gpu = Gpu(
                index=index,
                uuid=text_of(nvml.nvmlDeviceGetUUID(handle)),
                name=text_of(nvml.nvmlDeviceGetName(handle)),
                total_bytes=int(nvml.nvmlDeviceGetMemoryInfo(handle).total),
                card=card,
            )
            yield gpu, handle


def slices_of(nvml: Any, whole: Any) -> Iterator[Any]:
    """Handles of a card's slices; none where MIG is off or not there."""
    try:
        if nvml.nvmlDeviceGetMigMode(whole)[0] != nvml.NVML_DEVICE_MIG_ENABLE:
            return
        most = nvml.nvmlDeviceGetMaxMigDeviceCount(whole)
    except nvml.NVMLError:
        return
    for number in range(most):
        try:
            yield nvml.nvmlDeviceGetMigDeviceHandleByIndex(whole, number)
        except nvml.NVMLError:
            continue  # fewer slices than there may be


def _load(nvml: Any, gpu: Gpu, handle: Any) -> GpuLoad:
    try:
        utilisation: float | None = nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
    except nvml.NVMLError:
        utilisation = None  # a GPU divided by MIG, or a virtual one
    return GpuLoad(
        gpu=gpu,
        utilisation=utilisation,
        used_bytes=int(nvml.nvmlDeviceGetMemoryInfo(handle).used),
        processes=tuple((pid, used or 0) for pid, used in processes_on(nvml, handle)),
    )


def processes_on(nvml: Any, handle: Any) -> list[tuple[int, int | None]]:
    """(pid, bytes) of every process that computes on a GPU; None where the driver does not tell how many."""
    try:
        running = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
    except nvml.NVMLError:
        return []  # some containers and older cards do not tell
    return [(int(process.pid), process.usedGpuMemory) for process in running]


def text_of(value: str | bytes) -> str:
    """NVML's older bindings return bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
