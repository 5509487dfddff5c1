"""RandAugment and TrivialAugment: which operation hits which image how hard, by torchvision's tables.

Operations that move pixels are folded into the view's one affine matrix, so all of them come before those
that change colours; torchvision applies an image's operations in the order drawn. What a moved picture
uncovers is filled as everywhere in `views`, where torchvision leaves it black.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from workbench.loader import colours, geometry
from workbench.loader.transfer import to_device
from workbench.recipe.training import Augmentation

Floats = NDArray[np.float64]


class Operation(IntEnum):
    """What a policy may do to an image, in the order of torchvision's augmentation spaces."""

    IDENTITY = 0
    SHEAR_X = 1
    SHEAR_Y = 2
    TRANSLATE_X = 3
    TRANSLATE_Y = 4
    ROTATE = 5
    BRIGHTNESS = 6
    COLOUR = 7
    CONTRAST = 8
    SHARPNESS = 9
    POSTERIZE = 10
    SOLARIZE = 11
    AUTOCONTRAST = 12
    EQUALIZE = 13


BINS = 31
"""Magnitudes 0 … 30 of every operation."""

_SIGNED = np.array([Operation.SHEAR_X <= op <= Operation.SHARPNESS for op in Operation])

_COLOUR_OPERATIONS: dict[Operation, Callable[[Tensor, Tensor], Tensor]] = {
    Operation.BRIGHTNESS: lambda images, by: colours.adjust_brightness(images, 1 + by),
    Operation.COLOUR: lambda images, by: colours.adjust_saturation(images, 1 + by),
    Operation.CONTRAST: lambda images, by: colours.adjust_contrast(images, 1 + by),
    Operation.SHARPNESS: lambda images, by: colours.adjust_sharpness(images, 1 + by),
    Operation.POSTERIZE: colours.posterize,
    Operation.SOLARIZE: colours.solarize,
    Operation.AUTOCONTRAST: lambda images, _: colours.autocontrast(images),
    Operation.EQUALIZE: lambda images, _: colours.equalize(images),
}


@dataclass(frozen=True, slots=True)
class PolicyStep:
    """One operation for every image of a batch."""

    operations: NDArray[np.int64]
    """(B,) values of `Operation`."""
    magnitudes: Floats
    """(B,) signed, in the operation's own unit: degrees, pixels, bits, share."""

    def matrices(self, side: int) -> Floats:
        """(B, 3, 3) of the operations that move pixels; identity for the others."""
        amount = {op: np.where(self.operations == op, self.magnitudes, 0.0) for op in Operation}
        shear = geometry.shear_matrices(amount[Operation.SHEAR_X], amount[Operation.SHEAR_Y])
        move = geometry.translation_matrices(
            amount[Operation.TRANSLATE_X], amount[Operation.TRANSLATE_Y], side
        )
        return shear @ move @ geometry.rotation_matrices(amount[Operation.ROTATE])

    def recolour(self, images: Tensor) -> Tensor:
        """Apply the operations that change colours to (B, 3, H, W) float32 in [0, 255], in place."""
        for operation, apply in _COLOUR_OPERATIONS.items():
            rows = np.flatnonzero(self.operations == operation)
            if len(rows):
                index = to_device(rows, images.device)
                by = to_device(self.magnitudes[rows].astype(np.float32), images.device).view(-1, 1, 1, 1)
                images.index_copy_(0, index, apply(images.index_select(0, index), by))
        return images


def draw_step(augmentation: Augmentation, uniforms: Floats, side: int) -> PolicyStep:
    """One step of the recipe's policy for a batch.

    RandAugment (Cubuk et al. 2020, Sec. 3) draws the operation at one fixed magnitude; TrivialAugment
    (Müller and Hutter 2021, Alg. 1) draws the magnitude too. Both give a signed operation either sign with
    even odds.

    Args:
        uniforms: (B, 3) in [0, 1): operation, magnitude, sign.
        side: of the view in pixels.
    """
    operations = np.floor(uniforms[:, 0] * len(Operation)).astype(np.int64)
    if augmentation.policy == "rand":
        magnitudes = rand_augment_table(side)[operations, augmentation.policy_magnitude]
    else:
        bins = np.floor(uniforms[:, 1] * BINS).astype(np.int64)
        magnitudes = trivial_augment_table()[operations, bins]
    negative = _SIGNED[operations] & (uniforms[:, 2] < 0.5)
    return PolicyStep(operations, np.where(negative, -magnitudes, magnitudes))


def rand_augment_table(side: int) -> Floats:
    """(14, 31) magnitudes of torchvision.transforms.RandAugment for a view of this side."""
    return _table(shear=0.3, translate=150 / 331 * side, rotate=30, enhance=0.9, posterized_bits=4)


def trivial_augment_table() -> Floats:
    """(14, 31) magnitudes of torchvision.transforms.TrivialAugmentWide."""
    return _table(shear=0.99, translate=32, rotate=135, enhance=0.99, posterized_bits=6)


def _table(shear: float, translate: float, rotate: float, enhance: float, posterized_bits: int) -> Floats:
    """Each argument is an operation's strongest magnitude; magnitudes grow evenly from nothing at bin 0."""
    ramp = np.linspace(0, 1, BINS)
    table = np.zeros((len(Operation), BINS))
    table[Operation.SHEAR_X] = table[Operation.SHEAR_Y] = shear * ramp
    table[Operation.TRANSLATE_X] = table[Operation.TRANSLATE_Y] = np.trunc(translate * ramp)
    table[Operation.ROTATE] = rotate * ramp
    table[Operation.BRIGHTNESS : Operation.POSTERIZE] = enhance * ramp
    table[Operation.POSTERIZE] = 8 - np.rint(posterized_bits * ramp)
    table[Operation.SOLARIZE] = 255 * (1 - ramp)
    return table
