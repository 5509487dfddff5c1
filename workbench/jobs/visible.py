"""CUDA_VISIBLE_DEVICES: which GPUs a process may use, and by which number it calls each."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.jobs.nvml import Gpu


def visible_gpus(gpus: Sequence[Gpu], variable: str | None) -> list[tuple[str, Gpu | None]]:
    """(entry, GPU) for `cuda:0`, `cuda:1` … in the order that CUDA gives them.

    As CUDA reads the variable (CUDA Programming Guide, "CUDA environment variables"), and torch before it:
    the first entry that names nothing hides itself and all after it; `-1` names nothing; a GPU named twice
    hides all. Numbers are those of PCI order, which is CUDA's own where all cards are alike or
    CUDA_DEVICE_ORDER=PCI_BUS_ID. A part of a divided card (`MIG-…`) is taken as it is, without a GPU.

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
        return entry, None
    if entry.startswith("GPU-"):
        matches = [gpu for gpu in gpus if gpu.uuid.startswith(entry)]  # a unique beginning is enough
        return (matches[0].uuid, matches[0]) if len(matches) == 1 else None
    if not _is_number(entry) or int(entry) >= len(gpus):
        return None
    gpu = gpus[int(entry)]
    return gpu.uuid, gpu


def _is_number(entry: str) -> bool:
    return entry.isascii() and entry.isdecimal() and len(entry) < 5
