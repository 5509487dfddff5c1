"""The optimiser of a stage, and its state as named tensors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from workbench.recipe import Optimizer

Group = dict[str, Any]


def make_optimizer(knobs: Optimizer, groups: Iterable[Group]) -> torch.optim.Optimizer:
    """The fused optimiser over `groups`, each with `params`, `lr` and `weight_decay`.

    Each group also keeps its peak as `peak_lr`, since the schedule overwrites `lr`.
    """
    prepared = [{**group, "peak_lr": group["lr"]} for group in groups]
    if knobs.name == "adam":
        return torch.optim.Adam(prepared, lr=knobs.learning_rate, fused=True)
    if knobs.name == "adamw":
        return torch.optim.AdamW(prepared, lr=knobs.learning_rate, fused=True)
    momentum = knobs.momentum
    return torch.optim.SGD(
        prepared, lr=knobs.learning_rate, momentum=momentum, nesterov=momentum > 0, fused=True
    )


def set_rates(optimizer: torch.optim.Optimizer, multiplier: float) -> None:
    """Set every group's learning rate to its peak times `multiplier`."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * multiplier


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's per-parameter state as `index/name` tensors; rates follow from the step."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}/{name}": value
        for index, values in state.items()
        for name, value in values.items()
        if isinstance(value, Tensor)
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave, into an optimiser over the same groups."""
    whole = optimizer.state_dict()
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, name = key.split("/")
        state.setdefault(int(index), {})[name] = _laid_out_like(parameters[int(index)], tensor)
    optimizer.load_state_dict({"state": state, "param_groups": whole["param_groups"]})


def _laid_out_like(parameter: Tensor, value: Tensor) -> Tensor:
    """`value` in the parameter's memory format.

    Fused optimisers go through a parameter and its state in the order of memory: a channels-last weight with
    a plain momentum, as a file gives it back, would be updated with another element's momentum.
    """
    if value.shape != parameter.shape:
        return value
    return torch.empty_like(parameter, dtype=value.dtype, device=value.device).copy_(value)
