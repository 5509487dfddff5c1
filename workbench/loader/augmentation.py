"""What happens to each image of a batch: drawn here, on the host; carried out by `views.render`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from workbench.loader import geometry
from workbench.loader.policies import PolicyStep, draw_step
from workbench.recipe.fields import EvaluationView
from workbench.recipe.training import Augmentation

Floats = NDArray[np.float64]

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
