"""Views back to pictures: what the network sees, as a person sees it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from workbench.loader.colours import WHITE
from workbench.loader.views import ViewFormat
from workbench.support.atomic import atomic_path
from workbench.support.clean import clean
from workbench.support.errors import UserError

Pixels = NDArray[np.uint8]

_HEAT = (
    (0.0, (10, 26, 74)),
    (0.25, (54, 72, 110)),
    (0.5, (124, 122, 120)),
    (0.75, (188, 174, 96)),
    (1.0, (255, 232, 60)),
)
"""Dark blue by grey to yellow: lightness rises evenly, so it reads without colour, too."""


def pixels_of(views: Tensor, form: ViewFormat) -> Pixels:
    """(B, H, W, 3) uint8 of normalised views (B, 3, H, W)."""
    mean, std = np.array(form.mean), np.array(form.std)
    shares = views.detach().cpu().permute(0, 2, 3, 1).numpy() * std + mean
    pixels: Pixels = np.clip(np.rint(shares * WHITE), 0, WHITE).astype(np.uint8)
    return pixels


def heat_overlay(picture: Pixels, heat: NDArray[np.float32]) -> Pixels:
    """A picture (H, W, 3) under a map (h, w) in [0, 1], enlarged smoothly: dark blue at 0, yellow at 1."""
    height, width = picture.shape[:2]
    enlarged = Image.fromarray(heat.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
    values = np.clip(np.asarray(enlarged), 0, 1)  # (H, W)
    places = [place for place, _ in _HEAT]
    colour = np.stack(
        [np.interp(values, places, [colour[channel] for _, colour in _HEAT]) for channel in range(3)], axis=-1
    )
    cover = (0.3 + 0.3 * values)[..., None]  # the picture stays plain to see where nothing speaks
    mixed = (1 - cover) * picture + cover * colour
    overlay: Pixels = np.rint(mixed).astype(np.uint8)
    return overlay


def grey_map(heat: NDArray[np.float32]) -> Pixels:
    """A map (h, w) in [0, 1] as grey pixels (h, w) uint8 at its own size."""
    grey: Pixels = np.rint(np.clip(heat, 0, 1) * WHITE).astype(np.uint8)
    return grey


def save_png(pixels: Pixels, path: Path) -> None:
    """Write (H, W, 3) or (H, W) uint8 as PNG, whole or not at all.

    Raises:
        UserError: it cannot be written there.
    """
    try:
        with atomic_path(path) as temporary:
            Image.fromarray(pixels).save(temporary, format="PNG")
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror or error}", where=clean(path)) from error
