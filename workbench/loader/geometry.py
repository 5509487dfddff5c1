"""Where each output pixel of a view comes from: crops, flips, turns and shears as one affine matrix a sample.

A matrix (3, 3) takes an output point to an input point. Output points and stored points are normalised: x
and y run from -1 at the left and top edge to 1 at the right and bottom edge (`align_corners=False`). The
stored square is the whole image squashed, so a fraction of the image's width is the same fraction of the
square: the squash is undone by the matrix and needs no step of its own. Matrices compose right to left:
`crop @ flip @ turn` shows a crop that is flipped and then turned.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.recipe.fields import EvaluationView

Floats = NDArray[np.float64]

CROP_SHARES = {"centre": 7 / 8, "full": 1.0, "close": 3 / 4}
"""Side of a plain view's middle square over the short side; 7/8 is 224 of 256, usual on ImageNet."""

WHOLE = (0.0, 0.0, 1.0, 1.0)
"""The box that is the whole image: left, top, right, bottom as fractions."""

_TRIES = 10
_ASPECTS = (3 / 4, 4 / 3)


def plain_crops(sizes: Floats, boxes: Floats, view: EvaluationView = "centre") -> Floats:
    """(B, 4) fractions of what a plain view shows of each box.

    Args:
        sizes: (B, 2) widths and heights of the images in pixels.
        boxes: (B, 4) left, top, right, bottom as fractions.
        view: the middle square whose side is `CROP_SHARES` of the box's short side in pixels; "squash" is the
            box itself.
    """
    if view == "squash":
        return boxes
    extent = _extent(sizes, boxes)
    side = CROP_SHARES[view] * extent.min(axis=1, keepdims=True)
    return _placed(sizes, boxes, np.repeat(side, 2, axis=1), np.full_like(extent, 0.5))


def random_crops(sizes: Floats, boxes: Floats, areas: tuple[float, float], uniforms: Floats) -> Floats:
    """(B, 4) fractions of random crops inside each box: torchvision's RandomResizedCrop, not on whole pixels.

    Of ten tries (area uniform in `areas` of the box's, aspect log-uniform in 3/4 … 4/3, in true pixels) the
    first that fits is taken; where none fits, the largest centred crop whose aspect is in range (Szegedy et
    al. 2015, Sec. 6).

    Args:
        sizes, boxes: as in `plain_crops`.
        areas: (low, high) share of the box's area.
        uniforms: (B, 22) in [0, 1): ten areas, ten aspects, place across and down.
    """
    extent = _extent(sizes, boxes)
    area = extent.prod(axis=1, keepdims=True) * _between(uniforms[:, :_TRIES], *areas)
    aspect = np.exp(_between(uniforms[:, _TRIES : 2 * _TRIES], *np.log(_ASPECTS)))
    tries = np.stack([np.sqrt(area * aspect), np.sqrt(area / aspect)], axis=2)  # (B, tries, 2) pixels
    fits = np.all(tries <= extent[:, None, :], axis=2)
    chosen = tries[np.arange(len(tries)), fits.argmax(axis=1)]
    low, high = _ASPECTS
    largest = np.minimum(extent, extent[:, ::-1] * [high, 1 / low])
    any_fits = fits.any(axis=1, keepdims=True)
    crop = np.where(any_fits, chosen, largest)
    place = np.where(any_fits, uniforms[:, 2 * _TRIES :], 0.5)
    return _placed(sizes, boxes, crop, place)


