"""Views: what the network sees of stored squares: moved, recoloured, erased, normalised in a batched pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from workbench.compute import runs_ahead
from workbench.loader import colours, geometry
from workbench.loader.augmentation import ViewPlan, draw_plan, plain_plan
from workbench.loader.randomness import uniforms
from workbench.loader.store import ImageStore, stored_side, to_device
from workbench.loader.store_build import Square
from workbench.recipe.fields import EvaluationView
from workbench.recipe.training import Augmentation
from workbench.support.spans import Part, spanned


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


Channels = tuple[float, float, float]

_ROUNDING = 1e-9

_IMAGES_PER_THREAD = 4
"""Images a pass and thread on the CPU: so few stay in its cache between the steps of the pass."""


@dataclass(frozen=True, slots=True)
class ViewFormat:
    """What every view of a run has in common."""

    side: int
    """Pixels."""
    mean: Channels
    """Red, green and blue in [0, 1], taken off each pixel."""
    std: Channels
    """What pixels are divided by then."""
    device: torch.device
    evaluation: tuple[EvaluationView, ...] = ("centre",)
    """V: in which views an image is evaluated."""
    store_scale: float | None = None
    """`data.store_scale`."""

    @property
    def stored_side(self) -> int:
        """Pixels a side of the squares that views are cut from."""
        return stored_side(self.side, self.store_scale)

    @property
    def as_shown(self) -> ViewFormat:
        """The same with the first view alone: what to draw where one picture stands for an image."""
        return replace(self, evaluation=self.evaluation[:1])

    def averaged(self, outputs: Tensor) -> Tensor:
        """(B, …) means over an image's views of what a network makes of `plain_views`, (V·B, …)."""
        views = len(self.evaluation)
        return outputs if views == 1 else outputs.view(views, -1, *outputs.shape[1:]).mean(dim=0)

    def images_a_pass(self, most: int) -> int:
        """B such that V·B views are at most `most`, but one image at least."""
        return max(1, most // len(self.evaluation))


@spanned(Part.AUGMENTATION, "plain views")
def plain_views(store: ImageStore, positions: NDArray[np.int64], form: ViewFormat) -> Tensor:
    """(V·B, 3, side, side) float32 normalised plain views of whole images, channels-last, for evaluation.

    Of several views of an image the first of all B come first; `ViewFormat.averaged` brings them together.
    """
    return _plain(store.gather(positions, form.device), store.sizes[positions], form)


def plain_views_of(squares: Sequence[Square], form: ViewFormat) -> Tensor:
    """The same views of images that no store holds; `form.stored_side` is the squares' side."""
    pixels = to_device(np.stack([square.pixels for square in squares]), form.device)
    return _plain(pixels, np.array([(square.width, square.height) for square in squares]), form)


def _plain(squares: Tensor, sizes: NDArray[np.int64], form: ViewFormat) -> Tensor:
    boxes = np.tile(np.array(geometry.WHOLE), (len(sizes), 1))
    pixels = sizes.astype(np.float64)
    views = [render(squares, plain_plan(pixels, boxes, view), form) for view in form.evaluation]
    return views[0] if len(views) == 1 else torch.cat(views)


@spanned(Part.AUGMENTATION)
def augmented_views(
    store: ImageStore,
    positions: NDArray[np.int64],
    boxes: NDArray[np.float32],
    keys: NDArray[np.uint64],
    augmentation: Augmentation,
    form: ViewFormat,
    seed: int,
    spared: NDArray[np.bool_] | None = None,
) -> Tensor:
    """(B, 3, side, side) float32 normalised random views, channels-last; arguments as `plan_views`."""
    plan = plan_views(store, positions, boxes, keys, augmentation, form.side, seed, spared)
    return render(store.gather_parts(positions, boxes, form.device), plan, form)


def plan_views(
    store: ImageStore,
    positions: NDArray[np.int64],
    boxes: NDArray[np.float32],
    keys: NDArray[np.uint64],
    augmentation: Augmentation,
    side: int,
    seed: int,
    spared: NDArray[np.bool_] | None = None,
) -> ViewPlan:
    """How B random views are drawn.

    Args:
        positions: (B,) of the images.
        boxes: (B, 4) left, top, right, bottom as fractions: the part of each image that counts.
        keys: (B,) names of the views (`randomness.combine`); with the seed they decide all that is random.
        side: of the views in pixels.
        spared: (B,) true for images to be shown as the plain crop of their box; None spares none.
    """
    sizes, windows = store.parts(positions, boxes)
    plan = draw_plan(
        augmentation,
        sizes,
        windows,
        side,
        lambda name, draws: uniforms(seed, name, ids=keys, draws=draws),
    )
    return plan if spared is None else plan.sparing(spared, plain_plan(sizes, windows))


def render(squares: Tensor, plan: ViewPlan, form: ViewFormat) -> Tensor:
    """Carry out a plan on (B, 3, S, S) uint8 squares: (B, 3, side, side) float32 normalised, channels-last.

    Pixels are sampled bilinearly and once, however many moves the plan has; where they are taken two or more
    pixels of the square apart, from a square halved as often as that takes, so that none falls between them.
    What lies outside the image is its mirror image: unlike black corners it has no edge that a network could
    learn, and it keeps the picture's border sharp.
    """
    shape = (len(plan), 3, form.side, form.side)
    views = torch.empty(shape, device=form.device, memory_format=torch.channels_last)
    at_once = max(1, len(plan))
    chunk = at_once if runs_ahead(form.device) else _IMAGES_PER_THREAD * torch.get_num_threads()
    for start in range(0, len(plan), chunk):
        rows = slice(start, start + chunk)
        _render_into(views[rows], squares[rows], plan.rows(rows), form)
    return views


def _render_into(views: Tensor, squares: Tensor, plan: ViewPlan, form: ViewFormat) -> None:
    pixels = _sampled(squares.to(torch.float32), sampling_grid(plan, form), _halvings(squares, plan, form))
    if plan.recolours:
        pixels = _recoloured(pixels, plan)
    mean, std = np.array(form.mean), np.array(form.std)
    scale_shift = np.stack([1 / (colours.WHITE * std), -mean / std]).astype(np.float32)
    scale, shift = to_device(scale_shift.reshape(2, 1, 3, 1, 1), form.device)
    torch.addcmul(shift, pixels, scale, out=views)
    if plan.erased is not None:
        _erase(views, plan.erased)


def _halvings(squares: Tensor, plan: ViewPlan, form: ViewFormat) -> NDArray[np.int64]:
    """(B,) how often each square is halved, so that a view's pixels are not twice as far apart as its own."""
    steps = np.hypot(plan.matrices[:, 0, :2], plan.matrices[:, 1, :2]).min(axis=1)
    apart = np.maximum(steps * squares.shape[-1] / form.side, 1.0)
    halvings: NDArray[np.int64] = np.floor(np.log2(apart) + _ROUNDING).astype(np.int64)
    return halvings


def _sampled(squares: Tensor, grid: Tensor, halvings: NDArray[np.int64]) -> Tensor:
    found = []
    groups = np.unique(halvings).tolist()
    for count in groups:
        chosen = to_device(np.flatnonzero(halvings == count), squares.device)
        some, points = (squares, grid) if len(groups) == 1 else (squares[chosen], grid[chosen])
        if count:
            some = F.interpolate(some, size=-(-some.shape[-1] // 2**count), mode="area")
        sampled = F.grid_sample(some, points, mode="bilinear", padding_mode="reflection", align_corners=False)
        found.append((chosen, sampled))
    if len(found) == 1:
        return found[0][1]
    pixels = torch.empty((len(squares), *found[0][1].shape[1:]), device=squares.device)
    for chosen, sampled in found:
        pixels[chosen] = sampled
    return pixels


def sampling_grid(plan: ViewPlan, form: ViewFormat) -> Tensor:
    """(B, side, side, 2) points of the stored squares: F.affine_grid's, in a tenth of its time."""
    centres = (np.arange(form.side) + 0.5) * (2 / form.side) - 1
    m = plan.matrices
    across = m[:, None, :2, 0] * centres[:, None] + m[:, None, :2, 2]  # (B, side, 2)
    down = m[:, None, :2, 1] * centres[:, None]
    columns, rows = to_device(np.stack([across, down]).astype(np.float32), form.device).unbind()
    return columns.unsqueeze(1) + rows.unsqueeze(2)


def _recoloured(pixels: Tensor, plan: ViewPlan) -> Tensor:
    for factors, adjust in (
        (plan.brightness, colours.adjust_brightness),
        (plan.saturation, colours.adjust_saturation),
    ):
        if factors is not None:
            pixels = adjust(pixels, to_device(factors.astype(np.float32), pixels.device).view(-1, 1, 1, 1))
    for step in plan.policy:
        pixels = step.recolour(pixels)
    return pixels


def _erase(views: Tensor, rectangles: NDArray[np.int64]) -> None:
    """Set rectangles (B, 4) to 0, the mean of normalised pixels."""
    left, top, right, bottom = to_device(rectangles, views.device).T[:, :, None]  # each (B, 1)
    place = torch.arange(views.shape[-1], device=views.device)
    columns = (place >= left) & (place < right)  # (B, side)
    rows = (place >= top) & (place < bottom)
    views.masked_fill_((rows[:, :, None] & columns[:, None, :])[:, None], 0.0)
