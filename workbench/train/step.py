"""One optimiser step: the whole batch's gradient, in as many passes as the memory allows."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import NoReturn

import torch
from torch import Tensor, nn

from workbench.loader import Batch, PoolBatch
from workbench.runs.events import Message, Reporter
from workbench.support.errors import RunFailed
from workbench.support.spans import Part, span, spanned
from workbench.train.head import head_step
from workbench.train.objective import matches
from workbench.train.objectives import Clock, Labelled, Loss, Objective, Pseudo
from workbench.train.precision import Precision

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
    ) -> None:
        """`forward`: what computes the module's outputs, such as compiled code; None: the module."""
        self.micro_batch = micro_batch
        self._module = module
        self._forward = forward or module
        self._optimizer = optimizer
        self._precision = precision
        self._device = device
        self._reporter = reporter
        self._objective = objective
        self._on_features = on_features
        self._head = head_step(module, optimizer, objective) if on_features else None

    def step(self, batch: Batch, unlabelled: PoolBatch | None = None, clock: Clock = START) -> Stepped:
        """Take one optimiser step.

        Raises:
            RunFailed: out of memory with two or three images at a time, or with a batch that cannot be cut.
        """
        if self._head is not None and not self.micro_batch:
            # Out of memory, the long way knows what to do.
            with contextlib.suppress(torch.OutOfMemoryError), span(Part.OPTIMISER, "head step"):
                return Stepped(*self._head.step(batch))
        self._objective.begin_step(clock)
        while (done := self._try_gradient(batch, unlabelled)) is None:
            self._halve(len(batch.weights))
        self._move(len(batch.weights))
        return done

    @spanned(Part.OPTIMISER)
    def _move(self, batch_size: int) -> None:
        """The optimiser's step, and what the objective does after it."""
        self._optimizer.step()
        try:
            with self._arithmetic():
                self._objective.end_step(self._module)
        except torch.OutOfMemoryError:
            self._fail_whole(batch_size)

    def _try_gradient(self, batch: Batch, unlabelled: PoolBatch | None) -> Stepped | None:
        """`_gradient`, or None out of memory; by then the error has let go of the pass's tensors."""
        try:
            return self._gradient(batch, unlabelled)
        except torch.OutOfMemoryError:
            return None

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
            found.value.backward()  # type: ignore[no-untyped-call]
        return found

    def _arithmetic(self) -> contextlib.AbstractContextManager[None]:
        if self._on_features:
            return contextlib.nullcontext()
        return self._precision.autocast(self._device, "training")

    def _halve(self, batch_size: int) -> None:
        tried = min(self.micro_batch or batch_size, batch_size)
        size = tried // 2
        self._optimizer.zero_grad(set_to_none=True)
        if not self._objective.can_be_cut:
            self._fail_whole(batch_size)
        if size < 2:
            raise RunFailed(
                f"out of device memory with {tried} images at a time",
                advice="lower data.image_size, train fewer layers, or take a smaller backbone",
            )
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        self.micro_batch = size
        self._reporter.event(
            Message(
                "warning",
                f"out of device memory: going on with {size} images a pass; batches stay {batch_size}",
            )
        )

    def _fail_whole(self, batch_size: int) -> NoReturn:
        raise RunFailed(
            f"out of device memory with {batch_size} labelled images a step and their share of the pool",
            advice="lower training.batch_size, pseudo_label.unlabelled_ratio or data.image_size, "
            "or train fewer layers",
        )


def _passes(images: int, micro_batch: int) -> int:
    """Parts of nearly equal size to cut a batch into; none gets a single image, as batch norm refuses it."""
    if not micro_batch:
        return 1
    return max(1, min(math.ceil(images / micro_batch), images // 2))
