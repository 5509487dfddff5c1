"""The optimiser of a stage, and its state as named tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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


class FusedUpdate:
    """An optimiser's own fused kernel, on tensors that were gathered once.

    `optimizer.step` looks at every parameter of every group anew, which takes longer than a small layer's
    update. State is kept where the optimiser keeps it, so `optimizer_tensors` and `restore_optimizer` hold.

    Args:
        optimizer: of `make_optimizer`.
        gradients: the tensor that will hold each parameter's gradient; other parameters stay as they are.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, gradients: Mapping[Tensor, Tensor]) -> None:
        self._optimizer = optimizer
        self._gradients = gradients
        self._calls: list[Callable[[], None]] | None = None

    @staticmethod
    def knows(optimizer: torch.optim.Optimizer) -> bool:
        """Whether this is an optimiser of `make_optimizer`."""
        return type(optimizer) in (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)

    def step(self) -> None:
        """Update the parameters by their gradients and the groups' present rates."""
        if self._calls is None:
            # Not before the first step: a resumed run's state is put back after the optimiser is made.
            self._calls = [
                self._call(group, members)
                for group in self._optimizer.param_groups
                if (members := [p for p in group["params"] if p in self._gradients])
            ]
        for call in self._calls:
            call()

    def _call(self, group: Group, parameters: list[Tensor]) -> Callable[[], None]:
        gradients = [self._gradients[parameter] for parameter in parameters]
        states = [self._state(parameter, group) for parameter in parameters]
        if isinstance(self._optimizer, torch.optim.SGD):
            buffers = [state["momentum_buffer"] for state in states if group["momentum"]]
            return lambda: torch._fused_sgd_(
                parameters,
                gradients,
                buffers,
                lr=group["lr"],
                momentum=group["momentum"],
                weight_decay=group["weight_decay"],
                dampening=group["dampening"],
                nesterov=group["nesterov"],
                maximize=False,
                is_first_step=False,
            )
        kernel = torch._fused_adam_ if type(self._optimizer) is torch.optim.Adam else torch._fused_adamw_
        first, second, steps = (
            [state[name] for state in states] for name in ("exp_avg", "exp_avg_sq", "step")
        )
        low, high = group["betas"]

        def call() -> None:
            torch._foreach_add_(steps, 1)
            kernel(
                parameters,
                gradients,
                first,
                second,
                [],
                steps,
                lr=group["lr"],
                beta1=low,
                beta2=high,
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                amsgrad=False,
                maximize=False,
            )

        return call

    def _state(self, parameter: Tensor, group: Group) -> Group:
        """The parameter's state, as the optimiser begins it; a first momentum is the gradient, as from 0."""
        state: Group = self._optimizer.state[parameter]
        if not state and isinstance(self._optimizer, torch.optim.SGD):
            if group["momentum"]:
                state["momentum_buffer"] = torch.zeros_like(parameter)
        elif not state:
            state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        return state
