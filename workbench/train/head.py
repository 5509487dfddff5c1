"""A step of a head on cached features, without the machinery that a network needs.

A linear layer under softmax cross-entropy has its gradient in closed form: two products of matrices. Done
with the operations that autograd and the optimiser would come to, on the same numbers in the same order, the
weights are theirs to the last bit on a CPU, and a step costs its arithmetic and little else.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from workbench.loader import Batch
from workbench.train.objective import matches
from workbench.train.objectives import Objective, Supervised
from workbench.train.optim import FusedUpdate


class HeadStep:
    """Takes the optimiser's step of softmax cross-entropy on a dropout and a linear layer.

    Args:
        head: dropout, then linear; both of the layer's tensors learn.
        optimizer: over the head's parameters, and others that are left alone.
        label_smoothing: as in `weighted_cross_entropy`.
    """

    def __init__(self, head: nn.Sequential, optimizer: torch.optim.Optimizer, label_smoothing: float) -> None:
        dropout, linear = head
        assert isinstance(dropout, nn.Dropout)
        assert isinstance(linear, nn.Linear)
        self._dropout, self._linear = dropout, linear
        self._smoothing = label_smoothing
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
        inputs, targets = batch.inputs, batch.targets
        if self._dropout.p and self._dropout.training:
            inputs = torch.dropout(inputs, self._dropout.p, True)
        given = targets
        if self._smoothing:
            given = targets * (1 - self._smoothing) + self._smoothing / targets.shape[1]
        logits = torch.addmm(bias, inputs, weight.t())  # (B, C)
        log_shares = torch.log_softmax(logits, dim=1)
        total = batch.weights.sum()
        loss = (-(given * log_shares).sum(dim=1) * batch.weights).sum() / total
        # d loss / d log_shares, then through log_softmax and the linear layer.
        towards = (-(batch.weights * total.reciprocal())).unsqueeze(1) * given
        towards = torch._log_softmax_backward_data(towards, log_shares, 1, torch.float32)
        right = matches(logits, targets).sum()
        torch.mm(towards.t(), inputs, out=self._gradients[0])
        torch.sum(towards, dim=0, out=self._gradients[1])
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
    return HeadStep(module, optimizer, objective.label_smoothing)
