"""What goes wrong on a device, by what torch and the libraries below it say: one place that knows the words.

torch has a type for its own allocator's refusal alone; cuDNN, cuBLAS and the driver speak through
RuntimeError (since torch 2.8 its child AcceleratorError), so texts are all there is to tell them apart.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Literal

import torch

Kind = Literal["device memory", "host memory", "no code", "taken", "lost", "not deterministic"]


@dataclass(frozen=True, slots=True)
class Trouble:
    """A failure that is no fault of petbench."""

    kind: Kind
    words: str
    """What happened, to follow "the run ended: "."""
    advice: str
    """What to do; "" where memory is short: what needs less depends on what was being done."""


_TEXTS: tuple[tuple[Kind, tuple[str, ...]], ...] = (
    # Before "device memory": the host's allocator says "memory", too.
    (
        "host memory",
        (
            "can't allocate memory",
            "not enough memory",
            "Cannot allocate memory",
            "std::bad_alloc",
            "HOST_ALLOCATION_FAILED",
        ),
    ),
    (
        "device memory",
        (
            "CUDA out of memory",
            "HIP out of memory",
            "XPU out of memory",
            "CUDA error: out of memory",
            "HIP error: out of memory",
            "CUDNN_STATUS_ALLOC_FAILED",
            "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
            "CUBLAS_STATUS_ALLOC_FAILED",
            "CUSOLVER_STATUS_ALLOC_FAILED",
            # cuDNN's search tries each engine with the work space that it needs, and none got it.
            "unable to find an engine to execute this computation",
        ),
    ),
    ("no code", ("no kernel image is available", "invalid device function")),
    (
        "taken",
        (
            "devices are busy or unavailable",
            "device(s) is/are busy or unavailable",
            "exclusive-thread device already in use",
        ),
    ),
    (
        "lost",
        (
            "unspecified launch failure",
            "an illegal memory access was encountered",
            "uncorrectable ECC error",
            "the launch timed out and was terminated",
            "misaligned address",
            "device-side assert triggered",
            "GPU is lost",
        ),
    ),
    ("not deterministic", ("does not have a deterministic implementation", "CUBLAS_WORKSPACE_CONFIG")),
)


def trouble_of(error: BaseException) -> Trouble | None:
    """What an error tells of the device or of memory; None: it tells of something else."""
    kind = _kind_of(error)
    if kind is None:
        return None
    said = _first_words(error)
    match kind:
        case "device memory":
            return Trouble(kind, "the device is out of memory", "")
        case "host memory":
            wanted = said.rpartition("] . ")[2]
            return Trouble(kind, f"this machine is out of memory{f': {wanted}' if wanted else ''}", "")
        case "no code":
            return Trouble(
                kind,
                f"this torch ({torch.__version__}) has no code for this GPU ({said})",
                "petbench doctor names the build of torch to install; or --device cpu",
            )
        case "taken":
            return Trouble(
                kind,
                f"the GPU is in use by another program that has it for itself ({said})",
                "wait for it, take another with --device cuda:N, or set the compute mode back: "
                "nvidia-smi -c DEFAULT",
            )
        case "lost":
            return Trouble(
                kind,
                f"the GPU failed ({said})",
                "nvidia-smi and dmesg tell more; if it happens again, try another card",
            )
        case "not deterministic":
            return Trouble(
                kind,
                f"an operation has no deterministic way here ({said})",
                "training.deterministic = false, or another backbone",
            )


def _kind_of(error: BaseException) -> Kind | None:
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return "host memory"
    if isinstance(error, torch.OutOfMemoryError):
        return "device memory"
    if not isinstance(error, RuntimeError):
        return None
    text = str(error)
    return next((kind for kind, texts in _TEXTS if any(words in text for words in texts)), None)


def _first_words(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:160]


def is_out_of_device_memory(error: BaseException) -> bool:
    """Whether less work at a time may help on the device: its memory is used up."""
    return _kind_of(error) == "device memory"


def is_want_of_memory(error: BaseException) -> bool:
    """Whether memory is used up, the device's or the machine's."""
    return _kind_of(error) in ("device memory", "host memory")
