"""The optimiser of a stage, and its state as named tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from workbench.recipe import Optimizer

# torch's and fastai's one-cycle: 30 % of the way up from 1/25, then down to 1/25e4 of the peak (Smith 2018).
ONE_CYCLE_RISE = 0.3
ONE_CYCLE_START = 1 / 25
ONE_CYCLE_END = 1 / 25e4


def rate_multiplier(knobs: Optimizer, step: int, steps_per_epoch: int, epochs: int) -> float:
    """What the peak learning rate is multiplied by at `step` (from 0) of a stage of `epochs`."""
    total = steps_per_epoch * epochs
    if knobs.schedule == "one_cycle":
        return _one_cycle(step, total)
    warmup = round(knobs.warmup_epochs * steps_per_epoch)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if knobs.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))
    if knobs.schedule == "step":
        return float(knobs.step_factor ** (step // (knobs.step_epochs * steps_per_epoch)))
    return 1.0


def _one_cycle(step: int, total: int) -> float:
    peak = ONE_CYCLE_RISE * total - 1
    if step <= peak:
        return _cosine_between(ONE_CYCLE_START, 1.0, step / peak)
    return _cosine_between(1.0, ONE_CYCLE_END, min(1.0, (step - peak) / max(1.0, total - 1 - peak)))


def _cosine_between(start: float, end: float, share: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))


Group = dict[str, Any]


def make_optimizer(knobs: Optimizer, groups: Iterable[Group]) -> torch.optim.Optimizer:
    """The fused optimiser over `groups`, each with `params`, `lr` and `weight_decay`.

    Each group also keeps its peak as `peak_lr`, since the schedule overwrites `lr`.
    """
    leave_compiler_out()
    prepared = [{**group, "peak_lr": group["lr"]} for group in groups]
    if knobs.name == "adam":
        return torch.optim.Adam(prepared, lr=knobs.learning_rate, fused=True)
    if knobs.name == "adamw":
        return torch.optim.AdamW(prepared, lr=knobs.learning_rate, fused=True)
    momentum = knobs.momentum
    return torch.optim.SGD(
        prepared, lr=knobs.learning_rate, momentum=momentum, nesterov=momentum > 0, fused=True
    )


def leave_compiler_out() -> None:
    """Let optimisers be made and reset without torch's compiler, whose import takes about as long as torch's.

    Torch loads it at the first use of these methods, to tell it that it must not compile them.
    """
    for name in ("add_param_group", "load_state_dict", "state_dict", "zero_grad"):
        method = getattr(getattr(torch.optim.Optimizer, name), "__wrapped__", None)
        if method is not None and not hasattr(method, "__dynamo_disable"):
            setattr(method, "__dynamo_disable", method)


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


def begin_state(optimizer: torch.optim.Optimizer) -> None:
    """Make what the optimiser keeps of each parameter that has a gradient and no state yet, as it would.

    Made by its own `step`, group by group between updates, a state that finds no memory would leave some
    parameters updated and others not. Here nothing has changed when that is raised.

    Raises:
        torch.OutOfMemoryError: no room for it; what was made is taken back.
    """
    if not FusedUpdate.knows(optimizer):
        return
    made: list[Tensor] = []
    try:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None and not optimizer.state.get(parameter):
                    made.append(parameter)
                    first_state(optimizer, parameter, group)
    except RuntimeError:
        for parameter in made:
            optimizer.state.pop(parameter, None)
        raise


def first_state(optimizer: torch.optim.Optimizer, parameter: Tensor, group: Group) -> Group:
    """The parameter's state, as the optimiser begins it; a first momentum is the gradient, as from 0."""
    state: Group = optimizer.state[parameter]
    if not state and isinstance(optimizer, torch.optim.SGD):
        if group["momentum"]:
            state["momentum_buffer"] = torch.zeros_like(parameter)
    elif not state:
        begun = {
            "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
        }
        state.update(begun)  # all or nothing: the second may find no memory
    return state


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
    update, and loads torch's compiler. State is kept where the optimiser keeps it, so `optimizer_tensors` and
    `restore_optimizer` hold.

    Args:
        optimizer: of `make_optimizer`.
        gradients: the tensor that will hold each parameter's gradient, and other parameters stay as they are;
            None: the parameters' own, of those that have one.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, gradients: Mapping[Tensor, Tensor] | None = None
    ) -> None:
        self._optimizer = optimizer
        self._gradients = gradients
        self._updates: list[_GroupUpdate] = []

    @staticmethod
    def knows(optimizer: torch.optim.Optimizer) -> bool:
        """Whether this is an optimiser of `make_optimizer`."""
        return type(optimizer) in (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters by their gradients and the groups' present rates."""
        # Not before the first step: a resumed run's state is put back after the optimiser is made.
        if not self._updates or (self._gradients is None and not all(u.is_current for u in self._updates)):
            self._updates = [
                _GroupUpdate(self._optimizer, group, [p for p in group["params"] if self._has_gradient(p)])
                for group in self._optimizer.param_groups
            ]
        for update in self._updates:
            known = self._gradients
            update([p.grad if known is None else known[p] for p in update.parameters])

    def _has_gradient(self, parameter: Tensor) -> bool:
        return parameter.grad is not None if self._gradients is None else parameter in self._gradients


class _GroupUpdate:
    """The kernel's call for the parameters of a group that have gradients, with their state."""

    def __init__(self, optimizer: torch.optim.Optimizer, group: Group, parameters: list[Tensor]) -> None:
        self.parameters = parameters
        self._group = group
        self._others = len(group["params"]) - len(parameters)
        states = [first_state(optimizer, parameter, group) for parameter in parameters]
        self._kernel: Callable[[list[Any]], None]
        if isinstance(optimizer, torch.optim.SGD):
            self._buffers = [state["momentum_buffer"] for state in states if group["momentum"]]
            self._kernel = self._sgd
            return
        self._adam_kernel = torch._fused_adam_ if type(optimizer) is torch.optim.Adam else torch._fused_adamw_
        self._first, self._second, self._steps = (
            [state[name] for state in states] for name in ("exp_avg", "exp_avg_sq", "step")
        )
        self._kernel = self._adam

    @property
    def is_current(self) -> bool:
        """Whether the same parameters have gradients as when it was made."""
        without = sum(parameter.grad is None for parameter in self._group["params"])
        return without == self._others and all(p.grad is not None for p in self.parameters)

    def __call__(self, gradients: list[Any]) -> None:
        """Update the parameters, if there are any, by these gradients of theirs."""
        if self.parameters:
            self._kernel(gradients)

    def _sgd(self, gradients: list[Any]) -> None:
        group = self._group
        torch._fused_sgd_(
            self.parameters,
            gradients,
            self._buffers,
            lr=group["lr"],
            momentum=group["momentum"],
            weight_decay=group["weight_decay"],
            dampening=group["dampening"],
            nesterov=group["nesterov"],
            maximize=False,
            is_first_step=False,
        )

    def _adam(self, gradients: list[Any]) -> None:
        group = self._group
        low, high = group["betas"]
        torch._foreach_add_(self._steps, 1)
        self._adam_kernel(
            self.parameters,
            gradients,
            self._first,
            self._second,
            [],
            self._steps,
            lr=group["lr"],
            beta1=low,
            beta2=high,
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )
