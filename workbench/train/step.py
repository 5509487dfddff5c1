"""One optimiser step: the whole batch's gradient, in as many passes as the memory allows."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from workbench.loader import Batch
from workbench.runs.events import Message, Reporter
from workbench.support.errors import RunFailed
from workbench.train.objective import weighted_cross_entropy
from workbench.train.precision import Precision


class Stepper:
    """Computes a batch's gradient and takes the step.

    Out of memory halves the micro-batch and repeats the batch: the gradient stays that of the whole batch
    (batch norm alone sees smaller ones).
    """

    def __init__(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        precision: Precision,
        device: torch.device,
        reporter: Reporter,
        *,
        label_smoothing: float,
        on_features: bool,
        micro_batch: int,
    ) -> None:
        self.micro_batch = micro_batch
        self._module = module
        self._optimizer = optimizer
        self._precision = precision
        self._device = device
        self._reporter = reporter
        self._label_smoothing = label_smoothing
        self._on_features = on_features

    def step(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Take one optimiser step.

        Returns:
            loss () float32, the batch's weighted mean, and right () float32, how many first choices match the
            targets'; both stay on the device.

        Raises:
            RunFailed: out of memory with two or three images at a time.
        """
        while (done := self._try_gradient(batch)) is None:
            self._halve(len(batch.weights))
        self._optimizer.step()
        return done

    def _try_gradient(self, batch: Batch) -> tuple[Tensor, Tensor] | None:
        """`_gradient`, or None out of memory; by then the error has let go of the pass's tensors."""
        try:
            return self._gradient(batch)
        except torch.OutOfMemoryError:
            return None

    def _gradient(self, batch: Batch) -> tuple[Tensor, Tensor]:
        self._optimizer.zero_grad(set_to_none=True)
        passes = _passes(len(batch.weights), self.micro_batch)
        total_weight = batch.weights.sum()
        loss = torch.zeros((), device=self._device)
        right = torch.zeros((), device=self._device)
        for inputs, targets, weights in zip(
            batch.inputs.tensor_split(passes),
            batch.targets.tensor_split(passes),
            batch.weights.tensor_split(passes),
            strict=True,
        ):
            logits = self._forward(inputs)
            part = weighted_cross_entropy(
                logits, targets, weights, total_weight, label_smoothing=self._label_smoothing
            )
            part.backward()  # type: ignore[no-untyped-call]
            loss += part.detach()
            right += (logits.detach().argmax(dim=1) == targets.argmax(dim=1)).sum()
        return loss, right

    def _forward(self, inputs: Tensor) -> Tensor:
        if self._on_features:
            return self._module(inputs)  # type: ignore[no-any-return]
        with self._precision.autocast(self._device, "training"):
            return self._module(inputs)  # type: ignore[no-any-return]

    def _halve(self, batch_size: int) -> None:
        tried = min(self.micro_batch or batch_size, batch_size)
        size = tried // 2
        self._optimizer.zero_grad(set_to_none=True)
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


def _passes(images: int, micro_batch: int) -> int:
    """Parts of nearly equal size to cut a batch into; none gets a single image, as batch norm refuses it."""
    if not micro_batch:
        return 1
    return max(1, min(math.ceil(images / micro_batch), images // 2))
