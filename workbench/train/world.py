"""The processes that train one run together: what they add up, gather and agree on. One process is alone.

Every process does the same work on the same seeds, but for what is cut over them: a step's forward and
backward passes, and inference. So all of them come to each meeting in the same order; whoever ends on the way
ends the others, too.

Tensors on a device meet by way of NCCL, those of a CPU and all that hosts agree on by way of gloo.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from workbench.compute import accelerator_of, is_out_of_device_memory
from workbench.support.ranks import Rank

T = TypeVar("T")
Group = Any
"""A `ProcessGroup`, as the functions of `torch.distributed` take and give it; None of one that is alone."""

PATIENCE = timedelta(days=7)
"""How long a process waits for another, which may be decoding a million images. One that ends is noticed at
once."""


class PeerLost(Exception):
    """Another process of the run has ended, or cannot be reached any more."""


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """All processes of a run, as one of them sees them.

    Whatever is called here is called by all of them, in the same order. Alone, each call gives back what it
    was given. Raises, wherever processes meet: PeerLost.
    """

    rank: int = 0
    """From 0: the first writes and speaks for the run."""
    size: int = 1
    hosts: Group = None
    """Joins the hosts' memories."""
    devices: Group = None
    """Joins the devices' memories."""

    def __deepcopy__(self, memo: object) -> World:
        return self

    @property
    def is_alone(self) -> bool:
        """Whether there is no other process."""
        return self.size == 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes and speaks for the run."""
        return self.rank == 0

    def share(self, count: int, grain: int = 1) -> slice:
        """Which of `count` things, dealt out in whole grains and in their order, are this process's."""
        return self.share_of(self.rank, count, grain)

    def share_of(self, rank: int, count: int, grain: int = 1) -> slice:
        """Likewise of another process."""
        grains = -(-count // grain)
        each, more = divmod(grains, self.size)
        start = rank * each + min(rank, more)
        stop = start + each + (rank < more)
        return slice(min(count, start * grain), min(count, stop * grain))

    def sum(self, tensor: Tensor) -> Tensor:
        """`tensor`, which becomes the sum of all processes', the same bits in each."""
        if not self.is_alone:
            with _meeting():
                dist.all_reduce(tensor, group=self._group(tensor))
        return tensor

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Every parameter's gradient becomes the sum of all processes', by one meeting.

        Args:
            parameters: those that have a gradient in one process have one in all.
        """
        if self.is_alone:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        if gradients:
            summed = self.sum(torch.cat([gradient.reshape(-1) for gradient in gradients]))
            sizes = [gradient.numel() for gradient in gradients]
            for gradient, part in zip(gradients, torch.split(summed, sizes), strict=True):
                gradient.copy_(part.view(gradient.shape))

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """What each process gave, by rank; of one shape and dtype in all of them."""
        if self.is_alone:
            return [tensor]
        tensor = tensor.contiguous()
        found = [torch.empty_like(tensor) for _ in range(self.size)]
        with _meeting():
            dist.all_gather(found, tensor, group=self._group(tensor))
        return found

    def join(self, rows: NDArray[Any]) -> NDArray[Any]:
        """(Σ K, …) the rows (K, …) of all processes, by rank; K may differ."""
        if self.is_alone:
            return rows
        counts = [int(count) for count in self.gather(torch.tensor(len(rows)))]
        padded = np.zeros((max(counts), *rows.shape[1:]), dtype=rows.dtype)
        padded[: len(rows)] = rows
        found = self.gather(torch.from_numpy(padded))
        return np.concatenate([part.numpy()[:count] for part, count in zip(found, counts, strict=True)])

    def values(self, value: T) -> list[T]:
        """What each process gave, by rank; anything that can be pickled."""
        if self.is_alone:
            return [value]
        found: list[Any] = [None] * self.size
        with _meeting():
            dist.all_gather_object(found, value, group=self.hosts)
        return found

    def agree(self, make: Callable[[], T]) -> T:
        """What the first process makes, for all of them; anything that can be pickled."""
        if self.is_alone:
            return make()
        made: list[Any] = [make() if self.is_first else None]
        with _meeting():
            dist.broadcast_object_list(made, src=0, group=self.hosts, device=torch.device("cpu"))
        found: T = made[0]
        return found

    def follow(self, tensors: Iterable[Tensor]) -> None:
        """Every tensor becomes the first process's."""
        if self.is_alone:
            return
        with _meeting(), torch.no_grad():
            for tensor in tensors:
                own = tensor.contiguous()  # a channels-last weight is sent in the order of its axes
                dist.broadcast(own, src=0, group=self._group(own))
                if own is not tensor:
                    tensor.copy_(own)

    def any(self, asked: bool) -> bool:
        """Whether any process says so; the hosts meet, and no device is waited for."""
        if self.is_alone:
            return asked
        return bool(self.sum(torch.tensor(int(asked))).item())

    def barrier(self) -> None:
        """Wait until all are here."""
        if not self.is_alone:
            with _meeting():
                dist.barrier(group=self.hosts)

    def _group(self, tensor: Tensor) -> Group:
        return self.devices if accelerator_of(tensor.device).has_own_memory else self.hosts


ALONE = World()


@contextlib.contextmanager
def joined(rank: Rank | None, device: torch.device) -> Iterator[World]:
    """The world of this process for the duration.

    Args:
        rank: its own, where its environment says where the others are; None: it is alone.
        device: what it computes on.

    Raises:
        PeerLost: the others did not come.
    """
    if rank is None:
        yield ALONE
        return
    with _meeting():
        dist.init_process_group("gloo", rank=rank.number, world_size=rank.size, timeout=PATIENCE)
    try:
        hosts = dist.group.WORLD
        own = accelerator_of(device)
        backend = own.begin_world(device)
        devices = hosts if backend is None else dist.new_group(backend=backend)
        yield World(rank.number, rank.size, hosts, devices)
    finally:
        dist.destroy_process_group()


@contextlib.contextmanager
def _meeting() -> Iterator[None]:
    """What gloo and NCCL say of a connection that broke is no fault of this process."""
    try:
        yield
    except RuntimeError as error:  # torch.distributed.DistError among them
        if is_out_of_device_memory(error):
            raise
        raise PeerLost("another process of the run has ended, or cannot be reached any more") from error
