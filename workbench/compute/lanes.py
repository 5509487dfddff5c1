"""Work beside a device's usual queue: a lane for what is made ahead, and results on their way to the host.

CUDA calls a lane a stream and a mark an event. Where one queue makes what another uses, two rules hold: the
other first joins the maker's mark; and memory, which goes back to the queue that it came from, is let go of
only once that queue follows all that the other was given to do with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")

Mark = Any
"""A point in a lane, for the lane alone to know."""


class Lane(Protocol):
    """A queue beside the usual one of each thread."""

    def within(self) -> AbstractContextManager[Any]:
        """What this thread queues within goes into the lane."""

    def mark(self) -> Mark:
        """The point after all that the lane has been given so far."""

    def join(self, mark: Mark) -> None:
        """This thread's queue goes on after the mark; the host does not wait."""

    def follow(self) -> None:
        """The lane goes on after all that this thread's queue has been given so far."""


class Fetched(Protocol):
    """A tensor on its way to the host."""

    def wait(self) -> Tensor:
        """It, once it is there."""


class CudaLane:
    """A stream."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def within(self) -> AbstractContextManager[Any]:
        return torch.cuda.stream(self._stream)

    def mark(self) -> Mark:
        return self._stream.record_event()

    def join(self, mark: Mark) -> None:
        torch.cuda.current_stream(self._device).wait_event(mark)

    def follow(self) -> None:
        self._stream.wait_stream(torch.cuda.current_stream(self._device))


class CudaFetched:
    """Copied into pinned memory by the queue that made it."""

    def __init__(self, tensor: Tensor) -> None:
        self._copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        self._copy.copy_(tensor, non_blocking=True)
        # One that blocks: else the host would take a core to wait, which those who decode want.
        self._there = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        self._there.record(torch.cuda.current_stream(tensor.device))

    def wait(self) -> Tensor:
        self._there.synchronize()
        return self._copy


class HeldByHost:
    """Nothing is on its way: the host's own memory."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor

    def wait(self) -> Tensor:
        return self._tensor


BEHIND = 2
"""Results that the host leaves on their way: while it waits for one, the device has two batches to do."""


def in_turn(fetched: Iterable[tuple[Fetched, T]], behind: int) -> Iterator[tuple[Tensor, T]]:
    """Each tensor on the host, and what came with it, once `behind` more are on their way."""
    waiting: deque[tuple[Fetched, T]] = deque()
    for one in fetched:
        waiting.append(one)
        if len(waiting) > behind:
            first, beside = waiting.popleft()
            yield first.wait(), beside
    for last, beside in waiting:
        yield last.wait(), beside
