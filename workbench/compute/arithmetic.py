"""In what numbers a process computes: autocast, TF32 and determinism, stated and never inherited."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch

from workbench.compute.accelerators import Dtype, accelerator_of, allow_tf32

__all__ = [
    "Dtype",
    "arithmetic_name",
    "autocast",
    "computes_in",
    "exact_float32",
    "float32_name",
    "full_precision",
    "stated",
    "times_convolutions",
]

_TORCH = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# Fixed work space, without which cuBLAS is not deterministic; read when it is first used.
_WORKSPACE, _WORKSPACE_CHOICE = "CUBLAS_WORKSPACE_CONFIG", ":4096:8"


def autocast(device: torch.device, dtype: Dtype) -> AbstractContextManager[None]:
    """The context of a forward pass in that arithmetic.

    Weights that were cast are not kept within it: a pass without gradients would leave casts that have none
    to the pass that wants them (torch 2.5, Meta Pseudo Labels' convolutions). Of one pass each weight is cast
    once either way.
    """
    if dtype == "fp32" and not torch.is_autocast_enabled(device.type):
        return contextlib.nullcontext()
    context: AbstractContextManager[None] = torch.autocast(
        device.type, _TORCH[dtype] if dtype != "fp32" else None, enabled=dtype != "fp32", cache_enabled=False
    )
    return context


def full_precision(device: torch.device) -> AbstractContextManager[None]:
    """Within it nothing is cast, whatever context is around it."""
    context: AbstractContextManager[None] = torch.autocast(device.type, enabled=False)
    return context


def computes_in(dtype: Dtype, device: torch.device) -> bool:
    """Whether the device computes in that arithmetic itself, without emulating it."""
    return dtype == "fp32" or accelerator_of(device).supports(dtype, device)


def arithmetic_name(dtype: Dtype, device: torch.device) -> str:
    """What really computes a pass in `dtype` on the device now, for names of what is kept of it."""
    return float32_name(device) if dtype == "fp32" else dtype


def float32_name(device: torch.device) -> str:
    """What float32 is really computed in on the device now: `fp32` or `tf32`, of 10 bits."""
    is_on = torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32
    return "tf32" if is_on and accelerator_of(device).supports("tf32", device) else "fp32"


@contextlib.contextmanager
def exact_float32() -> Iterator[None]:
    """Within it float32 is float32: what is proved to rounding cannot be proved in TF32."""
    before = _tf32()
    allow_tf32(convolutions=False, products=False)
    try:
        yield
    finally:
        allow_tf32(convolutions=before[0], products=before[1])


@contextlib.contextmanager
def stated(*, tf32: bool, deterministic: bool, fixed_sizes: bool = False) -> Iterator[None]:
    """Compute so within it, whatever torch's defaults or another run in this process have set.

    Args:
        tf32: float32 products and convolutions may be computed in TF32 where the device has it.
        deterministic: of one input the same bits always; an operation that cannot raises RuntimeError.
        fixed_sizes: what comes has a few sizes, again and again. cuDNN then times its algorithms for each
            and keeps the fastest; not where `deterministic`, since another time another may be the fastest.
    """
    cudnn = torch.backends.cudnn
    before = _tf32(), torch.are_deterministic_algorithms_enabled(), cudnn.deterministic, cudnn.benchmark
    filling: Any = torch.utils.deterministic
    fills = filling.fill_uninitialized_memory
    allow_tf32(convolutions=tf32, products=tf32)
    cudnn.benchmark = fixed_sizes and not deterministic
    if deterministic:
        os.environ.setdefault(_WORKSPACE, _WORKSPACE_CHOICE)
        filling.fill_uninitialized_memory = False  # nobody reads it here, and it costs a pass
    _use_deterministic(deterministic)
    cudnn.deterministic = deterministic
    try:
        yield
    finally:
        allow_tf32(convolutions=before[0][0], products=before[0][1])
        _use_deterministic(before[1])
        cudnn.deterministic, cudnn.benchmark = before[2:]
        filling.fill_uninitialized_memory = fills


def _use_deterministic(wanted: bool) -> None:
    # Not asked for what is so already: the call loads torch's compiler (2.9 and later), two seconds of it.
    if wanted != torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(wanted)


def times_convolutions(device: torch.device) -> bool:
    """Whether algorithms of convolutions are chosen by timing on the device now."""
    return torch.backends.cudnn.benchmark and accelerator_of(device).times_convolutions


def _tf32() -> tuple[bool, bool]:
    """Whether it is allowed for convolutions, and for products."""
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
