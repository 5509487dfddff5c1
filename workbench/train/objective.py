"""Objectives: a loss over a batch, in parts that add up however the batch is cut."""

from __future__ import annotations

import torch
from torch import Tensor


def weighted_cross_entropy(
    logits: Tensor, targets: Tensor, weights: Tensor, total_weight: float, *, label_smoothing: float = 0.0
) -> Tensor:
    """Σ_i w_i · H(targets_i, softmax(logits_i)) / total_weight, for hard or soft targets.

    As the divisor is the whole batch's, the losses of its micro-batches add up to the batch's own.

    Args:
        logits: (B, C) of any float type; the loss is computed in float32.
        targets: (B, C) float32, rows sum to 1.
        weights: (B,) float32.
        total_weight: what the batch that this is a part of weighs on an average (see `Batch`).
        label_smoothing: share ε of the target spread evenly (Szegedy et al. 2016, Sec. 7).
    """
    if label_smoothing:
        targets = targets * (1 - label_smoothing) + label_smoothing / targets.shape[1]
    cross_entropy = -(targets * torch.log_softmax(logits.float(), dim=1)).sum(dim=1)  # (B,) float32
    return (cross_entropy * weights).sum() / total_weight


def positive_and_negative_loss(
    logits: Tensor, targets: Tensor, weights: Tensor, total_weight: float, *, label_smoothing: float = 0.0
) -> Tensor:
    """`weighted_cross_entropy` that also knows negative labels: −Σ_c |t_c| · log(1 − p_c) where t_c < 0.

    Negative learning as in UPS (Rizve et al. 2021, eq. 4): the mean over an image's negative labels, as its
    targets are −1/n at each. Label smoothing acts on the other rows alone.

    Args:
        targets: (B, C) float32, rows of probabilities, or of −1/n at n classes and 0 elsewhere.
    """
    given = targets.clamp(min=0)
    if label_smoothing:
        says = given.sum(dim=1, keepdim=True)  # 1 or 0
        given = given * (1 - label_smoothing) + says * label_smoothing / targets.shape[1]
    log_shares = torch.log_softmax(logits.float(), dim=1)
    # log(1 − p), by way of expm1, which is exact where p is small; p = 1 would be −∞.
    log_others = torch.log(-torch.expm1(log_shares.clamp(max=-1e-7)))
    loss = -(given * log_shares - targets.clamp(max=0) * log_others).sum(dim=1)  # (B,) float32
    return (loss * weights).sum() / total_weight


def matches(logits: Tensor, targets: Tensor) -> Tensor:
    """(B,) bool whether the first choice is the target's, or, with negative labels, is none of them."""
    chosen = logits.argmax(dim=1)
    ruled_out = targets.gather(1, chosen[:, None])[:, 0] < 0
    return torch.where((targets < 0).any(dim=1), ~ruled_out, chosen == targets.argmax(dim=1))
