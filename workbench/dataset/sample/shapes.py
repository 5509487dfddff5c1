"""Geometry and pixels that the sample set is drawn with: a pose, outlines, masks, smooth noise.

The drawing modules are imported only while a sample set is made, so Pillow stands at the top of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Floats = NDArray[np.float32]
Points = NDArray[np.float64]
"""(K, 2) float64 corners of an outline, x right and y down."""

_BYTE = np.float32(1 / 255)
OVERSAMPLE = 2
"""Shapes are drawn at twice the size and averaged down, which smooths their edges."""


@dataclass(frozen=True, slots=True)
class Pose:
    """Where the animal is and how it holds its head."""

    size: int
    """Side of the square image in pixels."""
    centre: tuple[float, float]
    """Middle of the head in pixels."""
    radius: float
    """Head radius in pixels: the unit of every length of the animal."""
    tilt: float
    """Roll of the head in radians."""
    yaw: float
    """How far the face turns to the side, -1 to 1; moves what lies nearer to the viewer."""
    facing: int
    """-1 or 1: the side that body and tail lie on."""
    sitting: bool

    def head(self, points: Points, depth: float = 0.0) -> Points:
        """Head coordinates to pixels; both they and `depth`, before the head's middle, are in radii."""
        x = points[:, 0] * (1 - 0.18 * abs(self.yaw)) + 0.5 * self.yaw * depth
        y = points[:, 1]
        cos, sin = math.cos(self.tilt), math.sin(self.tilt)
        turned = np.stack([x * cos - y * sin, x * sin + y * cos], axis=1)
        pixels: Points = turned * self.radius + np.array(self.centre)
        return pixels

    def body(self, points: Points) -> Points:
        """Body coordinates, in radii from the head's middle, to pixels; mirrored by `facing`."""
        pixels: Points = points * np.array([self.facing, 1.0]) * self.radius + np.array(self.centre)
        return pixels


def ellipse(x: float, y: float, rx: float, ry: float, corners: int = 36) -> Points:
    """An ellipse's outline about (x, y)."""
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1)


def rounded(outline: Points) -> Points:
    """Two rounds of Chaikin's corner cutting: a smooth outline through few points."""
    for _ in range(2):
        after = np.roll(outline, -1, axis=0)
        cut = [0.82 * outline + 0.18 * after, 0.18 * outline + 0.82 * after]
        outline = np.stack(cut, axis=1).reshape(-1, 2)
    return outline


def fringed(outline: Points, depth: float, random: np.random.Generator) -> Points:
    """Every other corner pushed outwards by about `depth` of its distance: locks of long hair."""
    if not depth:
        return outline
    middle = outline.mean(axis=0)
    lock = np.where(np.arange(len(outline)) % 2, random.uniform(0.4, 1.2, len(outline)), 0)
    pushed: Points = middle + (outline - middle) * (1 + depth * lock)[:, None]
    return pushed


def corners(outline: Points) -> list[tuple[float, float]]:
    """Corners in oversampled pixels, as Pillow's pens take them."""
    return [(x, y) for x, y in (outline * OVERSAMPLE).tolist()]


def mask(size: int, outlines: Iterable[Points]) -> Floats:
    """(S, S) float32 coverage in [0, 1] of filled outlines, which are in pixels."""
    canvas = Image.new("L", (size * OVERSAMPLE, size * OVERSAMPLE))
    pen = ImageDraw.Draw(canvas)
    for outline in outlines:
        pen.polygon(corners(outline), fill=255)
    return np.asarray(canvas.reduce(OVERSAMPLE), dtype=np.float32) * _BYTE


def blurred(values: Floats, radius: float) -> Floats:
    """(S, S) float32 in [0, 1], blurred: a box twice at half the size, near a Gaussian and much faster."""
    height, width = values.shape
    box = ImageFilter.BoxBlur(radius / 2)
    half = Image.fromarray((values * 255).astype(np.uint8)).reduce(2).filter(box).filter(box)
    return np.asarray(half.resize((width, height), Image.Resampling.BILINEAR), dtype=np.float32) * _BYTE


def smooth_noise(size: int, cells: int, random: np.random.Generator) -> Floats:
    """(S, S) float32 in [0, 1]: random values on a `cells` × `cells` grid, joined smoothly."""
    grid = Image.fromarray(random.integers(0, 256, (cells, cells), dtype=np.uint8))
    return np.asarray(grid.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float32) * _BYTE


def over(below: Floats, above: Floats, coverage: Floats) -> Floats:
    """`above` laid on `below`, both (S, S, 3), where `coverage` (S, S) is 1."""
    laid: Floats = below + (above - below) * coverage[..., None]
    return laid


def step(values: Floats, at: float, sharpness: float) -> Floats:
    """A soft threshold: 0 well below `at`, 1 well above it."""
    rise: Floats = (values - np.float32(at)) * np.float32(sharpness) + np.float32(0.5)
    return np.clip(rise, np.float32(0), np.float32(1))
