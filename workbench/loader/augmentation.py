"""What happens to each image of a batch: drawn here, on the host; carried out by `views.render`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workbench.loader import colours, geometry
from workbench.loader.randomness import generator
from workbench.loader.store import to_device
from workbench.recipe.fields import EvaluationView
from workbench.recipe.training import Augmentation
from workbench.support.spans import Part, spanned

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


Mixing = Literal["mixup", "cutmix"]


@dataclass(frozen=True, slots=True)
class Mixture:
    """How each image of a batch is blended with a partner of the batch.

    One share λ ~ Beta(alpha, alpha) a batch, as both papers' code has it.
    mixup (Zhang et al. 2018, Eq. 1): x = λ x_i + (1 - λ) x_j.
    cutmix (Yun et al. 2019, Eq. 1 and Sec. 3.1): a box of side √(1 - λ), centred anywhere and cut at the
    border, comes from x_j; λ becomes the share of x_i that is really left.
    """

    partners: NDArray[np.int64]
    """(B,) rows of the batch: j of each i."""
    share: float
    """λ."""
    box: tuple[int, int, int, int] | None
    """Left, top, right, bottom in pixels of what cutmix takes from the partner; None of mixup."""

    @classmethod
    def of(
        cls, kind: Mixing, alpha: float, count: int, side: int, *, seed: int, epoch: int, step: int
    ) -> Mixture:
        """Of a batch of `count` images of `side` pixels; a function of (seed, epoch, step)."""
        draws = generator(seed, "mixing", epoch, step)
        share = float(draws.beta(alpha, alpha))
        partners = draws.permutation(count)
        if kind == "mixup":
            return cls(partners, share, None)
        left, top, right, bottom = box = _cut(side, side, share, draws)
        return cls(partners, 1 - (right - left) * (bottom - top) / (side * side), box)

    @spanned(Part.AUGMENTATION, "mix")
    def images(self, own: Tensor, others: Tensor) -> Tensor:
        """(K, 3, H, W) float blends of images and their partners; neither is changed."""
        if self.box is None:
            return torch.lerp(others, own, self.share)
        left, top, right, bottom = self.box
        mixed = own.clone()
        mixed[:, :, top:bottom, left:right] = others[:, :, top:bottom, left:right]
        return mixed

    def labels(self, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Targets (B, C) float, rows sum to 1, and weights (B,) float of the blends, in the same shapes.

        The loss being linear in the targets, they mix so that
        w H(y, p) = λ w_i H(y_i, p) + (1 - λ) w_j H(y_j, p).
        """
        partners = to_device(self.partners, targets.device)
        own, other = self.share * weights, (1 - self.share) * weights.index_select(0, partners)
        total = own + other
        # Where both weights are 0 the target does not matter, but it must be a number.
        part = torch.where(total > 0, own / total.clamp(min=torch.finfo(total.dtype).tiny), self.share)
        return torch.lerp(targets.index_select(0, partners), targets, part[:, None]), total


def _cut(height: int, width: int, share: float, draws: np.random.Generator) -> tuple[int, int, int, int]:
    """Left, top, right, bottom in pixels of a box of 1 - share of the area before it is cut at the border."""
    half_width, half_height = np.array([width, height]) * np.sqrt(1 - share) / 2
    across, down = draws.random(2) * [width, height]
    left, right = np.clip(np.rint([across - half_width, across + half_width]), 0, width).astype(int)
    top, bottom = np.clip(np.rint([down - half_height, down + half_height]), 0, height).astype(int)
    return int(left), int(top), int(right), int(bottom)


Stream = Callable[[str, int], Floats]
"""(name, draws) -> (B, draws) uniforms; each kind of change has its own stream, so none shifts another's."""

ERASED_AREA = (0.02, 0.33)
ERASED_ASPECT = (0.3, 3.3)
"""Range of an erased rectangle: Zhong et al. 2020, Sec. 4, as torchvision's RandomErasing."""


