"""A logistic head on features that stay as they are: convex, so no seed matters, and fitted in a moment."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

_RIDGE = 0.01
"""Half of it times the squared weights joins the mean cross-entropy: features outnumber a class's images."""
STEPS = 60
"""Of LBFGS."""


@dataclass(frozen=True, eq=False)
class Standard:
    """What features are brought to a common scale by."""

    mean: Tensor
    """(D,)."""
    spread: Tensor
    """(D,) above 0."""

    def __call__(self, features: Tensor) -> Tensor:
        """(N, D) of mean 0 and spread 1."""
        return (features - self.mean) / self.spread


def standard_of(features: Tensor) -> Standard:
    """That of these (N, D) features."""
    return Standard(features.mean(dim=0), features.std(dim=0).clamp_min(1e-6))


@dataclass(frozen=True, eq=False)
class RidgeHead:
    """A fitted head on standardised features."""

    weight: Tensor
    """(C, D)."""
    bias: Tensor
    """(C,)."""

    def logits(self, inputs: Tensor) -> Tensor:
        """(N, C) of standardised features (N, D)."""
        return inputs @ self.weight.T + self.bias


def fit_head(
    inputs: Tensor,
    targets: Tensor,
    classes: int,
    *,
    weights: Tensor | None = None,
    start: RidgeHead | None = None,
    steps: int = STEPS,
) -> RidgeHead:
    """The ridge logistic regression of these images.

    Args:
        inputs: (N, D) standardised features on the CPU.
        targets: (N,) classes, or (N, C) shares of them.
        weights: (N,) how much each image counts, of mean 1; None: all alike.
        start: a head of as many classes to begin from, in place of zeros.
        steps: most steps of LBFGS.
    """
    weight = torch.zeros(classes, inputs.shape[1]) if start is None else start.weight.clone()
    bias = torch.zeros(classes) if start is None else start.bias.clone()
    weight.requires_grad_()
    bias.requires_grad_()
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=steps, history_size=10, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        logits = inputs @ weight.T + bias
        if weights is None:
            value = F.cross_entropy(logits, targets)
        else:
            value = (F.cross_entropy(logits, targets, reduction="none") * weights).mean()
        value = value + _RIDGE / 2 * weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return RidgeHead(weight.detach(), bias.detach())
