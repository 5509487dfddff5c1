"""The exponential moving average of a network's weights and statistics (Polyak averaging)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class MovingAverage(AveragedModel):
    """torch's `AveragedModel` that looks through the network once, not at every step.

    Buffers are averaged too: averaged weights with the last step's batch-norm statistics do not belong
    together.

    Args:
        module: what is averaged; the same one must be given to every update.
        decay: the average's share in an update; the first takes the weights as they are.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        super().__init__(module, multi_avg_fn=average, use_buffers=True)
        self._decay = decay
        self._pairs: list[tuple[list[Tensor], list[Tensor]]] = []
        """Averages and what they follow, of one kind of number each."""

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Take the weights of `model` into the average."""
        if not self._pairs:
            super().update_parameters(model)
            self._pairs = _pairs(self.module, model)
            return
        for averages, news in self._pairs:
            if averages[0].is_floating_point():
                torch._foreach_lerp_(averages, news, 1 - self._decay)
            else:
                for average, new in zip(averages, news, strict=True):
                    average.copy_(average * self._decay + new * (1 - self._decay))
        self.n_averaged += 1


def _pairs(averaged: nn.Module, followed: nn.Module) -> list[tuple[list[Tensor], list[Tensor]]]:
    """The tensors of two like modules, by their dtype."""
    pairs: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
    for average, new in zip(_tensors(averaged), _tensors(followed), strict=True):
        averages, news = pairs.setdefault(average.dtype, ([], []))
        averages.append(average.detach())
        news.append(new.detach())
    return list(pairs.values())


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]
