"""Fur: a coat's colours laid out in stripes, spots, patches, points or a saddle."""

from __future__ import annotations

import math

import numpy as np

from workbench.dataset.sample.breeds import Coat, Colour, Pattern
from workbench.dataset.sample.shapes import Floats, Pose, smooth_noise, step


def varied(coat: Coat, random: np.random.Generator) -> Coat:
    """The coat of one animal: a little lighter or darker, warmer or cooler than its kind."""
    factor = random.uniform(0.75, 1.2) * random.normal(1, 0.05, 3)

    def shift(colour: Colour) -> Colour:
        red, green, blue = np.clip(np.array(colour) * factor, 8, 250).astype(int).tolist()
        return red, green, blue

    return Coat(shift(coat.base), shift(coat.marking), shift(coat.pale))


def fur(pattern: Pattern, coat: Coat, pose: Pose, random: np.random.Generator) -> Floats:
    """(S, S, 3) float32 in [0, 255]: fur all over the image; masks cut the animal out of it."""
    grid = np.arange(pose.size, dtype=np.float32) + np.float32(0.5)
    u = np.float32(1 / pose.radius) * (grid[None, :] - np.float32(pose.centre[0]))  # (1, S), head radii
    v = np.float32(1 / pose.radius) * (grid[:, None] - np.float32(pose.centre[1]))  # (S, 1)
    cloud = smooth_noise(pose.size, max(3, round(1.3 * pose.size / pose.radius)), random)
    base, marking = _array(coat.base), _array(coat.marking)
    if pattern == "patches" and random.random() < 0.6:
        base, marking = _array(coat.pale), _array(coat.base)
    shown = markings(pattern, u, v, cloud, pose, random)
    colours = base + (marking - base) * shown[..., None]
    belly = np.clip((v - 1.1) * 0.5, 0, 0.6) * np.exp(-1.2 * (u - 0.1 * pose.facing) ** 2)
    colours += (_array(coat.pale) - colours) * belly[..., None]
    grain = 1 + 0.05 * random.standard_normal((pose.size, pose.size), dtype=np.float32)
    textured = colours * (grain * (0.92 + 0.16 * cloud))[..., None]
    fitted: Floats = np.clip(textured, 0, 255).astype(np.float32)
    return fitted


def markings(
    pattern: Pattern, u: Floats, v: Floats, cloud: Floats, pose: Pose, random: np.random.Generator
) -> Floats:
    """(S, S) float32 in [0, 1]: how much of the marking colour shows.

    Args:
        u, v: (1, S) and (S, 1) float32, head coordinates in radii.
        cloud: (S, S) float32 smooth noise that bends stripes and shapes patches.
    """
    strength = np.float32(random.uniform(0.6, 1.0))
    phase = random.uniform(0, 6, 2).astype(np.float32)
    shown: Floats = np.zeros_like(cloud)
    if pattern == "stripes":
        angle, rate = random.uniform(-0.5, 0.5), random.uniform(7, 11)
        across = rate * (u * math.cos(angle) + v * math.sin(angle))
        shown = strength * step(np.sin(across + 7 * cloud + phase[0]), 0.25, 4)
    elif pattern == "spots":
        rate = random.uniform(5.5, 8)
        waves = np.sin(rate * u + 6 * cloud + phase[0]) * np.sin(rate * v + 5 * cloud + phase[1])
        shown = strength * step(np.abs(waves), 0.45, 8)
    elif pattern == "patches":
        shown = step(cloud, random.uniform(0.42, 0.62), 14)
    elif pattern == "points":
        face = np.exp(-random.uniform(1.6, 3.0) * ((u - 0.4 * pose.yaw) ** 2 + (v - 0.35) ** 2))
        shown = strength * np.maximum(face, np.clip((v - 2.0) * 0.8, 0, 1))
    elif pattern == "saddle":
        brow = step(random.uniform(-0.55, -0.2) - v + 0.3 * cloud, 0.0, 6)
        back = step(1.5 - v + 0.3 * cloud, 0.0, 5) * (np.abs(u) > 0.6) * (v > 0.7)
        shown = strength * np.maximum(brow, back)
    return shown.astype(np.float32)


def _array(colour: Colour) -> Floats:
    return np.array(colour, dtype=np.float32)
