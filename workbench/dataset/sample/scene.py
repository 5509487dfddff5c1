"""A photograph of the sample set: background, animal, something in front, light, and a poor camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from workbench.dataset.sample.animals import COATS, Breed, draw_animal
from workbench.dataset.sample.shapes import Floats, Pose, over, smooth_noise


@dataclass(frozen=True, slots=True)
class Photograph:
    """A finished picture, (S, S, 3) uint8, and its head's box in pixels: left, top, right, bottom."""

    pixels: NDArray[np.uint8]
    head: tuple[int, int, int, int]


def photograph(breed: Breed, size: int, random: np.random.Generator) -> Photograph:
    """Draw a picture of an animal of the breed; all else is up to `random`."""
    while True:
        pose = _pose(size, random)
        animal = draw_animal(breed, pose, random)
        head = _bounds(animal.head)
        if head is not None:
            break
    picture = over(backdrop(size, random), animal.colours, animal.coverage)
    picture = _foreground(picture, pose, random)
    return Photograph(camera(picture, random), head)


def _pose(size: int, random: np.random.Generator) -> Pose:
    radius = size * float(np.exp(random.uniform(np.log(0.18), np.log(0.28))))
    x, y = random.uniform(0.35, 0.65), random.uniform(0.35, 0.5)
    return Pose(
        size=size,
        centre=(size * x, size * y),
        radius=radius,
        tilt=random.normal(0, 0.16),
        yaw=random.uniform(-0.8, 0.8),
        facing=1 if x < 0.5 else -1,
        sitting=random.random() < 0.5,
    )


def _bounds(mask: Floats) -> tuple[int, int, int, int] | None:
    """Tight box around what is at least half covered, or None where nothing is."""
    rows, columns = (np.flatnonzero((mask > 0.5).any(axis=axis)) for axis in (1, 0))
    if len(rows) == 0:
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def backdrop(size: int, random: np.random.Generator) -> Floats:
    """(S, S, 3) float32: a wall and a floor, clutter in colours that fur has too, softened."""
    sky, ground = _muted(random), _muted(random)
    image = Image.new("RGB", (size, size), sky)
    pen = ImageDraw.Draw(image)
    horizon = size * random.uniform(0.35, 0.85)
    pen.rectangle((0, horizon, size, size), fill=ground)
    coats = list(COATS.values())
    for _ in range(random.integers(2, 10)):
        coat = coats[random.integers(len(coats))]
        colour = coat.base if random.random() < 0.5 else _muted(random)
        x, y = random.uniform(-0.1, 1.1, 2) * size
        w, h = random.uniform(0.04, 0.32, 2) * size
        shape = random.integers(3)
        if shape == 0:
            pen.ellipse((x - w, y - h, x + w, y + h), fill=colour)
        elif shape == 1:
            pen.rectangle((x - w, y - h, x + w, y + h), fill=colour)
        else:
            pen.polygon([(x, y - h), (x + w, y + h), (x - w, y + h * 0.6)], fill=colour)
    image = image.filter(ImageFilter.BoxBlur(random.uniform(0, 0.02 * size)))
    texture = smooth_noise(size, int(random.integers(4, 40)), random) - 0.5
    return np.asarray(image, dtype=np.float32) + (random.uniform(10, 45) * texture)[..., None]


def _foreground(picture: Floats, pose: Pose, random: np.random.Generator) -> Floats:
    """Sometimes grass, a fence or a cushion hides a part of the animal."""
    kind = random.random()
    if kind > 0.3:
        return picture
    image = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
    pen, size = ImageDraw.Draw(image), pose.size
    colour = _muted(random)
    if kind < 0.15:
        for x in random.uniform(0, size, 40):
            top = size * random.uniform(0.5, 0.9)
            pen.line((x, size, x + random.normal(0, 0.05 * size), top), fill=colour, width=2)
    elif kind < 0.22:
        for x in np.arange(random.uniform(0, 0.3), 1, random.uniform(0.22, 0.4)) * size:
            pen.rectangle((x, 0, x + 0.035 * size, size), fill=colour)
    else:
        x, y = pose.centre[0] + random.normal(0, 1.2 * pose.radius), pose.centre[1] + 1.5 * pose.radius
        pen.ellipse(
            (x - 1.4 * pose.radius, y - 0.8 * pose.radius, x + 1.4 * pose.radius, y + pose.radius),
            fill=colour,
        )
    return np.asarray(image, dtype=np.float32)


def camera(picture: Floats, random: np.random.Generator) -> NDArray[np.uint8]:
    """Light from one side, a colour cast, contrast, blur and noise."""
    size = len(picture)
    slope = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    light = (
        random.uniform(0.75, 1.2)
        + random.normal(0, 0.25) * slope[None, :]
        + random.normal(0, 0.25) * slope[:, None]
    )
    cast = random.normal(1, 0.05, 3).astype(np.float32)
    lit = picture * light.astype(np.float32)[..., None] * cast
    lit = 128 + (lit - 128) * random.uniform(0.65, 1.15)
    if random.random() < 0.6:
        image = Image.fromarray(np.clip(lit, 0, 255).astype(np.uint8))
        blur = ImageFilter.BoxBlur(random.uniform(0, 0.006 * size))
        lit = np.asarray(image.filter(blur), dtype=np.float32)
    noise = random.standard_normal((size, size, 3), dtype=np.float32) * np.float32(random.uniform(0, 7))
    return np.clip(lit + noise, 0, 255).astype(np.uint8)


def _muted(random: np.random.Generator) -> tuple[int, int, int]:
    """A colour of rooms and gardens: any lightness, little saturation."""
    grey = random.uniform(50, 225)
    red, green, blue = np.clip(grey + random.normal(0, 26, 3), 20, 245).astype(int).tolist()
    return red, green, blue
