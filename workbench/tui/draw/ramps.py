"""Colour maps that colour-blind eyes can read, as tables of RGB: they grow lighter from the ground up."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Ramp = NDArray[np.uint8]
"""(256, 3) uint8; 0 is nothing, 255 is the most."""


@lru_cache(maxsize=32)
def ramp(start: str, *stops: str) -> Ramp:
    """The colours from `start` through `stops`, `#rrggbb`, equally far apart, mixed in linear light."""
    anchors = np.array([_linear(colour) for colour in (start, *stops)])
    places = np.linspace(0, 1, len(anchors))
    mixed = np.stack([np.interp(np.linspace(0, 1, 256), places, anchors[:, i]) for i in range(3)], axis=1)
    return _frozen(np.rint(255 * mixed ** (1 / 2.2)).astype(np.uint8))


def right_ramp(background: str) -> Ramp:
    """For the diagonal: blue, the more the lighter on dark ground and the deeper on light ground."""
    if _is_dark(background):
        return ramp(_step(background, 0.10), "#1f5f8b", "#56b4e9", "#c9ecff")
    return ramp(_step(background, 0.06), "#9ccdea", "#2b7fb8", "#003a63")


def wrong_ramp(background: str) -> Ramp:
    """For errors: orange; blue against orange holds for red-green and blue-yellow blindness alike."""
    if _is_dark(background):
        return ramp(_step(background, 0.06), "#8a4a00", "#e69f00", "#fff0b8")
    return ramp(_step(background, 0.04), "#f0c070", "#c86400", "#5c1f00")


def diverging_ramp(background: str) -> Ramp:
    """For differences: 0 is most less (blue), 128 no difference (the background), 255 most more (orange)."""
    less = right_ramp(background)[::2][::-1]
    more = wrong_ramp(background)[::2]
    return _frozen(np.concatenate([less, more]))


def _frozen(table: Ramp) -> Ramp:
    table.setflags(write=False)
    return table


def _linear(colour: str) -> tuple[float, float, float]:
    red, green, blue = ((int(colour[i : i + 2], 16) / 255) ** 2.2 for i in (1, 3, 5))
    return red, green, blue


def _is_dark(colour: str) -> bool:
    return sum(int(colour[i : i + 2], 16) for i in (1, 3, 5)) < 3 * 128


def _step(colour: str, share: float) -> str:
    """A little towards white from a dark colour, else towards black: an empty cell is seen as one."""
    target = 255 if _is_dark(colour) else 0
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(part + (target - part) * share):02x}" for part in parts)
