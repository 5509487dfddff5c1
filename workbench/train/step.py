"""One optimiser step: the whole batch's gradient, in as many passes as the memory allows."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, NoReturn

import torch
from torch import Tensor, nn

from workbench.compute import accelerator_of
from workbench.loader import Batch, PoolBatch
from workbench.runs.events import Message, Reporter
from workbench.support.errors import RunFailed
from workbench.support.spans import Part, span, spanned
from workbench.train.loss_scale import LossScale
from workbench.train.memory import others_hold, unless_out_of_memory
from workbench.train.objective import matches
from workbench.train.objectives import Clock, Labelled, Loss, Objective, Pseudo, Supervised
from workbench.train.optim import FusedUpdate, begin_state
from workbench.train.precision import Precision
from workbench.train.shared_pass import ELSEWHERE, SharedPass, meeting_failed
from workbench.train.world import ALONE, World


class HeadStep:
    """Takes the optimiser's step of softmax cross-entropy on a dropout and a linear layer.

    Args:
        head: dropout, then linear; both of the layer's tensors learn.
        optimizer: over the head's parameters, and others that are left alone.
        label_smoothing: as in `weighted_cross_entropy`.
        logit_offsets: as in `Supervised`.
    """

    def __init__(
        self,
        head: nn.Sequential,
        optimizer: torch.optim.Optimizer,
        label_smoothing: float,
        logit_offsets: Tensor | None = None,
    ) -> None:
        dropout, linear = head
        assert isinstance(dropout, nn.Dropout)
        assert isinstance(linear, nn.Linear)
        self._dropout, self._linear = dropout, linear
        self._smoothing = label_smoothing
        self._offsets = logit_offsets
        self._gradients = (torch.empty_like(linear.weight), torch.empty_like(linear.bias))
        parameters = dict(zip((linear.weight, linear.bias), self._gradients, strict=True))
        self._update = FusedUpdate(optimizer, parameters)

    @torch.no_grad()
    def step(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Returns: the batch's loss () float32, and how many first choices are the targets', () int64.

        Raises:
            torch.OutOfMemoryError: before anything has changed.
        """
        weight, bias = self._linear.weight, self._linear.bias
        inputs, targets = batch.inputs, batch.targets.t()  # (B, D), (C, B)
        if self._dropout.p and self._dropout.training:
            inputs = torch.dropout(inputs, self._dropout.p, True)
        given = targets
        if self._smoothing:
            given = targets * (1 - self._smoothing) + self._smoothing / len(targets)
        logits = torch.addmm(bias.unsqueeze(1), weight, inputs.t())  # (C, B)
        adjusted = logits if self._offsets is None else logits + self._offsets.unsqueeze(1)
        log_shares = torch.log_softmax(adjusted, dim=0)
        # Σ w·H(y, p) / W is a sum over towards · log p, and its gradient by log p is `towards` itself.
        towards = given * (batch.weights / -batch.total_weight)
        loss = (towards * log_shares).sum()
        right = (logits.argmax(dim=0) == targets.argmax(dim=0)).sum()
        towards = torch._log_softmax_backward_data(towards, log_shares, 0, torch.float32)
        torch.mm(towards, inputs, out=self._gradients[0])
        torch.sum(towards, dim=1, out=self._gradients[1])
        self._update.step()
        return loss, right


def head_step(module: nn.Module, optimizer: torch.optim.Optimizer, objective: Objective) -> HeadStep | None:
    """The short way for a head that learns given labels by `optimizer`; None where there is none."""
    if not isinstance(objective, Supervised) or not objective.is_cross_entropy:
        return None
    if not isinstance(module, nn.Sequential) or [type(layer) for layer in module] != [nn.Dropout, nn.Linear]:
        return None
    if not FusedUpdate.knows(optimizer) or not all(p.requires_grad for p in module.parameters()):
        return None
    return HeadStep(module, optimizer, objective.label_smoothing, objective.logit_offsets)


_LESS = {
    "pass": "lower data.image_size, train fewer layers, or take a smaller backbone",
    "batch": "lower training.batch_size, pseudo_label.unlabelled_ratio or data.image_size, "
    "or train fewer layers",
    "optimiser": 'train fewer layers, take a smaller backbone, or optimizer.name = "sgd", which keeps half',
}
"""What needs less memory."""

START = Clock(step=0, steps=1, rate=1.0)


@dataclass(frozen=True, slots=True)
class Stepped:
    """What a step says of itself; all tensors stay on the device."""

    loss: Tensor
    """() float32, of the whole batch."""
    right: Tensor
    """() float32, how many first choices match the labelled targets'."""
    pseudo: Pseudo | None = None
    """What the unlabelled batch was taught."""
    skipped: Tensor | None = None
    """() bool, whether it changed nothing, since a scaled gradient overflowed; None where none is scaled."""


