"""Too little memory on the device: what a run makes do with, and who else holds it.

What is too much at once is halved: a step's passes (`Stepper`), inference's (`Passes`). What only saves time
is given up: batches drawn ahead, decoded images near the device. What is left is said.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from workbench.compute import accelerator_of, is_out_of_device_memory
from workbench.jobs.lease import others_on
from workbench.runs.events import Message, Reporter
from workbench.support.errors import RunFailed

T = TypeVar("T")


KEPT_SHARE = 0.25
"""Most of the memory that is free which features may take: they are held up to three times over while a head
trains."""


def has_room(nbytes: int, device: torch.device) -> bool:
    """Whether so many bytes may be held with the host, and on the device beside it. No result hangs on it."""
    free = min(accelerator_of(one).free_bytes(one) for one in (torch.device("cpu"), device))
    return nbytes <= KEPT_SHARE * free


class NoRoom(Exception):
    """The device has no memory for a batch that was to be drawn."""


def drawn(batches: Iterator[T]) -> Iterator[T]:
    """The batches. Raises: NoRoom, in the place of one that the device has no memory for."""
    while True:
        try:
            batch = next(batches)
        except StopIteration:
            return
        except RuntimeError as error:
            if not is_out_of_device_memory(error):
                raise
            raise NoRoom from error
        yield batch


def unless_out_of_memory(work: Callable[[], T]) -> T | None:
    """What `work` returns; None where the device's memory was used up: what it held is free again by then."""
    try:
        return work()
    except RuntimeError as error:
        if not is_out_of_device_memory(error):
            raise
        return None


def others_hold(device: torch.device) -> str:
    """Who else has how much of the device's memory, to end a piece of advice; "" where nobody is seen."""
    if not accelerator_of(device).has_own_memory:
        return ""
    found = others_on(str(device), own={os.getpid()})
    return f"; its memory is also held by {found}" if found else ""


def out_of_memory_for_one(device: torch.device) -> RunFailed:
    """What to raise where inference finds no room for a single image."""
    return RunFailed(
        "out of device memory with one image at a time in inference",
        advice=f"lower data.image_size, or take a smaller backbone{others_hold(device)}",
    )


class Passes:
    """How many images an inference pass takes: as many as there is memory for, once that was short.

    Args:
        size: at first.
        give_up: lets go of what only saves time.
    """

    def __init__(
        self, size: int, device: torch.device, reporter: Reporter, give_up: Callable[[], None] = lambda: None
    ) -> None:
        self.size = size
        self._device, self._reporter, self._give_up = device, reporter, give_up

    def within(self, work: Callable[[int], T], images: int) -> T:
        """What `work` returns, given the images a pass; begun anew with half of them as often as it takes.

        Args:
            images: how many there are in all.

        Raises:
            RunFailed: out of memory with one image a pass.
        """
        while True:
            done = unless_out_of_memory(lambda: (work(self.size),))
            if done is not None:
                return done[0]
            self._halve(min(self.size, images))

    def _halve(self, tried: int) -> None:
        if tried == 1:
            raise out_of_memory_for_one(self._device)
        self.size = tried // 2
        self._give_up()
        accelerator_of(self._device).release(self._device)
        text = f"out of device memory: inference goes on with {self.size} images a pass"
        self._reporter.event(Message("warning", text))
