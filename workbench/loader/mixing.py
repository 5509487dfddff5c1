"""Mixup and CutMix: blend a batch with itself, images and targets alike."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from workbench.loader.randomness import generator
from workbench.loader.transfer import to_device
from workbench.support.spans import Part, spanned

Mixing = Literal["mixup", "cutmix"]


@spanned(Part.AUGMENTATION, "mix")
def mix(
    inputs: Tensor,
    targets: Tensor,
    weights: Tensor,
    *,
    kind: Mixing,
    alpha: float,
    seed: int,
    epoch: int,
    step: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Blend each image of a batch with a partner of the batch; partners and share are f(seed, epoch, step).

    One share λ ~ Beta(alpha, alpha) a batch, as both papers' code has it.
    mixup (Zhang et al. 2018, Eq. 1): x = λ x_i + (1 - λ) x_j.
    cutmix (Yun et al. 2019, Eq. 1 and Sec. 3.1): a box of side √(1 - λ), centred anywhere and cut at the
    border, comes from x_j; λ becomes the share of x_i that is really left.
    The loss being linear in the targets, targets and weights mix so that
    w H(y, p) = λ w_i H(y_i, p) + (1 - λ) w_j H(y_j, p).

    Args:
        inputs: (B, 3, H, W) float.
        targets: (B, C) float, rows sum to 1.
        weights: (B,) float.

    Returns: mixed inputs, targets and weights in the same shapes; the arguments are not changed.
    """
    draws = generator(seed, "mixing", epoch, step)
    share = float(draws.beta(alpha, alpha))
    partners = to_device(draws.permutation(len(inputs)), inputs.device)
    if kind == "mixup":
        mixed = torch.lerp(inputs.index_select(0, partners), inputs, share)
    else:
        height, width = inputs.shape[-2:]
        left, top, right, bottom = _cut(height, width, share, draws)
        mixed = inputs.clone()
        mixed[:, :, top:bottom, left:right] = inputs[:, :, top:bottom, left:right].index_select(0, partners)
        share = 1 - (right - left) * (bottom - top) / (width * height)
    own, other = share * weights, (1 - share) * weights.index_select(0, partners)
    total = own + other
    # Where both weights are 0 the target does not matter, but it must be a number.
    part = torch.where(total > 0, own / total.clamp(min=torch.finfo(total.dtype).tiny), share)
    return mixed, torch.lerp(targets.index_select(0, partners), targets, part[:, None]), total


def _cut(height: int, width: int, share: float, draws: np.random.Generator) -> tuple[int, int, int, int]:
    """Left, top, right, bottom in pixels of a box of 1 - share of the area before it is cut at the border."""
    half_width, half_height = np.array([width, height]) * np.sqrt(1 - share) / 2
    across, down = draws.random(2) * [width, height]
    left, right = np.clip(np.rint([across - half_width, across + half_width]), 0, width).astype(int)
    top, bottom = np.clip(np.rint([down - half_height, down + half_height]), 0, height).astype(int)
    return int(left), int(top), int(right), int(bottom)
