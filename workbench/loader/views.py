"""Views: what the network sees of stored squares: moved, recoloured, erased, normalised in a batched pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from workbench.loader import colours, geometry
from workbench.loader.augmentation import ViewPlan, draw_plan, plain_plan
from workbench.loader.decoding import Square
from workbench.loader.randomness import uniforms
from workbench.loader.store import ImageStore
from workbench.loader.transfer import to_device
from workbench.recipe.fields import EvaluationView
from workbench.recipe.training import Augmentation
from workbench.support.spans import Part, spanned

Channels = tuple[float, float, float]

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
    """The same views of images that no store holds; `stored_side(form.side)` is the squares' side."""
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
    return render(store.gather(positions, form.device), plan, form)


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
    sizes, windows = store.sizes[positions].astype(np.float64), boxes.astype(np.float64)
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

    Pixels are sampled bilinearly and once, however many moves the plan has. What lies outside the image is
    its mirror image: unlike black corners it has no edge that a network could learn, and it keeps the
    picture's border sharp.
    """
    shape = (len(plan), 3, form.side, form.side)
    views = torch.empty(shape, device=form.device, memory_format=torch.channels_last)
    on_cpu = form.device.type == "cpu"
    chunk = _IMAGES_PER_THREAD * torch.get_num_threads() if on_cpu else max(1, len(plan))
    for start in range(0, len(plan), chunk):
        rows = slice(start, start + chunk)
        _render_into(views[rows], squares[rows], plan.rows(rows), form)
    return views


def _render_into(views: Tensor, squares: Tensor, plan: ViewPlan, form: ViewFormat) -> None:
    grid = sampling_grid(plan, form)
    pixels = F.grid_sample(
        squares.to(torch.float32), grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )
    if plan.recolours:
        pixels = _recoloured(pixels, plan)
    mean, std = np.array(form.mean), np.array(form.std)
    scale_shift = np.stack([1 / (colours.WHITE * std), -mean / std]).astype(np.float32)
    scale, shift = to_device(scale_shift.reshape(2, 1, 3, 1, 1), form.device)
    torch.addcmul(shift, pixels, scale, out=views)
    if plan.erased is not None:
        _erase(views, plan.erased)


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
