"""A step of a head on cached features, without the machinery that a network needs.

A linear layer under softmax cross-entropy has its gradient in closed form: two products of matrices. They are
taken with classes before images, which for so few classes is twice as fast; sums are then added up in another
order than autograd's, so weights agree with its own to float32's rounding (1e-5 a step, as a share).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from workbench.loader import Batch
from workbench.train.objectives import Objective, Supervised
from workbench.train.optim import FusedUpdate


class HeadStep:
    """Takes the optimiser's step of softmax cross-entropy on a dropout and a linear layer.

    Args:
        head: dropout, then linear; both of the layer's tensors learn.
        optimizer: over the head's parameters, and others that are left alone.
        label_smoothing: as in `weighted_cross_entropy`.
        logit_offsets: as in `Supervised`.
    """

    def __init__(
        self,
        head: nn.Sequential,
        optimizer: torch.optim.Optimizer,
        label_smoothing: float,
        logit_offsets: Tensor | None = None,
    ) -> None:
        dropout, linear = head
        assert isinstance(dropout, nn.Dropout)
        assert isinstance(linear, nn.Linear)
        self._dropout, self._linear = dropout, linear
        self._smoothing = label_smoothing
        self._offsets = logit_offsets
        self._gradients = (torch.empty_like(linear.weight), torch.empty_like(linear.bias))
        parameters = dict(zip((linear.weight, linear.bias), self._gradients, strict=True))
        self._update = FusedUpdate(optimizer, parameters)

    @torch.no_grad()
    def step(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Returns: the batch's loss () float32, and how many first choices are the targets', () int64.

        Raises:
            torch.OutOfMemoryError: before anything has changed.
        """
        weight, bias = self._linear.weight, self._linear.bias
        inputs, targets = batch.inputs, batch.targets.t()  # (B, D), (C, B)
        if self._dropout.p and self._dropout.training:
            inputs = torch.dropout(inputs, self._dropout.p, True)
        given = targets
        if self._smoothing:
            given = targets * (1 - self._smoothing) + self._smoothing / len(targets)
        logits = torch.addmm(bias.unsqueeze(1), weight, inputs.t())  # (C, B)
        adjusted = logits if self._offsets is None else logits + self._offsets.unsqueeze(1)
        log_shares = torch.log_softmax(adjusted, dim=0)
        # Σ w·H(y, p) / W is a sum over towards · log p, and its gradient by log p is `towards` itself.
        towards = given * (batch.weights / -batch.total_weight)
        loss = (towards * log_shares).sum()
        right = (logits.argmax(dim=0) == targets.argmax(dim=0)).sum()
        towards = torch._log_softmax_backward_data(towards, log_shares, 0, torch.float32)
        torch.mm(towards, inputs, out=self._gradients[0])
        torch.sum(towards, dim=1, out=self._gradients[1])
        self._update.step()
        return loss, right


def head_step(module: nn.Module, optimizer: torch.optim.Optimizer, objective: Objective) -> HeadStep | None:
    """The short way for a head that learns given labels by `optimizer`; None where there is none."""
    if not isinstance(objective, Supervised) or not objective.is_cross_entropy:
        return None
    if not isinstance(module, nn.Sequential) or [type(layer) for layer in module] != [nn.Dropout, nn.Linear]:
        return None
    if not FusedUpdate.knows(optimizer) or not all(p.requires_grad for p in module.parameters()):
        return None
    return HeadStep(module, optimizer, objective.label_smoothing, objective.logit_offsets)
