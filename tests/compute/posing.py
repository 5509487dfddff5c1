"""A GPU that is not there: tensors on torch's "meta" device, which petbench takes for a GPU's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from tests.compute.queues import PosingLane, Queues
from workbench.compute.lanes import Fetched, HeldByHost

GIB = 2**30
POSER = torch.device("meta")


@dataclass
class PosingGpu:
    """An entry of the table of accelerators for `POSER`."""

    free: int = 16 * GIB
    native: tuple[str, ...] = ("bf16", "fp16", "tf32")
    released: int = 0
    """How often memory was given back."""
    seeds: list[int] = field(default_factory=list)
    word: str = "GPU"
    runs_ahead: bool = True
    has_own_memory: bool = True
    compiles: bool = True
    times_arithmetic: bool = False
    times_convolutions: bool = True
    queues: Queues = field(default_factory=Queues)
    fetches: Callable[[Tensor], Fetched] = HeldByHost
    """How a tensor comes to the host."""

    def count(self) -> int:
        """One."""
        return 1

    def label(self, device: torch.device) -> str:
        """Its name."""
        return "a GPU that is not there"

    def runtime(self) -> str:
        """As of a build for CUDA."""
        return "13.0"

    def free_bytes(self, device: torch.device) -> int:
        """As the test says."""
        return self.free

    def peak_bytes(self, device: torch.device) -> int:
        """Something."""
        return GIB

    def begin_peak(self, device: torch.device) -> None:
        """Nothing is measured."""

    def release(self, device: torch.device) -> None:
        """Noted."""
        self.released += 1

    def settle(self, device: torch.device) -> None:
        """Nothing is queued."""

    def seed(self, seed: int, device: torch.device) -> None:
        """Noted."""
        self.seeds.append(seed)

    def pinned(self, tensor: Tensor) -> Tensor:
        """Pinning needs a driver."""
        return tensor

    def lane(self, device: torch.device) -> PosingLane:
        """One for all."""
        return PosingLane(self.queues)

    def hold(self, tensor: Tensor) -> None:
        """Noted."""
        self.queues.hold(tensor)

    def fetch(self, tensor: Tensor) -> Fetched:
        """As the test says."""
        return self.fetches(tensor)

    def supports(self, dtype: Literal["bf16", "fp16", "tf32"], device: torch.device) -> bool:
        """As the test says."""
        return dtype in self.native

    def refusal(self, device: torch.device) -> str | None:
        """None."""
        return None

    def begin_world(self, device: torch.device) -> str | None:
        """It meets nobody."""
        return None
