"""A network whose passes are cut over the processes of a run: each takes its rows, all see all outputs.

So a loss is computed on the whole batch, whatever it is, in every process alike. Its gradient flows back
through a process's own rows alone: summed over the processes it is what one of them would have found.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from workbench.support.errors import RunFailed
from workbench.train.host import seed_device, seed_of
from workbench.train.memory import unless_out_of_memory
from workbench.train.world import World

ELSEWHERE = "a process of the run is out of device memory"
_SEEDS = 2**62


class SharedPass(nn.Module):
    """`network`, of whose every batch this process takes its share.

    Parameters, buffers and their names are the network's own; nothing here is saved. Dropout is a function of
    torch's seed and the rank; afterwards the generators stand alike in all processes.

    Args:
        mixes_batch: batch norms learn statistics: they are those of the whole batch.
    """

    def __init__(self, network: nn.Module, world: World, *, mixes_batch: bool) -> None:
        super().__init__()
        self._network, self._world = network, world
        self.meets_within = mixes_batch
        """Processes wait for each other within a pass."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs (B, C) float32 of the whole batch (B, …).

        Raises:
            torch.OutOfMemoryError: in all processes, if any has no room for its share.
            RunFailed: this one has none, and the others wait for its part of a batch norm.
        """
        world, count = self._world, len(inputs)
        rows = world.share(count)

        def own() -> Tensor:
            # The rows may be drawn here only. Of a batch too short for all there is one that counts for none.
            found: Tensor = self._network(inputs[rows] if rows.stop > rows.start else inputs[:1])
            return found

        meets = self.meets_within and self.training
        with self._own_noise(inputs.device), _statistics(world, count) if meets else contextlib.nullcontext():
            found = unless_out_of_memory(own)
        if found is None and meets:
            raise meeting_failed()
        if world.any(found is None):
            raise torch.OutOfMemoryError(ELSEWHERE)
        assert found is not None
        return _whole(found.float()[: rows.stop - rows.start], world, count)

    @contextlib.contextmanager
    def _own_noise(self, device: torch.device) -> Iterator[None]:
        if not self.training:
            yield
            return
        seed = int(torch.randint(_SEEDS, ()))  # drawn alike in all processes
        seed_device(seed_of(seed, self._world.rank), device)
        try:
            yield
        finally:
            seed_device(seed_of(seed, "after"), device)


def meeting_failed() -> RunFailed:
    """What to raise where memory ran out while other processes wait for a part of theirs."""
    return RunFailed(
        "out of device memory within a pass that processes take together",
        advice="lower training.batch_size or data.image_size, or freeze the batch norms' statistics",
    )


def _whole(own: Tensor, world: World, count: int) -> Tensor:
    """(B, C) the outputs of all processes in the order of rows; a gradient flows to this one's alone."""
    shares = [world.share_of(rank, count) for rank in range(world.size)]
    padded = own.new_zeros(max(share.stop - share.start for share in shares), *own.shape[1:])
    padded[: len(own)] = own.detach()
    parts = world.gather(padded)
    return torch.cat(
        [
            own if rank == world.rank else part[: share.stop - share.start]
            for rank, (part, share) in enumerate(zip(parts, shares, strict=True))
        ]
    )


def _statistics(world: World, count: int) -> _SummedStatistics:
    shares = [world.share_of(rank, count) for rank in range(world.size)]
    return _SummedStatistics(world, [share.stop - share.start for share in shares])


class _SummedStatistics(TorchFunctionMode):
    """Within it batch norms that learn statistics take those of all processes' rows.

    Whatever the layer: all of torch's, torchvision's and timm's go through `functional.batch_norm`.

    Args:
        rows: how many images each process really has; of none it has one that counts for nothing.
    """

    def __init__(self, world: World, rows: Sequence[int]) -> None:
        super().__init__()
        self._world, self._rows = world, rows

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """The function's own result, but of a batch norm."""
        if function is F.batch_norm:
            return self._batch_norm(*args, **(kwargs or {}))
        return function(*args, **(kwargs or {}))

    def _batch_norm(
        self,
        input: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        if not training:
            return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
        values = input.shape[2:].numel()
        counts = [rows * values for rows in self._rows]
        found, mean, variance = _Normalised.apply(input, self._world, counts, eps)
        total = sum(counts)
        with torch.no_grad():
            if running_mean is not None:
                running_mean.lerp_(mean, momentum)
            if running_var is not None:
                running_var.lerp_(variance * (total / (total - 1)), momentum)
        shape = (1, -1, *[1] * (input.ndim - 2))
        if weight is not None:
            found = found * weight.view(shape)
        if bias is not None:
            found = found + bias.view(shape)
        cast: Tensor = found.to(input.dtype)
        return cast


class _Normalised(torch.autograd.Function):
    """(x − μ)/√(σ² + ε), of all processes' values (Ioffe and Szegedy 2015, Alg. 1)."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        world: World,
        counts: list[int],
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Also μ and σ² (C,) float32.

        Args:
            inputs: (B, C, …) of this process.
            counts: values a channel of each process.
        """
        axes = [0, *range(2, inputs.ndim)]
        variance, mean = torch.var_mean(inputs.float(), axes, correction=0)
        parts = torch.stack(world.gather(torch.stack([mean, variance])))  # (ranks, 2, C)
        shares = torch.tensor(counts, dtype=torch.float32, device=inputs.device)[:, None] / sum(counts)
        mean = (shares * parts[:, 0]).sum(dim=0)
        variance = (shares * (parts[:, 1] + (parts[:, 0] - mean).square())).sum(dim=0)
        shape = (1, -1, *[1] * (inputs.ndim - 2))
        scale = torch.rsqrt(variance + eps)
        found = (inputs.float() - mean.view(shape)) * scale.view(shape)
        ctx.save_for_backward(found, scale)
        ctx.world, ctx.total, ctx.counts = world, sum(counts), counts[world.rank] > 0
        ctx.dtype = inputs.dtype
        ctx.mark_non_differentiable(mean, variance)
        return found, mean, variance

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Every value moves mean and variance, and thereby what all processes' values become."""
        found, scale = ctx.saved_tensors
        gradient = gradients[0].float()
        axes = [0, *range(2, gradient.ndim)]
        shape = (1, -1, *[1] * (gradient.ndim - 2))
        sums = torch.stack([gradient.sum(axes), (gradient * found).sum(axes)])
        sums = ctx.world.sum(sums) / ctx.total
        if not ctx.counts:
            return torch.zeros_like(found, dtype=ctx.dtype), None, None, None
        through = gradient - sums[0].view(shape) - found * sums[1].view(shape)
        return (through * scale.view(shape)).to(ctx.dtype), None, None, None
