"""What a training process asks of its host: memory kept, threads for small work, torch's own seeds."""

from __future__ import annotations

import contextlib
import ctypes
import functools
from collections.abc import Iterator

import torch

from workbench.compute import accelerator_of
from workbench.support.digests import fingerprint

# malloc.h: mallopt's names for the options.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3

_LARGEST_ON_HEAP = 2**30
"""Bytes; activations of a batch are smaller, stores of images larger."""
_LARGEST_FORMERLY = 2**25
"""Older versions of glibc refuse more than half of a thread's heap."""
_NEVER = 2**31 - 1


@functools.cache
def keep_freed_memory() -> bool:
    """Let the process keep the memory that it frees, from now on; returns whether the C library does so."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False  # not glibc
    kept = any(mallopt(_M_MMAP_THRESHOLD, size) for size in (_LARGEST_ON_HEAP, _LARGEST_FORMERLY))
    return bool(mallopt(_M_TRIM_THRESHOLD, _NEVER)) and kept


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one CPU thread.

    A head on cached features is a few million multiplications a step: handing them to other threads costs
    more than they save, and on a busy machine each hand-over waits for the slowest.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def seed_of(*parts: object) -> int:
    """60 bits that stand for `parts`."""
    return int(fingerprint(list(parts))[:15], 16)


def seed_device(seed: int, device: torch.device) -> None:
    """`torch.manual_seed` for the CPU and one device.

    Torch's own also notes, for each kind of accelerator that is not in use, the stack of calls that led to
    it: a millisecond, and memory that is never given back.
    """
    torch.default_generator.manual_seed(seed)
    accelerator_of(device).seed(seed, device)
