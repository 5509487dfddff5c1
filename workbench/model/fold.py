"""Batch norms folded into the convolutions before them: a frozen trunk needs them no longer."""

from __future__ import annotations

import copy
from typing import Literal

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

FOLDING = 2
"""Names this way of computing features; raised when it changes, so that kept features are computed anew."""

# Of float32's rounding through a deep network, thousandfold: a batch norm that was put into the wrong
# convolution is off by far more.
_TOLERANCE = 1e-3


def frozen_copy(module: nn.Module, image_size: int, dtype: Literal["fp32", "bf16"]) -> nn.Module:
    """A copy of a module that nothing changes any more, for passes in `dtype`: folded in fp32 alone.

    bf16 rounds each weight, and folded weights to other values: features would move by 2e-2 of their norm,
    which a small iterative run turns into points of accuracy.
    """
    return folded(module, image_size) if dtype == "fp32" else copy.deepcopy(module).eval()


def folded(trunk: nn.Module, image_size: int) -> nn.Module:
    """A copy of `trunk` for evaluation whose batch norms with fixed statistics are parts of convolutions.

    y = γ(Wx − μ)/σ + β is one convolution with weights γW/σ and bias β − γμ/σ. In float32 features agree to
    rounding (about 1e-6 of their norm).

    Which batch norm follows which convolution is read off the order of a module's children and proved on an
    image; a network of which that is not true (or that has none) is copied as it is.
    """
    plain = copy.deepcopy(trunk).eval()
    twin = copy.deepcopy(plain)
    if not _fold_children(twin):
        return plain
    reference = next(trunk.parameters())
    random = torch.Generator().manual_seed(0)
    image = torch.randn(1, 3, image_size, image_size, generator=random).to(reference.device)
    with torch.inference_mode():
        expected, found = plain(image), twin(image)
    if not torch.linalg.vector_norm(found - expected) <= _TOLERANCE * torch.linalg.vector_norm(expected):
        return plain
    return twin.eval().to(memory_format=torch.channels_last)


def _fold_children(module: nn.Module) -> int:
    """Fold what can be under `module`, in place; returns how many batch norms are gone."""
    count = 0
    before_name, before = "", None
    for name, child in list(module.named_children()):
        if (
            isinstance(child, nn.BatchNorm2d)
            and child.track_running_stats
            and isinstance(before, nn.Conv2d)
            and before.out_channels == child.num_features
        ):
            setattr(module, before_name, fuse_conv_bn_eval(before, child))
            setattr(module, name, nn.Identity())
            count += 1
        else:
            count += _fold_children(child)
        before_name, before = name, child
    return count
