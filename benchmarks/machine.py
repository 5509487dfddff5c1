"""What a measurement was made on: processor, what its arithmetic can do, versions, how busy it was."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from workbench.support.units import human_bytes

# Processor flags that decide which arithmetic is fast.
TELLING_FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_tile", "sve", "bf16")
PACKAGES = ("torch", "torchvision", "timm", "pillow", "numpy")
MOST_BY_OTHERS = 0.1
ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Machine:
    """A computer as far as speed is concerned."""

    processor: str
    cores: int
    threads: int
    """That torch computes with."""
    flags: tuple[str, ...]
    memory_bytes: int
    gpu: str
    """Name and memory; "" without one."""
    versions: dict[str, str]
    commit: str
    others: float
    """Share of all cores that other processes took in a second before the start."""

    def lines(self) -> list[str]:
        """For people, a line a fact."""
        return [
            f"processor: {self.processor}, {self.cores} cores, {self.threads} threads of torch",
            f"flags that matter: {' '.join(self.flags) or 'none'}",
            f"memory: {human_bytes(self.memory_bytes)}",
            f"GPU: {self.gpu or 'none'}",
            "versions: " + ", ".join(f"{name} {version}" for name, version in self.versions.items()),
            f"commit: {self.commit}",
            f"used by others as it began: {self.others:.0%}" + (" (BUSY)" if self.is_busy else ""),
        ]

    @property
    def is_busy(self) -> bool:
        """Whether so much else was computing that times are not to be quoted."""
        return self.others > MOST_BY_OTHERS


def describe() -> Machine:
    """This machine, now."""
    name, flags = _processor()
    return Machine(
        processor=name,
        cores=os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        flags=tuple(flag for flag in TELLING_FLAGS if flag in flags),
        memory_bytes=psutil.virtual_memory().total,
        gpu=_gpu(),
        versions={"python": platform.python_version()} | _versions(),
        commit=_commit(),
        # Not the load average: that remembers the benchmark before this one.
        others=psutil.cpu_percent(interval=1.0) / 100,
    )


def _processor() -> tuple[str, set[str]]:
    """(name, flags), as Linux tells them."""
    name, flags = platform.machine(), set[str]()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return name, flags
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            name = value.strip()
        elif key.strip() in ("flags", "Features"):
            flags |= set(value.split())
    return name, flags


def _gpu() -> str:
    if not torch.cuda.is_available():
        return ""
    facts = torch.cuda.get_device_properties(0)
    return f"{facts.name}, {human_bytes(facts.total_memory)}"


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "none"
    return found


def _commit() -> str:
    try:
        told = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return told.stdout.strip()
