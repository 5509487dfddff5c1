"""Objectives: a loss over a batch, in parts that add up however the batch is cut."""

from __future__ import annotations

import torch
from torch import Tensor


def weighted_cross_entropy(
    logits: Tensor, targets: Tensor, weights: Tensor, total_weight: Tensor, *, label_smoothing: float = 0.0
) -> Tensor:
    """Σ_i w_i · H(targets_i, softmax(logits_i)) / total_weight, for hard or soft targets.

    Dividing by the weight of the whole batch makes the losses of its micro-batches add up to the batch's own.

    Args:
        logits: (B, C) of any float type; the loss is computed in float32.
        targets: (B, C) float32, rows sum to 1.
        weights: (B,) float32.
        total_weight: () float32, the sum of weights of the batch that this is a part of.
        label_smoothing: share ε of the target spread evenly (Szegedy et al. 2016, Sec. 7).
    """
    if label_smoothing:
        targets = targets * (1 - label_smoothing) + label_smoothing / targets.shape[1]
    cross_entropy = -(targets * torch.log_softmax(logits.float(), dim=1)).sum(dim=1)  # (B,) float32
    return (cross_entropy * weights).sum() / total_weight
