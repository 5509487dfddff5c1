"""Colour operations on batches, each image with its own strength, equal to torchvision's v2 functional.

All take and return (K, 3, H, W) float32 pixels in [0, 255]; strengths are (K, 1, 1, 1) float32. Nothing
waits for the device: shapes never depend on what the pixels are.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

WHITE = 255.0

_LUMA = (0.2989, 0.587, 0.114)
"""Weights of red, green and blue in the grey image (ITU-R BT.601, as torchvision rounds them)."""


def adjust_brightness(images: Tensor, factors: Tensor) -> Tensor:
    """Black at factor 0, unchanged at 1."""
    return (images * factors).clamp_(0, WHITE)


def adjust_saturation(images: Tensor, factors: Tensor) -> Tensor:
    """Grey at factor 0, unchanged at 1."""
    return _blend(images, _grey(images), factors)


def adjust_contrast(images: Tensor, factors: Tensor) -> Tensor:
    """Each image's mean grey at factor 0, unchanged at 1."""
    return _blend(images, _grey(images).mean(dim=(1, 2, 3), keepdim=True), factors)


def adjust_sharpness(images: Tensor, factors: Tensor) -> Tensor:
    """Smoothed at factor 0, unchanged at 1; the outermost pixels stay, as in PIL's SMOOTH filter."""
    kernel = images.new_full((3, 1, 3, 3), 1 / 13)
    kernel[:, :, 1, 1] = 5 / 13
    smooth = images.clone()
    smooth[:, :, 1:-1, 1:-1] = F.conv2d(images, kernel, groups=3)
    return _blend(images, smooth, factors)


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keep so many high bits of each channel, 0 … 8."""
    step = torch.exp2(8 - bits)
    return images.round().div_(step).floor_().mul_(step)


def solarize(images: Tensor, thresholds: Tensor) -> Tensor:
    """Invert what is at or above the threshold in [0, 255]."""
    return torch.where(images.round() >= thresholds, WHITE - images, images)


def autocontrast(images: Tensor) -> Tensor:
    """Stretch each channel to the full range; a channel of one value stays."""
    low = images.amin(dim=(2, 3), keepdim=True)
    spread = images.amax(dim=(2, 3), keepdim=True) - low
    stretched = (images - low) * (WHITE / spread.clamp(min=1e-6))
    return torch.where(spread > 0, stretched.clamp_(0, WHITE), images)


def equalize(images: Tensor) -> Tensor:
    """Flatten each channel's histogram of 256 levels by PIL's integer rule; a channel of one value stays."""
    levels = images.round().clamp_(0, WHITE).flatten(2).to(torch.int64)  # (K, 3, H*W)
    counts = levels.new_zeros(*levels.shape[:2], 256).scatter_add_(2, levels, torch.ones_like(levels))
    brightest = counts.gather(2, levels.amax(dim=2, keepdim=True))
    step = (levels.shape[2] - brightest) // 255
    below = counts.cumsum(dim=2) - counts
    table = ((below + step // 2) // step.clamp(min=1)).clamp_(0, 255).to(images.dtype)
    equal = table.gather(2, levels).view_as(images)
    return torch.where((step > 0).unsqueeze(3), equal, images)


def _grey(images: Tensor) -> Tensor:
    red, green, blue = torch.split(images, 1, dim=1)
    return red * _LUMA[0] + green * _LUMA[1] + blue * _LUMA[2]


def _blend(images: Tensor, others: Tensor, share: Tensor) -> Tensor:
    """`share` of the images and the rest of the others; a share above 1 exaggerates the difference."""
    return torch.lerp(others, images, share).clamp_(0, WHITE)
