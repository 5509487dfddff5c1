"""What the two peers that are loops of their own share: a network that learns from a DataLoader."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.contest import Start
from benchmarks.ours import wait_for
from benchmarks.turns import Epoch, Turn
from workbench.model import ImageClassifier

Loader = Iterable[tuple[Tensor, Tensor]]


class StepStyle(Protocol):
    """How a peer takes one step."""

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        """Forward, backward, optimiser, and what it counts as it goes."""


@dataclass(slots=True)
class LoaderSide:
    """A peer: batches from loaders with worker processes, its own step, validation after each epoch."""

    network: ImageClassifier
    training: Loader
    validation: Loader
    step: StepStyle
    device: torch.device
    bf16: bool
    channels_last: bool

    def epoch(self) -> Epoch:
        """Train and validate once more."""
        wait_for(self.device)
        started = time.perf_counter()
        trained_images = 0
        self.network.train()
        for images, labels in self.training:
            self.step(*self._placed(images, labels))
            trained_images += len(labels)
        wait_for(self.device)
        trained = time.perf_counter()
        right, seen = self._validate()
        training = Turn(trained_images, trained - started)
        return Epoch(training, Turn(seen, time.perf_counter() - trained), right / max(1, seen))

    @torch.inference_mode()
    def _validate(self) -> tuple[int, int]:
        """(right, seen)."""
        self.network.eval()
        right, seen = torch.zeros((), dtype=torch.int64, device=self.device), 0
        for images, labels in self.validation:
            images, labels = self._placed(images, labels)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
                logits = self.network(images)
            right += (logits.argmax(dim=1) == labels).sum()
            seen += len(labels)
        return int(right), seen

    def _placed(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        images = images.to(self.device, non_blocking=True)
        if self.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        return images, labels.to(self.device, non_blocking=True)


def network_of(start: Start, *, channels_last: bool) -> ImageClassifier:
    """The common start in the peer's memory layout."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return start.fresh().to(memory_format=layout)


def loss_of(network: ImageClassifier, images: Tensor, labels: Tensor, *, bf16: bool) -> tuple[Tensor, Tensor]:
    """(loss, logits)."""
    with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
        logits: Tensor = network(images)
        return F.cross_entropy(logits, labels), logits