@dataclass(frozen=True, slots=True)
class ViewPlan:
    """One view of each of B stored squares."""

    matrices: Floats
    """(B, 3, 3) from the view to the stored square, in normalised coordinates (see `geometry`)."""
    brightness: Floats | None = None
    """(B,) factors, 1 leaves the image as it is; None where no image changes."""
    saturation: Floats | None = None
    """Likewise."""
    policy: tuple[PolicyStep, ...] = ()
    erased: NDArray[np.int64] | None = None
    """(B, 4) left, top, right, bottom in pixels of the view; an empty rectangle erases nothing."""

    def __len__(self) -> int:
        return len(self.matrices)

    @property
    def recolours(self) -> bool:
        """Whether any pixel changes other than by moving."""
        return self.brightness is not None or self.saturation is not None or bool(self.policy)

    def rows(self, rows: slice) -> ViewPlan:
        """The plan of some of the images."""
        return ViewPlan(
            self.matrices[rows],
            None if self.brightness is None else self.brightness[rows],
            None if self.saturation is None else self.saturation[rows],
            tuple(PolicyStep(step.operations[rows], step.magnitudes[rows]) for step in self.policy),
            None if self.erased is None else self.erased[rows],
        )

    def seen_in(self, view: EvaluationView, sizes: Floats, boxes: Floats) -> ViewPlan:
        """The same pictures as evaluation in `view` sees images: a plain crop becomes that view of its box.

        Args:
            sizes, boxes: as the plan was drawn for.
        """
        if view == "centre":
            return self
        return replace(self, matrices=self.matrices @ geometry.view_matrices(sizes, boxes, view))

    def sparing(self, spared: NDArray[np.bool_], plain: ViewPlan) -> ViewPlan:
        """This plan, but as in `plain`, which only moves pixels, for images where `spared` (B,) is true."""
        if not spared.any():
            return self
        if spared.all():
            return plain
        return replace(
            self,
            matrices=np.where(spared[:, None, None], plain.matrices, self.matrices),
            brightness=None if self.brightness is None else np.where(spared, 1.0, self.brightness),
            saturation=None if self.saturation is None else np.where(spared, 1.0, self.saturation),
            policy=tuple(
                PolicyStep(np.where(spared, 0, step.operations), step.magnitudes) for step in self.policy
            ),
            erased=None if self.erased is None else np.where(spared[:, None], 0, self.erased),
        )


def plain_plan(sizes: Floats, boxes: Floats, view: EvaluationView = "centre") -> ViewPlan:
    """The plain crop of every box: sizes (B, 2) in pixels, boxes (B, 4) fractions."""
    return ViewPlan(geometry.crop_matrices(geometry.plain_crops(sizes, boxes, view)))


def draw_plan(
    augmentation: Augmentation, sizes: Floats, boxes: Floats, side: int, stream: Stream
) -> ViewPlan:
    """Draw a random view of every box: crop, flip, turn, brightness, colour, policy, erasing, in this order.

    Args:
        sizes: (B, 2) widths and heights of the images in pixels.
        boxes: (B, 4) left, top, right, bottom as fractions.
        side: of the view in pixels.
        stream: where the randomness comes from.
    """
    steps = _policy(augmentation, side, stream)
    matrices = geometry.crop_matrices(_crops(augmentation, sizes, boxes, stream))
    if augmentation.flip:
        matrices = matrices @ geometry.flip_matrices(stream("flip", 1)[:, 0] < 0.5)
    if augmentation.rotation:
        turns = augmentation.rotation * _either_way(stream, "rotation")
        matrices = matrices @ geometry.rotation_matrices(turns)
    for step in steps:
        matrices = matrices @ step.matrices(side)
    return ViewPlan(
        matrices,
        brightness=_factors(augmentation.brightness, stream, "brightness"),
        saturation=_factors(augmentation.colour, stream, "colour"),
        policy=steps,
        erased=_erased(augmentation.erasing, side, stream),
    )


def _crops(augmentation: Augmentation, sizes: Floats, boxes: Floats, stream: Stream) -> Floats:
    if augmentation.random_crop is False:
        return geometry.plain_crops(sizes, boxes)
    return geometry.random_crops(sizes, boxes, augmentation.random_crop, stream("crop", 22))


def _policy(augmentation: Augmentation, side: int, stream: Stream) -> tuple[PolicyStep, ...]:
    count = {"none": 0, "trivial": 1, "rand": augmentation.policy_operations}[augmentation.policy]
    return tuple(draw_step(augmentation, stream(f"policy {i}", 3), side) for i in range(count))


def _factors(strength: float, stream: Stream, name: str) -> Floats | None:
    """(B,) uniform in 1 ± strength, as torchvision's ColorJitter; None for strength 0."""
    return 1 + strength * _either_way(stream, name) if strength else None


def _erased(probability: float, side: int, stream: Stream) -> NDArray[np.int64] | None:
    if not probability:
        return None
    rectangles = geometry.random_rectangles(side, ERASED_AREA, ERASED_ASPECT, stream("erasing place", 22))
    hit = stream("erasing", 1) < probability
    return np.where(hit, rectangles, 0)


def _either_way(stream: Stream, name: str) -> Floats:
    """(B,) uniform in [-1, 1)."""
    return 2 * stream(name, 1)[:, 0] - 1
