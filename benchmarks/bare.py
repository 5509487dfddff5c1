"""The limit: forward, backward and optimiser on one batch that stays in memory, written out plainly.

Nothing is loaded, augmented, counted or recorded. Arithmetic, memory layout and optimiser kernel are those
that petbench uses; the code is not.
"""

from __future__ import annotations

import math
import time

import torch
import torch.nn.functional as F

from benchmarks.contest import LEARNING_RATE, Contest
from benchmarks.ours import wait_for
from benchmarks.turns import Epoch, Turn


class BareStep:
    """As many steps as petbench's epoch has."""

    name = "bare step"

    def __init__(self, contest: Contest) -> None:
        terms, self._device = contest.terms, contest.device
        self._network = contest.fresh().train()
        self._optimizer = torch.optim.AdamW(self._network.parameters(), lr=LEARNING_RATE, fused=True)
        self._bf16 = contest.precision.training == "bf16"
        self._inputs = torch.rand(
            terms.batch_size, 3, terms.side, terms.side, device=self._device
        ).contiguous(memory_format=torch.channels_last)
        self._labels = torch.arange(terms.batch_size, device=self._device) % contest.tree.classes
        self._steps = max(1, terms.images // terms.batch_size)

    def epoch(self) -> Epoch:
        """Time the steps; there is nothing to validate."""
        wait_for(self._device)
        started = time.perf_counter()
        for _ in range(self._steps):
            self._step()
        wait_for(self._device)
        seconds = time.perf_counter() - started
        return Epoch(Turn(self._steps * len(self._labels), seconds), Turn(0, 0.0), math.nan)

    def _step(self) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16):
            logits = self._network(self._inputs)
        F.cross_entropy(logits.float(), self._labels).backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
