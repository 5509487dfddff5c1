"""The machine: Python, torch, bf16, processor, memory."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

import workbench
from workbench.cli.health.finding import Finding, Level
from workbench.support.units import human_bytes

_GIB = 2**30
_LITTLE_MEMORY = 4 * _GIB
"""What training takes at its peak beside the store."""
_SHARED_MEMORY = Path("/dev/shm")
_LITTLE_SHARED_MEMORY = 256 * 2**20
"""Docker gives 64 MiB unless asked."""


def look_at_python() -> Iterator[Finding]:
    """The interpreter and petbench itself."""
    system = f"{platform.system()} {platform.machine()}"
    text = f"{workbench.__version__}, Python {platform.python_version()}, {system}"
    yield Finding("petbench", Level.OK, text)


def look_at_torch() -> Iterator[Finding]:
    """Whether torch and torchvision are there, and fit each other."""
    try:
        import torch
    except Exception as error:
        yield Finding(
            "torch",
            Level.ERROR,
            f"cannot be imported: {type(error).__name__}: {str(error)[:200]}",
            "pip install --force-reinstall torch torchvision",
        )
        return
    kind = "CPU build"
    if torch.version.cuda:
        kind = f"built for CUDA {torch.version.cuda}"
    elif torch.version.hip:
        kind = f"built for ROCm {torch.version.hip}"
    try:
        import torchvision
    except Exception as error:
        yield Finding(
            "torch",
            Level.ERROR,
            f"torch {torch.__version__}, {kind}; torchvision cannot be imported: {str(error)[:200]}",
            "torchvision must be the one made for this torch: pip install --upgrade torch torchvision",
        )
        return
    yield Finding("torch", Level.OK, f"{torch.__version__}, {kind}; torchvision {torchvision.__version__}")


def look_at_bf16() -> Iterator[Finding]:
    """Whether runs can use bf16 on the device that they take by themselves."""
    import torch

    from workbench.train.precision import has_bf16

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = "GPU" if device.type == "cuda" else "CPU"
    text = (
        f'the {name} has it: precision = "auto" can use it'
        if has_bf16(device)
        else f"the {name} lacks it: runs use fp32"
    )
    yield Finding("bf16", Level.OK, text)


def look_at_processor() -> Iterator[Finding]:
    """Cores that this process may use, torch's threads, and how busy they are."""
    import psutil
    import torch

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    physical = psutil.cpu_count(logical=False)
    load = os.getloadavg()[0]
    text = f"{usable} threads" + (f" on {physical} cores" if physical else "")
    text += f", torch computes with {torch.get_num_threads()}, load {load:.1f}"
    if load > 1.5 * usable:
        yield Finding("CPU", Level.WARNING, text, "other work keeps the CPU busy: runs here will be slow")
    else:
        yield Finding("CPU", Level.OK, text)


def look_at_memory() -> Iterator[Finding]:
    """Main memory, also a container's limit, and shared memory."""
    import psutil

    memory = psutil.virtual_memory()
    limit = container_limit()
    available, total = memory.available, memory.total
    text = f"{human_bytes(available)} of {human_bytes(total)} available"
    if limit is not None and limit < total:
        text += f", {human_bytes(limit)} allowed in this container"
        available = min(available, limit)
    if available < _LITTLE_MEMORY:
        advice = (
            f"training may need {human_bytes(_LITTLE_MEMORY)}: close something, or lower training.batch_size"
        )
        yield Finding("memory", Level.WARNING, text, advice)
    else:
        yield Finding("memory", Level.OK, text)
    if _SHARED_MEMORY.is_dir():
        usage = shutil.disk_usage(_SHARED_MEMORY)
        text = f"{human_bytes(usage.free)} of {human_bytes(usage.total)} free"
        if usage.free < _LITTLE_SHARED_MEMORY:
            advice = "several GPUs talk through it: in Docker start with --shm-size=1g or --ipc=host"
            yield Finding("shared memory", Level.WARNING, text, advice)
        else:
            yield Finding("shared memory", Level.OK, text)


def container_limit(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """The control group's memory limit in bytes (cgroup v2, then v1); None without one."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            return int((root / name).read_text())
        except (OSError, ValueError):
            continue  # no such file, or the word "max"
    return None
