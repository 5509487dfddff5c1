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

_TORCH = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class BareStep:
    """As many steps as petbench's epoch has."""

    name = "bare step"

    def __init__(self, contest: Contest) -> None:
        terms, self._device = contest.terms, contest.device
        self._network = contest.fresh().train()
        self._optimizer = torch.optim.AdamW(self._network.parameters(), lr=LEARNING_RATE, fused=True)
        self._dtype = _TORCH[contest.precision.training]
        is_fp16 = self._dtype is torch.float16
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=is_fp16)
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
        is_low = self._dtype is not torch.float32
        with torch.autocast(self._device.type, self._dtype if is_low else None, enabled=is_low):
            logits = self._network(self._inputs)
        loss = F.cross_entropy(logits.float(), self._labels)
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self._scaler.step(self._optimizer)
        self._scaler.update()
