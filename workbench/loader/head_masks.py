"""Which pixels of a view show something else than the animal's head: its box, moved as the image is moved."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workbench.loader.augmentation import ViewPlan
from workbench.loader.transfer import to_device
from workbench.loader.views import ViewFormat, sampling_grid


@dataclass(frozen=True, slots=True)
class HeadMasks:
    """What is known of the heads in B views, or in a part of a batch."""

    outside: Tensor
    """(B, 1, side, side) bool, on the device: true beside the head; nowhere of an image without a box."""
    shares: Tensor
    """(B,) float32, on the device: each image's share in a mean over those of the whole batch that have a
    box, by their weights; 0 without a box."""

    def split(self, parts: int) -> tuple[HeadMasks, ...]:
        """As `tensor_split` cuts the batch."""
        cut = zip(self.outside.tensor_split(parts), self.shares.tensor_split(parts), strict=True)
        return tuple(HeadMasks(outside, shares) for outside, shares in cut)


def head_masks(
    plan: ViewPlan, boxes: NDArray[np.float32], weights: NDArray[np.float32], form: ViewFormat
) -> HeadMasks:
    """The masks of a batch's views.

    A pixel belongs to the head if the place that its centre is sampled from lies in the box. Beyond the
    image's border, where views show its mirror image, the mirrored head counts as the head.

    Args:
        plan: how the views are drawn.
        boxes: (B, 4) left, top, right, bottom as fractions of the image; NaN where there is none.
        weights: (B,) of the images' losses.
    """
    known = ~np.isnan(boxes[:, 0])
    weighed = np.where(known, weights, 0)
    total = weighed.sum()
    shares = weighed / total if total > 0 else weighed
    # -1 … 1 … 3 back to 0 … 1 … 0: there and, mirrored, back.
    there = torch.remainder(sampling_grid(plan, form) + 1, 4)
    place = torch.minimum(there, 4 - there) / 2  # (B, side, side, 2) fractions of the stored square
    corners = to_device(boxes.astype(np.float32), form.device)[:, None, None]  # (B, 1, 1, 4)
    # Comparisons with NaN are false: an image without a box is outside nowhere.
    outside = ((place < corners[..., :2]) | (place > corners[..., 2:])).any(dim=3)
    return HeadMasks(outside[:, None], to_device(shares.astype(np.float32), form.device))
