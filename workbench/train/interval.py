"""Steps between two looks at the device: the only time that the host waits for it."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from workbench.loader import Batch, PoolBatch
from workbench.support.spans import Part, span
from workbench.train.state import StageProgress
from workbench.train.step import Stepped

NOBODY = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Taken:
    """A step that the host has not looked at yet."""

    stepped: Stepped
    labelled: NDArray[np.int64]
    """Positions of its labelled images."""
    pool: NDArray[np.int64]
    """And of its unlabelled ones."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What an interval's steps came to."""

    steps: list[Taken]
    losses: list[float]
    right: float
    """How many first choices match the labelled targets'."""

    @property
    def images(self) -> int:
        """Labelled and unlabelled ones."""
        return sum(len(step.labelled) + len(step.pool) for step in self.steps)

    @property
    def loss(self) -> float:
        """The steps' mean."""
        return sum(self.losses) / len(self.losses)

    def count_into(self, progress: StageProgress, truth: NDArray[np.int64]) -> None:
        """Add the interval to its epoch.

        Args:
            truth: (N,) of all images; of the pool's it is read here alone, to score.
        """
        progress.count(self.losses, [len(step.labelled) for step in self.steps], self.right)
        for step in self.steps:
            pseudo = step.stepped.pseudo
            if pseudo is not None:
                weights = pseudo.weights.cpu().numpy().astype(np.float64)
                progress.count_pool(pseudo.labels.cpu().numpy(), weights, truth[step.pool])


class Interval:
    """Steps one after another since the last look."""

    def __init__(self) -> None:
        self._steps: list[Taken] = []
        self._started = time.monotonic()

    def __len__(self) -> int:
        return len(self._steps)

    @property
    def seconds(self) -> float:
        """Since the interval began."""
        return time.monotonic() - self._started

    def add(self, stepped: Stepped, batch: Batch, unlabelled: PoolBatch | None) -> None:
        """A step has been taken; nothing waits for it."""
        pool = NOBODY if unlabelled is None else unlabelled.positions
        self._steps.append(Taken(stepped, batch.positions, pool))

    def look(self) -> Seen:
        """Wait for the device, and read what the steps came to."""
        with span(Part.WAITING):
            losses = torch.stack([step.stepped.loss for step in self._steps]).tolist()
            right = float(torch.stack([step.stepped.right for step in self._steps]).sum())
        return Seen(self._steps, losses, right)
