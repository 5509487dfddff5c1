"""The machine's memory: kept by the C library between steps instead of handed back and asked for again.

glibc takes every block over 32 MiB from the kernel and gives it back when it is freed. Activations are such
blocks: each pass then pays for thousands of pages to be zeroed and mapped anew, which was half of the time
of EfficientNet-Lite0's inference at 64 images. Kept on the heap they are used again.
"""

from __future__ import annotations

import ctypes
import functools

import torch

# malloc.h: mallopt's names for the options.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3

_ALLOCATORS = ("can't allocate memory", "not enough memory", "Cannot allocate memory", "std::bad_alloc")

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


def is_want_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is used up: torch's allocator for the CPU has no type for it."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _ALLOCATORS)
    )
