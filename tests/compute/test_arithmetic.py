"""In what numbers a process computes: stated, and put back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from workbench.compute import (
    ACCELERATORS,
    arithmetic_name,
    autocast,
    exact_float32,
    float32_name,
    full_precision,
    stated,
    times_convolutions,
)

CPU = torch.device("cpu")


def _flags() -> tuple[bool, ...]:
    return (
        torch.backends.cudnn.allow_tf32,
        torch.backends.cuda.matmul.allow_tf32,
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.deterministic,
        torch.backends.cudnn.benchmark,
    )


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = _flags()
    yield
    assert _flags() == before


@pytest.mark.parametrize("tf32", [False, True])
@pytest.mark.parametrize("deterministic", [False, True])
def test_what_is_stated_holds_within_and_not_after(tf32: bool, deterministic: bool) -> None:
    with stated(tf32=not tf32, deterministic=not deterministic):
        with stated(tf32=tf32, deterministic=deterministic):
            assert _flags() == (tf32, tf32, deterministic, deterministic, False)
            with exact_float32():
                assert _flags()[:2] == (False, False)
            assert _flags()[:2] == (tf32, tf32)
        assert _flags()[0] is not tf32


@pytest.mark.parametrize("deterministic", [False, True])
def test_convolutions_are_timed_where_sizes_come_again_and_nothing_forbids_it(deterministic: bool) -> None:
    gpu = torch.device("cuda:0")
    with stated(tf32=False, deterministic=deterministic, fixed_sizes=True):
        assert torch.backends.cudnn.benchmark is not deterministic
        assert (times_convolutions(gpu), times_convolutions(CPU)) == (not deterministic, False)
        with stated(tf32=False, deterministic=False):
            assert not times_convolutions(gpu)


def test_tf32_has_its_name_only_where_the_device_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda:0")
    monkeypatch.setattr(type(ACCELERATORS["cuda"]), "supports", lambda self, dtype, device: True)
    with stated(tf32=True, deterministic=False):
        assert (float32_name(gpu), float32_name(CPU)) == ("tf32", "fp32")
        assert arithmetic_name("bf16", gpu) == "bf16"
        with exact_float32():
            assert float32_name(gpu) == "fp32"
    with stated(tf32=False, deterministic=False):
        assert arithmetic_name("fp32", gpu) == "fp32"
    monkeypatch.setattr(type(ACCELERATORS["cuda"]), "supports", lambda self, dtype, device: False)
    with stated(tf32=True, deterministic=False):
        assert float32_name(gpu) == "fp32"  # a T4


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
def test_a_pass_is_in_the_arithmetic_that_was_asked_for(dtype: str) -> None:
    layer, inputs = nn.Linear(4, 3), torch.randn(2, 4)
    with autocast(CPU, dtype):  # type: ignore[arg-type]
        found = layer(inputs).dtype
        with full_precision(CPU):
            assert layer(inputs).dtype == torch.float32
        with autocast(CPU, "fp32"):
            assert layer(inputs).dtype == torch.float32
    assert found == {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[dtype]


def test_a_pass_without_gradients_leaves_no_casts_to_one_that_wants_them() -> None:
    """torch 2.5 keeps the casts of a pass under no_grad, which have no gradient, for the next one."""
    layer = nn.Linear(4, 3)
    with autocast(CPU, "bf16"):
        with torch.no_grad():
            layer(torch.randn(2, 4))
        loss = layer(torch.randn(2, 4)).float().sum()
        assert not torch.is_autocast_cache_enabled()
    loss.backward()
    assert layer.weight.grad is not None


def test_a_deterministic_process_refuses_what_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    with stated(tf32=False, deterministic=True):
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
        assert not torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