def random_rectangles(
    side: int, areas: tuple[float, float], aspects: tuple[float, float], uniforms: Floats
) -> NDArray[np.int64]:
    """(B, 4) int64 left, top, right, bottom pixels of rectangles to erase, as torchvision's RandomErasing.

    Of ten tries the first that fits into the side x side view is taken; where none fits the rectangle is
    empty.

    Args:
        areas: share of the view's area; aspects: height over width, drawn log-uniformly.
        uniforms: (B, 22) in [0, 1): ten areas, ten aspects, place across and down.
    """
    area = side * side * _between(uniforms[:, :_TRIES], *areas)
    aspect = np.exp(_between(uniforms[:, _TRIES : 2 * _TRIES], *np.log(aspects)))
    tries = np.rint(np.stack([np.sqrt(area / aspect), np.sqrt(area * aspect)], axis=2))
    fits = np.all(tries < side, axis=2)
    extent = tries[np.arange(len(tries)), fits.argmax(axis=1)] * fits.any(axis=1)[:, None]
    corner = np.floor(uniforms[:, 2 * _TRIES :] * (side - extent + 1))
    return np.concatenate([corner, corner + extent], axis=1).astype(np.int64)


def crop_matrices(crops: Floats) -> Floats:
    """(B, 3, 3) that show the (B, 4) fractions `crops` over the whole view."""
    matrices = identities(len(crops))
    matrices[:, 0, 0], matrices[:, 1, 1] = (crops[:, 2:] - crops[:, :2]).T
    matrices[:, :2, 2] = crops[:, :2] + crops[:, 2:] - 1
    return matrices


def view_matrices(sizes: Floats, boxes: Floats, view: EvaluationView) -> Floats:
    """(B, 3, 3) from a plain view of each box to its "centre" view; arguments as in `plain_crops`.

    `plan @ view_matrices` shows what a plan shows, wider, closer or squashed as that view is beside the
    centre one; of the centre crop itself it makes the view.
    """
    if view == "centre":
        return identities(len(sizes))
    centre, other = (crop_matrices(plain_crops(sizes, boxes, name)) for name in ("centre", view))
    matrices: Floats = np.linalg.inv(centre) @ other
    return matrices


def flip_matrices(flipped: NDArray[np.bool_]) -> Floats:
    """(B, 3, 3) that mirror left to right where `flipped` (B,) is true."""
    matrices = identities(len(flipped))
    matrices[:, 0, 0] = np.where(flipped, -1.0, 1.0)
    return matrices


def rotation_matrices(degrees: Floats) -> Floats:
    """(B, 3, 3) that turn the picture counter-clockwise by `degrees` (B,) about its centre."""
    radians = np.radians(degrees)
    matrices = identities(len(degrees))
    matrices[:, 0, 0] = matrices[:, 1, 1] = np.cos(radians)
    matrices[:, 1, 0] = np.sin(radians)
    matrices[:, 0, 1] = -np.sin(radians)
    return matrices


def shear_matrices(across: Floats, down: Floats) -> Floats:
    """(B, 3, 3) that shear about the top left corner: x reads from x + across * y, y from y + down * x."""
    matrices = identities(len(across))
    matrices[:, 0, 1] = matrices[:, 0, 2] = across
    matrices[:, 1, 0] = matrices[:, 1, 2] = down
    return matrices


def translation_matrices(right: Floats, down: Floats, side: int) -> Floats:
    """(B, 3, 3) that move the picture by so many pixels of a view with this side."""
    matrices = identities(len(right))
    matrices[:, 0, 2] = -2 * right / side
    matrices[:, 1, 2] = -2 * down / side
    return matrices


def identities(count: int) -> Floats:
    """(count, 3, 3) float64 matrices that change nothing."""
    return np.tile(np.eye(3), (count, 1, 1))


def _between(uniforms: Floats, low: float, high: float) -> Floats:
    return low + (high - low) * uniforms


def _extent(sizes: Floats, boxes: Floats) -> Floats:
    """(B, 2) width and height of each box in pixels of its image."""
    return (boxes[:, 2:] - boxes[:, :2]) * sizes


def _placed(sizes: Floats, boxes: Floats, crop: Floats, place: Floats) -> Floats:
    """(B, 4) fractions of a crop of (B, 2) pixels in its box, `place` (B, 2) of the way from left and top."""
    extent = crop / sizes
    corner = boxes[:, :2] + (boxes[:, 2:] - boxes[:, :2] - extent) * place
    return np.concatenate([corner, corner + extent], axis=1)
