"""One animal of the sample set: body, head and ears as masks, dressed in fur, with a face."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

from workbench.dataset.sample.shapes import (
    OVERSAMPLE,
    Floats,
    Points,
    Pose,
    blurred,
    corners,
    ellipse,
    fringed,
    mask,
    over,
    rounded,
    smooth_noise,
    step,
)


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


EAR_OUTLINES: dict[Ears, list[list[float]]] = {
    "pointed": [[0.30, -0.84], [0.86, -0.40], [0.84, -1.00], [0.72, -1.42], [0.52, -1.20]],
    "large": [[0.22, -0.88], [0.90, -0.36], [1.06, -1.05], [1.02, -1.78], [0.58, -1.42]],
    "folded": [[0.28, -0.92], [0.92, -0.52], [0.84, -0.36], [0.66, -0.42], [0.40, -0.62]],
    "pricked": [[0.26, -0.84], [0.82, -0.48], [0.86, -1.10], [0.74, -1.70], [0.46, -1.30]],
    "button": [[0.34, -0.94], [0.90, -0.72], [1.22, -0.34], [1.02, -0.12], [0.72, -0.46]],
    "floppy": [[0.55, -0.88], [0.98, -0.62], [1.34, 0.10], [1.28, 0.78], [0.98, 0.86], [0.86, 0.20]],
}
"""The right ear in head half-widths and half-heights: two corners at its root, then around its tip."""

IRISES = {"cat": ((196, 178, 60), (110, 168, 84), (96, 158, 204)), "dog": ((92, 58, 30), (52, 36, 28))}

Ink = tuple[int, int, int, int]


class _Pen:
    """Fills and strokes in head coordinates on one transparent canvas."""

    def __init__(self, pose: Pose) -> None:
        self._pose = pose
        self._canvas = Image.new("RGBA", (pose.size * OVERSAMPLE, pose.size * OVERSAMPLE))
        self._draw = ImageDraw.Draw(self._canvas)

    def fill(self, outline: Points, ink: Ink, depth: float) -> None:
        self._draw.polygon(corners(self._pose.head(outline, depth)), fill=ink)

    def stroke(self, *points: tuple[float, float], ink: Ink, depth: float, width: float) -> None:
        pixels = max(1, round(width * self._pose.radius * OVERSAMPLE))
        self._draw.line(corners(self._pose.head(np.array(points), depth)), fill=ink, width=pixels)

    def pixels(self) -> Floats:
        return np.asarray(self._canvas.reduce(OVERSAMPLE), dtype=np.float32)


def muzzle_height(breed: Breed) -> float:
    """How far below the head's middle the muzzle's middle lies, in radii."""
    return 0.42 if breed.species == "cat" else 0.35 + 0.5 * breed.muzzle_height


def draw_face(breed: Breed, pose: Pose, coat: Coat, random: np.random.Generator) -> Floats:
    """(S, S, 4) float32 RGBA in [0, 255], transparent but for the face."""
    pen = _Pen(pose)
    if breed.ears in ("pointed", "large", "pricked"):
        _inner_ears(pen, breed)
    _muzzle(pen, breed, coat, random)
    _eyes(pen, breed, random)
    return pen.pixels()


def _inner_ears(pen: _Pen, breed: Breed) -> None:
    for side in (-1, 1):
        ear = np.array(EAR_OUTLINES[breed.ears]) * np.array([side * breed.head_width, breed.head_height])
        middle = ear.mean(axis=0)
        pen.fill(rounded(middle + 0.45 * (ear - middle)), (206, 150, 140, 170), -0.25)


def _muzzle(pen: _Pen, breed: Breed, coat: Coat, random: np.random.Generator) -> None:
    cat, low = breed.species == "cat", muzzle_height(breed)
    pale = (*coat.pale, int(random.uniform(60, 220)))
    dark = (*(int(0.35 * v) for v in coat.marking), 220)
    if cat:
        for side in (-1, 1):
            cheek = ellipse(
                0.5 * side * breed.muzzle_width, low, 0.6 * breed.muzzle_width, breed.muzzle_height
            )
            pen.fill(cheek, pale, 0.6)
    else:
        pen.fill(ellipse(0, low, breed.muzzle_width, breed.muzzle_height), pale, 0.8)
    nose_y = low - breed.muzzle_height * (0.5 if cat else 0.45)
    mouth = nose_y + (0.3 if cat else 0.2 + 0.55 * breed.muzzle_height)
    if not cat and random.random() < 0.35:
        pen.fill(ellipse(0.05, mouth + 0.22, 0.16, 0.3), (222, 110, 120, 255), 0.9)
    for side in (-1, 1):
        lip = (0.24 * side, mouth + 0.08)
        pen.stroke((0, nose_y), (0, mouth), lip, ink=_ink(dark), depth=0.9, width=0.05)
        if cat:
            for rise in (-0.12, 0.0, 0.12):
                ends = ((0.25 * side, low + 0.5 * rise), (1.15 * side, low + 2 * rise))
                pen.stroke(*ends, ink=(245, 245, 245, 150), depth=0.5, width=0.025)
    nose = 0.12 if cat else 0.2
    pink = cat and random.random() < 0.5
    colour = (214, 130, 130, 255) if pink else (30, 26, 28, 255)
    pen.fill(ellipse(0, nose_y, nose, 0.72 * nose, 16), colour, 1.0)


def _eyes(pen: _Pen, breed: Breed, random: np.random.Generator) -> None:
    irises = IRISES[breed.species]
    iris = irises[random.integers(len(irises))]
    cat = breed.species == "cat"
    open_ = random.uniform(0.45, 1.0) if random.random() < 0.9 else 0.12
    gaze, apart, height = random.normal(0, 0.03), 0.43 * breed.head_width, -0.12
    slit = random.uniform(0.25, 0.8) if cat else 0.75
    for side in (-1, 1):
        x = side * apart
        pen.fill(ellipse(x, height, 1.2 * breed.eye, 1.2 * breed.eye * open_, 24), (24, 20, 22, 255), 0.45)
        pen.fill(ellipse(x, height, breed.eye, breed.eye * open_, 24), (*iris, 255), 0.45)
        pupil = ellipse(x + gaze, height, 0.9 * slit * breed.eye, 0.85 * breed.eye * open_, 16)
        pen.fill(pupil, (12, 10, 12, 255), 0.45)
        glint = ellipse(
            x + gaze - 0.3 * breed.eye,
            height - 0.35 * breed.eye * open_,
            0.22 * breed.eye,
            0.2 * breed.eye,
            8,
        )
        pen.fill(glint, (255, 255, 255, 240), 0.45)


def _ink(values: tuple[int, ...]) -> Ink:
    red, green, blue, alpha = values
    return red, green, blue, alpha


Colour = tuple[int, int, int]
Ears = Literal["pointed", "large", "folded", "pricked", "button", "floppy"]
Pattern = Literal["solid", "stripes", "spots", "patches", "points", "saddle"]
CoatName = Literal["ginger", "grey", "brown", "cream", "black", "white"]


@dataclass(frozen=True, slots=True)
class Coat:
    """One colouring: what most of the fur is, what the pattern is drawn in, and the belly and muzzle."""

    base: Colour
    marking: Colour
    pale: Colour


@dataclass(frozen=True, slots=True)
class Breed:
    """How an animal of a breed is drawn. Lengths are in head radii.

    `patterns` and `coats` list what occurs, the first pattern more often: no single trait names a breed.
    """

    name: str
    species: Literal["cat", "dog"]
    ears: Ears
    patterns: tuple[Pattern, Pattern]
    coats: tuple[CoatName, ...]
    head_width: float
    head_height: float
    chin: float
    """How much the face narrows towards the chin, 0 round to 0.5 wedge."""
    muzzle_width: float
    muzzle_height: float
    eye: float
    fluff: float
    """Depth of the fringe of long hair around the outline, 0 for a short coat."""
    typical: float = 0.92
    """Share of animals with the first pattern."""


COATS: dict[CoatName, Coat] = {
    "ginger": Coat((206, 132, 66), (140, 74, 30), (240, 214, 180)),
    "grey": Coat((142, 144, 150), (76, 78, 88), (214, 214, 216)),
    "brown": Coat((134, 98, 66), (62, 42, 30), (206, 178, 144)),
    "cream": Coat((226, 204, 168), (150, 110, 72), (246, 238, 222)),
    "black": Coat((58, 54, 54), (24, 22, 24), (150, 140, 132)),
    "white": Coat((232, 228, 220), (92, 78, 68), (250, 248, 244)),
}

BREEDS: tuple[Breed, ...] = (
    Breed("Striped_Loafer", "cat", "pointed", ("stripes", "solid"), ("ginger", "grey", "brown"),
          1.10, 0.90, 0.08, 0.40, 0.28, 0.22, 0.0),
    Breed("Folded_Muffin", "cat", "folded", ("solid", "stripes"), ("grey", "black", "cream"),
          1.16, 0.98, 0.00, 0.38, 0.26, 0.27, 0.0),
    Breed("Dotted_Prowler", "cat", "large", ("spots", "stripes"), ("ginger", "cream", "grey"),
          0.94, 0.94, 0.34, 0.34, 0.28, 0.20, 0.0),
    Breed("Masked_Duchess", "cat", "large", ("points", "solid"), ("cream", "white", "grey"),
          0.92, 0.96, 0.38, 0.34, 0.28, 0.20, 0.0),
    Breed("Fluffy_Baron", "cat", "pointed", ("patches", "stripes"), ("white", "ginger", "grey"),
          1.06, 0.92, 0.12, 0.42, 0.30, 0.20, 0.30),
    Breed("floppy_digger", "dog", "floppy", ("solid", "patches"), ("ginger", "black", "brown"),
          0.86, 1.00, 0.18, 0.46, 0.54, 0.14, 0.0),
    Breed("speckled_fetcher", "dog", "floppy", ("spots", "solid"), ("white", "cream", "grey"),
          0.84, 1.02, 0.20, 0.44, 0.54, 0.14, 0.0),
    Breed("pricked_ranger", "dog", "pricked", ("saddle", "points"), ("ginger", "brown", "grey"),
          0.88, 1.00, 0.30, 0.38, 0.56, 0.14, 0.0),
    Breed("wrinkled_snorter", "dog", "button", ("points", "solid"), ("cream", "ginger", "grey"),
          1.06, 0.90, 0.00, 0.66, 0.40, 0.19, 0.0),
    Breed("patched_scruff", "dog", "button", ("patches", "saddle"), ("white", "brown", "grey"),
          0.90, 0.98, 0.12, 0.44, 0.50, 0.14, 0.24),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Animal:
    """A drawn animal: (S, S, 3) float32 colours in [0, 255]; (S, S) float32 masks in [0, 1]."""

    colours: Floats
    coverage: Floats
    head: Floats
    """Head with muzzle and ears: what the head box bounds."""


def draw_animal(breed: Breed, pose: Pose, random: np.random.Generator) -> Animal:
    """Draw one animal: the breed decides the shapes; `random` the coat, the pattern, the expression."""
    coat = varied(COATS[breed.coats[random.integers(len(breed.coats))]], random)
    pattern = breed.patterns[0] if random.random() < breed.typical else breed.patterns[1]
    body = mask(pose.size, _body(breed, pose, random))
    head = mask(pose.size, _head(breed, pose, random))
    ears = mask(pose.size, _ears(breed, pose, random))
    coloured = fur(pattern, coat, pose, random)
    ear_fur = np.full_like(coloured, coat.marking) if pattern in ("points", "saddle") else coloured * 0.8
    hanging = breed.ears in ("folded", "button", "floppy")
    layers = [(coloured, head, 0.4), (ear_fur, ears, 0.3)]

    picture = coloured * _roundness(body, pose, 0.55)
    picture *= 1 - 0.4 * (blurred(head, 0.2 * pose.radius) * (1 - head))[..., None]
    for layer, where, depth in layers if hanging else reversed(layers):
        picture = over(picture, layer * _roundness(where, pose, depth), where)
    face = draw_face(breed, pose, coat, random)
    picture = over(picture, face[..., :3], face[..., 3] * np.float32(1 / 255))
    whole_head = np.maximum(head, ears)
    return Animal(picture, np.maximum(body, whole_head), whole_head)


def _roundness(where: Floats, pose: Pose, depth: float) -> Floats:
    """(S, S, 1) factors that darken a shape towards its edge, so that it looks round."""
    inside = np.minimum(np.float32(1.35) * blurred(where, 0.22 * pose.radius), np.float32(1))
    shade: Floats = np.float32(1 - depth) + np.float32(depth) * inside
    return shade[..., None]


def _body(breed: Breed, pose: Pose, random: np.random.Generator) -> list[Points]:
    thick = random.uniform(0.9, 1.15)
    if pose.sitting:
        soft = [ellipse(0.15, 1.95, 1.0 * thick, 1.5), ellipse(0.8, 2.8, 0.65 * thick, 0.75)]
        legs = [ellipse(x, 2.9, 0.26, 0.95, 16) for x in (-0.35, 0.3)]
        tail = _tail(breed, (1.3, 3.0), random)
    else:
        soft = [ellipse(1.55, 1.35, 1.75, 0.8 * thick), ellipse(2.7, 1.4, 0.7, 0.8 * thick)]
        legs = [ellipse(x, 2.4, 0.22, 0.95, 16) for x in (0.25, 0.75, 2.45, 2.95)]
        tail = _tail(breed, (3.1, 0.95), random)
    soft.append(ellipse(0.25, 0.9, 0.62 * thick, 0.7))
    outlines = [fringed(part, breed.fluff, random) for part in soft]
    return [pose.body(outline) for outline in (*outlines, *legs, tail)]


def _tail(breed: Breed, root: tuple[float, float], random: np.random.Generator) -> Points:
    """A curved band from `root`: long and thin for cats, short and raised for dogs, bushy with long hair."""
    cat = breed.species == "cat"
    length = random.uniform(1.3, 1.8) if cat else random.uniform(0.6, 1.1)
    bend = random.uniform(-1.6, 1.6) if cat else -0.9
    along = np.linspace(0, 1, 9)
    angle = random.uniform(-1.2, -0.2) + bend * along
    spine = np.array(root) + np.cumsum(np.stack([np.cos(angle), np.sin(angle)], axis=1) * length / 8, axis=0)
    normal = np.stack([-np.sin(angle), np.cos(angle)], axis=1)
    width = (0.15 + 0.6 * breed.fluff) * (1 - 0.5 * along)[:, None]
    return np.concatenate([spine + normal * width, (spine - normal * width)[::-1]])


def _head(breed: Breed, pose: Pose, random: np.random.Generator) -> list[Points]:
    skull = ellipse(0, 0, breed.head_width, breed.head_height, 56)
    skull[:, 0] *= 1 - breed.chin * np.clip(skull[:, 1] / breed.head_height, 0, 1)
    outlines = [pose.head(fringed(skull, 0.7 * breed.fluff, random))]
    if breed.species == "dog":
        muzzle = ellipse(0, muzzle_height(breed), breed.muzzle_width, breed.muzzle_height)
        outlines.append(pose.head(muzzle, depth=0.8))
    return outlines


def _ears(breed: Breed, pose: Pose, random: np.random.Generator) -> list[Points]:
    outlines = []
    for side in (-1, 1):
        ear = np.array(EAR_OUTLINES[breed.ears])
        ear[2:] += random.normal(0, 0.07, 2)
        ear *= np.array([side * breed.head_width, breed.head_height])
        outlines.append(pose.head(rounded(ear), depth=-0.25))
    return outlines
