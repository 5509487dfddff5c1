"""The peers that are loops of their own, as sides: each trains in a process that is not petbench's."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from benchmarks.contest import Start
from benchmarks.turns import Epoch, Turn
from benchmarks.worker import Worker


class LoopSide:
    """A loop by its kind: `plain` (fp32), `plain-amp` or `timm`; its process ends with `close`.

    Args:
        folder: for the start it is given and its log.
    """

    def __init__(self, kind: str, start: Start, folder: Path) -> None:
        names = {
            "plain": "plain loop, fp32",
            "plain-amp": "plain loop, autocast bf16",
            "timm": f"timm pipeline, {start.training}",
        }
        self.name = names[kind]
        pickled = folder / f"{kind}-start.pt"
        torch.save(start, pickled)
        command = [sys.executable, "-m", "benchmarks.peers.loop_worker", kind, str(pickled)]
        self._worker = Worker(command, folder / f"{kind}.log")

    def epoch(self) -> Epoch:
        """Train and validate once more."""
        told = self._worker.ask("epoch")
        return Epoch(Turn(*told["training"]), Turn(*told["validation"]), told["accuracy"])

    def close(self) -> None:
        """End the process."""
        self._worker.close()