class Stepper:
    """Computes a batch's gradient and takes the step.

    Out of memory halves the micro-batch and repeats the batch: the gradient stays that of the whole batch
    (batch norm alone sees smaller ones). An objective whose loss does not add up in parts gets no such help.
    """

    def __init__(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        precision: Precision,
        device: torch.device,
        reporter: Reporter,
        objective: Objective,
        *,
        on_features: bool,
        micro_batch: int,
        forward: nn.Module | None = None,
        scale: LossScale | None = None,
        make_room: Callable[[], bool] = lambda: False,
        world: World = ALONE,
    ) -> None:
        """Make one.

        Args:
            forward: what computes the module's outputs, such as compiled code; None: the module.
            scale: of the loss, where fp16 wants one.
            make_room: gives up what only saves time, and returns whether there was any.
            world: the processes that `forward` shares a batch with; each has the gradient of its own rows.
        """
        self.micro_batch = micro_batch
        self._module = module
        self._forward = forward or module
        self._optimizer = optimizer
        self._precision = precision
        self._device = device
        self._reporter = reporter
        self._objective = objective
        self._on_features = on_features
        self._scale, self._make_room, self._world = scale, make_room, world
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self._update = FusedUpdate(optimizer) if FusedUpdate.knows(optimizer) else None
        self._head = head_step(module, optimizer, objective) if on_features else None
        self._meets_within = isinstance(forward, SharedPass) and forward.meets_within

    def step(self, batch: Batch, unlabelled: PoolBatch | None = None, clock: Clock = START) -> Stepped:
        """Take one optimiser step.

        Raises:
            RunFailed: out of memory with two or three images at a time, or with a batch that cannot be cut.
        """
        if self._head is not None and not self.micro_batch:
            # Out of memory, the long way knows what to do.
            with span(Part.OPTIMISER, "head step"):
                taken = unless_out_of_memory(partial(self._head.step, batch))
            if taken is not None:
                return Stepped(*taken)
        self._objective.begin_step(clock)
        # By the time that there is nothing the error has let go of the pass's tensors.
        while (done := unless_out_of_memory(partial(self._gradient, batch, unlabelled))) is None:
            self._halve(len(batch.weights))
        self._world.sum_gradients(self._parameters)
        self._move(len(batch.weights))
        return done if self._scale is None else replace(done, skipped=self._scale.skipped)

    @spanned(Part.OPTIMISER)
    def _move(self, batch_size: int) -> None:
        """The optimiser's step, and what the objective does after it."""
        while unless_out_of_memory(self._begin_state) is None:
            if not self._make_room():
                self._fail("out of device memory for what the optimiser keeps of each weight", "optimiser")
        if self._scale is not None:
            self._scale.step(self._optimizer)
        elif self._update is not None:
            self._update.step()
        else:
            self._optimizer.step()
        if unless_out_of_memory(self._end_step) is None:
            self._fail_whole(batch_size)

    def _begin_state(self) -> bool:
        begin_state(self._optimizer)
        return True

    def _end_step(self) -> bool:
        with self._arithmetic():
            self._objective.end_step(self._module)
        return True

    def _gradient(self, batch: Batch, unlabelled: PoolBatch | None) -> Stepped:
        self._optimizer.zero_grad(set_to_none=True)
        total_weight = batch.total_weight
        if not self._objective.can_be_cut:
            whole = Labelled(batch.inputs, batch.targets, batch.weights, total_weight, batch.heads)
            found = self._backward(whole, unlabelled)
            right = matches(found.logits.detach(), batch.targets).sum()
            return Stepped(found.value.detach(), right, found.pseudo)
        passes = _passes(len(batch.weights), self.micro_batch)
        loss = torch.zeros((), device=self._device)
        right = torch.zeros((), device=self._device)
        for inputs, targets, weights, heads in zip(
            batch.inputs.tensor_split(passes),
            batch.targets.tensor_split(passes),
            batch.weights.tensor_split(passes),
            [None] * passes if batch.heads is None else batch.heads.split(passes),
            strict=True,
        ):
            part = self._backward(Labelled(inputs, targets, weights, total_weight, heads), None)
            loss += part.value.detach()
            right += matches(part.logits.detach(), targets).sum()
        return Stepped(loss, right)

    def _backward(self, labelled: Labelled, unlabelled: PoolBatch | None) -> Loss:
        with span(Part.FORWARD), self._arithmetic():
            found = self._objective.loss(self._forward, labelled, unlabelled)
        with span(Part.BACKWARD):
            value = found.value if self._scale is None else self._scale.scaled(found.value)
            self._differentiate(value)
        return found

    def _differentiate(self, value: Tensor) -> None:
        """Raises: torch.OutOfMemoryError, in every process of the world if in one."""
        if self._world.is_alone:
            value.backward()  # type: ignore[no-untyped-call]
            return
        done = unless_out_of_memory(lambda: (value.backward(),))  # type: ignore[no-untyped-call]
        if done is None and self._meets_within:
            raise meeting_failed()
        if self._world.any(done is None):
            raise torch.OutOfMemoryError(ELSEWHERE)

    def _arithmetic(self) -> contextlib.AbstractContextManager[None]:
        if self._on_features:
            return contextlib.nullcontext()
        return self._precision.autocast(self._device, "training")

    def _halve(self, batch_size: int) -> None:
        tried = min(self.micro_batch or batch_size, batch_size)
        size = tried // 2
        self._optimizer.zero_grad(set_to_none=True)
        if (size < 2 or not self._objective.can_be_cut) and self._world.any(self._make_room()):
            return
        if not self._objective.can_be_cut:
            self._fail_whole(batch_size)
        if size < 2:
            self._fail(f"out of device memory with {tried} images at a time", "pass")
        accelerator_of(self._device).release(self._device)
        self.micro_batch = size
        self._reporter.event(
            Message(
                "warning",
                f"out of device memory: going on with {size} images a pass; batches stay {batch_size}",
            )
        )

    def _fail_whole(self, batch_size: int) -> NoReturn:
        reason = f"out of device memory with {batch_size} labelled images a step and their share of the pool"
        self._fail(reason, "batch")

    def _fail(self, reason: str, want: Literal["pass", "batch", "optimiser"]) -> NoReturn:
        raise RunFailed(reason, advice=_LESS[want] + others_hold(self._device))


def _passes(images: int, micro_batch: int) -> int:
    """Parts of nearly equal size to cut a batch into; none gets a single image, as batch norm refuses it."""
    if not micro_batch:
        return 1
    return max(1, min(math.ceil(images / micro_batch), images // 2))
