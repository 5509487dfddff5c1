"""Optimisers, and their state on its way to disk and back."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from workbench.recipe import Optimizer
from workbench.train.optim import (
    FusedUpdate,
    Group,
    make_optimizer,
    optimizer_tensors,
    restore_optimizer,
    set_rates,
)

NAMES = ("adam", "adamw", "sgd")


def _network() -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 3), nn.Flatten(), nn.Linear(64, 3)
    )
    return network.to(memory_format=torch.channels_last)


def _groups(network: nn.Module) -> list[Group]:
    first, *others = network.parameters()
    return [
        {"params": [first], "lr": 0.01, "weight_decay": 0.0},
        {"params": others, "lr": 0.1, "weight_decay": 0.1},
    ]


def _knobs(name: str, **values: object) -> Optimizer:
    return Optimizer.model_validate({"name": name, "learning_rate": 0.1, **values})


def _step(network: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    optimizer.zero_grad(set_to_none=True)
    network(images.to(memory_format=torch.channels_last)).square().mean().backward()
    optimizer.step()


def _through_a_file(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """What safetensors makes of them: the same values in the order of their indices."""
    return {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}


@pytest.mark.parametrize("name", NAMES)
def test_a_restored_optimizer_goes_on_to_the_last_bit(name: str) -> None:
    network = _network()
    optimizer = make_optimizer(_knobs(name), _groups(network))
    for seed in range(3):
        _step(network, optimizer, seed)
    twin = copy.deepcopy(network)
    restored = make_optimizer(_knobs(name), _groups(twin))
    restore_optimizer(restored, _through_a_file(optimizer_tensors(optimizer)))
    for seed in range(3, 6):
        _step(network, optimizer, seed)
        _step(twin, restored, seed)
    for ours, theirs in zip(network.parameters(), twin.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_that_have_not_learned_yet_have_no_state_and_may_begin_later(name: str) -> None:
    network = _network()
    first, *_ = network.parameters()
    first.requires_grad_(False)
    optimizer = make_optimizer(_knobs(name), _groups(network))
    _step(network, optimizer, 0)
    tensors = optimizer_tensors(optimizer)
    assert not any(key.startswith("0/") for key in tensors)
    restored = make_optimizer(_knobs(name), _groups(network))
    restore_optimizer(restored, tensors)
    first.requires_grad_(True)
    before = first.detach().clone()
    _step(network, restored, 1)
    assert not torch.equal(first, before)


def test_no_state_is_restored_as_no_state() -> None:
    network = _network()
    optimizer = make_optimizer(_knobs("adam"), _groups(network))
    restore_optimizer(optimizer, {})
    assert optimizer_tensors(optimizer) == {}


def test_every_group_keeps_its_share_of_the_rate() -> None:
    optimizer = make_optimizer(_knobs("sgd"), _groups(_network()))
    set_rates(optimizer, 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == [0.005, 0.05]
    set_rates(optimizer, 1.0)
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.1]


@pytest.mark.parametrize(
    ("name", "values", "oracle"),
    [
        ("adam", {}, lambda p: torch.optim.Adam(p, lr=0.1)),
        ("adamw", {}, lambda p: torch.optim.AdamW(p, lr=0.1)),
        ("sgd", {"momentum": 0.9}, lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True)),
        ("sgd", {"momentum": 0.0}, lambda p: torch.optim.SGD(p, lr=0.1)),
    ],
)
def test_the_update_is_torchs(name: str, values: dict[str, float], oracle: object) -> None:
    network = _network()
    twin = copy.deepcopy(network)
    optimizer = make_optimizer(_knobs(name, **values), _groups(network))
    other = oracle(_groups(twin))  # type: ignore[operator]
    for seed in range(3):
        _step(network, optimizer, seed)
        _step(twin, other, seed)
    for ours, theirs in zip(network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("name", NAMES)
def test_the_gathered_update_is_the_optimisers_own_also_for_layers_that_begin_and_pause(name: str) -> None:
    network = _network()
    twin = copy.deepcopy(network)
    optimizer, other = (make_optimizer(_knobs(name), _groups(each)) for each in (network, twin))
    update = FusedUpdate(optimizer)
    for seed, learns in enumerate((False, False, True, True, False, True)):
        for each, step in ((network, update.step), (twin, other.step)):
            next(each.parameters()).requires_grad_(learns)
            each.zero_grad(set_to_none=True)
            images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
            each(images.to(memory_format=torch.channels_last)).square().mean().backward()
            step()
        for ours, theirs in zip(network.parameters(), twin.parameters(), strict=True):
            assert torch.equal(ours, theirs)


@pytest.mark.slow
def test_a_run_of_a_network_of_our_own_loads_neither_torchs_compiler_nor_torchvision(tmp_path: Path) -> None:
    """Their imports take about as long as torch's own."""
    code = f"""
import sys
from pathlib import Path
from pathlib import Path
from tests.train.making import HEAD, make_sample, tiny, train
home = Path({str(tmp_path)!r})
changes = ("model.backbone=efficientnet_lite0", "finetune.layers=all", "training.epochs=1")
train(tiny(HEAD, make_sample(home / "sample"), *changes), home).results
print([name for name in ("torch._dynamo", "sympy", "torchvision", "timm") if name in sys.modules])
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
