"""Failures of devices, by the real texts of torch and the libraries below it."""

from __future__ import annotations

import errno

import pytest
import torch

from workbench.compute import is_out_of_device_memory, is_want_of_memory, trouble_of
from workbench.compute.trouble import Kind

# Since torch 2.8.
Accelerator: type[RuntimeError] = getattr(torch, "AcceleratorError", RuntimeError)
_HINTS = (
    "\nCUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace "
    "below might be incorrect.\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1\nCompile with "
    "`TORCH_USE_CUDA_DSA` to enable device-side assertions.\n"
)
OF_TORCH = torch.OutOfMemoryError(
    "CUDA out of memory. Tried to allocate 98.00 MiB. GPU 0 has a total capacity of 14.58 GiB of which "
    "63.56 MiB is free. Process 2181 has 14.51 GiB memory in use. Of the allocated memory 13.98 GiB is "
    "allocated by PyTorch, and 407.32 MiB is reserved by PyTorch but unallocated."
)
OF_CUDNN = RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED")


def of_driver(text: str) -> RuntimeError:
    """As the driver's errors come up, with what torch adds."""
    error: RuntimeError = Accelerator.__new__(Accelerator)
    error.args = (f"CUDA error: {text}{_HINTS}",)
    return error


REAL: list[tuple[BaseException, Kind]] = [
    (OF_TORCH, "device memory"),
    (OF_CUDNN, "device memory"),
    (
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        "device memory",
    ),
    (
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        "device memory",
    ),
    (RuntimeError("GET was unable to find an engine to execute this computation"), "device memory"),
    (of_driver("out of memory"), "device memory"),
    (of_driver("no kernel image is available for execution on the device"), "no code"),
    (of_driver("all CUDA-capable devices are busy or unavailable"), "taken"),
    (of_driver("CUDA-capable device(s) is/are busy or unavailable"), "taken"),
    (of_driver("exclusive-thread device already in use by a different thread"), "taken"),
    (of_driver("unspecified launch failure"), "lost"),
    (of_driver("uncorrectable ECC error encountered"), "lost"),
    (of_driver("an illegal memory access was encountered"), "lost"),
    (
        RuntimeError(
            "adaptive_avg_pool2d_backward_cuda does not have a deterministic implementation, but you set "
            "'torch.use_deterministic_algorithms(True)'."
        ),
        "not deterministic",
    ),
    (MemoryError(), "host memory"),
    (OSError(errno.ENOMEM, "Cannot allocate memory"), "host memory"),
    (
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried to "
            "allocate 8000000000000 bytes. Error code 12 (Cannot allocate memory)"
        ),
        "host memory",
    ),
]


@pytest.mark.parametrize(("error", "kind"), REAL, ids=lambda value: str(value)[:40])
def test_each_real_failure_is_told_from_the_others(error: BaseException, kind: Kind) -> None:
    found = trouble_of(error)
    assert found is not None
    assert found.kind == kind
    assert is_out_of_device_memory(error) is (kind == "device memory")
    assert is_want_of_memory(error) is kind.endswith("memory")
    assert "\n" not in found.words
    assert found.advice or kind.endswith("memory")


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"),
        RuntimeError("Expected all tensors to be on the same device, but found at least two devices"),
        KeyError("memory"),
        OSError(errno.ENOSPC, "No space left on device"),
    ],
)
def test_what_is_a_fault_of_petbench_stays_one(error: BaseException) -> None:
    assert trouble_of(error) is None
