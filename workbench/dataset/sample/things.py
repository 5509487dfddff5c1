"""Pictures of the sample sets that are not pets: cloth with small defects, leaves, beetles in pairs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from workbench.dataset.sample.scene import backdrop, camera
from workbench.dataset.sample.shapes import (
    Floats,
    Points,
    blurred,
    ellipse,
    mask,
    over,
    rounded,
    smooth_noise,
)

Pixels = NDArray[np.uint8]
Draw = Callable[[int, np.random.Generator], Pixels]
"""(side, random) -> (S, S, 3) uint8."""


def _cloth(size: int, random: np.random.Generator) -> Floats:
    """(S, S, 3) float32: woven, brushed or grained, in any colour, at any angle, never quite even."""
    grid = np.arange(size, dtype=np.float32)
    angle, rate = random.uniform(0, math.pi), random.uniform(0.5, 1.3) * 128 / size
    along = rate * (grid[None, :] * math.cos(angle) + grid[:, None] * math.sin(angle))
    across = rate * (grid[:, None] * math.cos(angle) - grid[None, :] * math.sin(angle))
    cloud = smooth_noise(size, int(random.integers(5, 12)), random) - np.float32(0.5)
    kind = random.integers(3)
    if kind == 0:
        texture = np.sin(along + 2 * cloud) * np.sin(across - 2 * cloud)
    elif kind == 1:
        lines = smooth_noise(size, size // 2, random)
        texture = 2 * blurred(lines, 2.0) - 1 + 0.5 * np.sin(2.2 * along)
    else:
        texture = 2.4 * (smooth_noise(size, size // int(random.integers(3, 6)), random) - 0.5)
    grey = np.float32(random.uniform(80, 190))
    tint = random.normal(0, 18, 3).astype(np.float32)
    shade = grey + random.uniform(8, 22) * texture + 40 * cloud
    coloured: Floats = shade[..., None] + tint
    for _ in range(random.integers(0, 4)):  # lint, which is no defect
        x, y = random.uniform(0, size, 2)
        speck = mask(size, [ellipse(x, y, 0.008 * size, 0.008 * size, 8)])
        coloured = over(coloured, coloured + random.uniform(-40, 40), speck)
    return coloured


def _spot(size: int, random: np.random.Generator) -> Floats:
    """(S, S) coverage of a small ragged blot."""
    x, y = random.uniform(0.12, 0.88, 2) * size
    radius = random.uniform(0.022, 0.045) * size
    outline = ellipse(x, y, radius, radius * random.uniform(0.6, 1), 14)
    ragged = (outline - (x, y)) * random.uniform(0.7, 1.3, (14, 1)) + (x, y)
    return blurred(mask(size, [rounded(ragged)]), 1.0)


def _scratch(size: int, random: np.random.Generator) -> Floats:
    """(S, S) coverage of a thin bent line."""
    start, angle = random.uniform(0.15, 0.85, 2) * size, random.uniform(0, 2 * math.pi)
    bend, length = random.uniform(-0.8, 0.8), random.uniform(0.16, 0.36) * size
    turn = angle + bend * np.linspace(0, 1, 8)
    spine = start + np.cumsum(np.stack([np.cos(turn), np.sin(turn)], axis=1), axis=0) * length / 8
    width = random.uniform(0.005, 0.009) * size
    side = np.stack([-np.sin(turn), np.cos(turn)], axis=1) * width
    return mask(size, [np.concatenate([spine + side, (spine - side)[::-1]])])


def cloth(defect: str, size: int, random: np.random.Generator) -> Pixels:
    """Cloth with a scratch, a spot, or nothing on it but lint."""
    picture = _cloth(size, random)
    own = np.random.default_rng(random.integers(1 << 32))  # a defect changes nothing beside itself
    if defect != "sound":
        contrast = own.uniform(24, 55) * (1 if own.random() < 0.5 else -1)
        where = _scratch(size, own) if defect == "scratch" else _spot(size, own)
        picture = over(picture, picture + np.float32(contrast), where)
    return camera(picture, random)


@dataclass(frozen=True, slots=True)
class Leaf:
    """How the leaves of a tree look: lengths in half-widths."""

    length: float
    lobes: int
    depth: float
    """Of the lobes, as a share of the radius."""
    teeth: float
    """Of the margin, likewise."""
    veins: int


LEAVES = {
    "aspen": Leaf(1.05, 0, 0.0, 0.05, 4),
    "lime": Leaf(1.2, 0, 0.0, 0.02, 5),
    "beech": Leaf(1.45, 0, 0.0, 0.0, 8),
    "elm": Leaf(1.5, 0, 0.0, 0.06, 9),
    "willow": Leaf(2.6, 0, 0.0, 0.02, 9),
    "maple": Leaf(1.1, 5, 0.34, 0.04, 5),
    "oak": Leaf(1.6, 9, 0.2, 0.0, 6),
    "thorn": Leaf(1.25, 7, 0.26, 0.05, 4),
}


def leaf(name: str, size: int, random: np.random.Generator) -> Pixels:
    """A leaf on some ground: any size, turn and colour from green to brown."""
    kind = LEAVES[name]
    angle = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    lobes = 1 + kind.depth * random.uniform(0.7, 1.3) * np.cos(kind.lobes * angle + random.normal(0, 0.2))
    teeth = 1 + kind.teeth * random.uniform(0.6, 1.4) * np.where(np.arange(120) % 2, 1, -1)
    radius = lobes * teeth * random.normal(1, 0.02, 120)
    length = kind.length * random.uniform(0.85, 1.15)
    outline = np.stack([radius * np.sin(angle), -length * radius * np.cos(angle)], axis=1)
    outline[:, 0] *= 1 + random.uniform(0.1, 0.3) * outline[:, 1] / length  # broader below
    veins = [_stroke((0, -0.9 * length), (0, 1.35 * length), 0.03)]
    for y in np.linspace(-0.6, 0.7, kind.veins) * length:
        veins += [_stroke((0, y), (side * 0.75, y - 0.35), 0.018) for side in (-1, 1)]
    place = _Place(size, size * random.uniform(0.14, 0.2), random)
    body, lines = mask(size, [place.put(outline)]), mask(size, [place.put(vein) for vein in veins])
    green = np.array([random.uniform(60, 190), random.uniform(90, 160), random.uniform(30, 80)])
    colours = np.full((size, size, 3), green, dtype=np.float32)
    colours *= (0.75 + 0.5 * smooth_noise(size, 7, random))[..., None]
    colours = over(colours, colours * random.uniform(0.7, 1.35), lines)
    return camera(over(backdrop(size, random), colours, body), random)


@dataclass(frozen=True, slots=True)
class Beetle:
    """A beetle's build, which both of a pair have, and its detail, which only one has."""

    width: float
    length: float
    pattern: str
    detail: bool


BEETLES = {
    f"{name}_{which}": Beetle(width, length, pattern, which == "b")
    for name, width, length, pattern in (
        ("collar", 0.8, 1.5, "collar"),
        ("spots", 1.05, 1.15, "spots"),
        ("horns", 0.6, 1.6, "horns"),
        ("bands", 0.9, 1.3, "bands"),
    )
    for which in ("a", "b")
}


def beetle(name: str, size: int, random: np.random.Generator) -> Pixels:
    """A beetle seen from above, any colour and turn; the two of a pair draw alike from `random`."""
    kind = BEETLES[name]
    length = kind.length * random.uniform(0.92, 1.08)
    place = _Place(size, size * random.uniform(0.13, 0.18), random)
    shell, neck = ellipse(0, 0.35, kind.width, length), ellipse(0, 0.2 - length, 0.7 * kind.width, 0.42)
    head = ellipse(0, -0.3 - length, 0.4 * kind.width, 0.32)
    swing = random.normal(0, 0.12, 6)
    legs = [
        _stroke((0, y), (side * (kind.width + 0.75), y + 0.5 * (y - 0.1) + bend), 0.07)
        for (side, y), bend in zip(
            ((side, y) for side in (-1, 1) for y in (-0.6, 0.1, 0.8)), swing.tolist(), strict=True
        )
    ]
    horn = 1.5 if kind.pattern == "horns" and kind.detail else 0.85
    brow = -0.4 - length
    horns = [_stroke((0, brow), (side * 0.75 * horn, brow - horn), 0.05) for side in (-1, 1)]
    dark = np.float32(random.uniform(20, 70)) + random.normal(0, 8, 3).astype(np.float32)
    gloss = np.clip(dark + random.uniform(10, 60, 3), 0, 200).astype(np.float32)
    pale = np.clip(random.uniform(150, 225) + random.normal(0, 25, 3), 90, 250).astype(np.float32)
    picture = backdrop(size, random)
    for outlines, colour in (([*legs, *horns, head], dark), ([neck], dark), ([shell], gloss)):
        where = mask(size, [place.put(outline) for outline in outlines])
        shade = np.float32(0.6) + np.float32(0.55) * blurred(where, 0.3 * place.scale)
        picture = over(picture, colour * shade[..., None], where)
    seam = mask(size, [place.put(_stroke((0, 0.35 - length), (0, 0.35 + length), 0.03))])
    marks = mask(size, [place.put(mark) for mark in _marks(kind, length)])
    picture = over(over(picture, dark, seam), pale, marks * np.float32(random.uniform(0.6, 0.95)))
    return camera(picture, random)


def _marks(kind: Beetle, length: float) -> list[Points]:
    """What is painted on the shell, pale."""
    width = kind.width
    if kind.pattern == "collar":
        line = [_stroke((-0.6 * width, 0.45 - length), (0.6 * width, 0.45 - length), 0.09)]
        return line if kind.detail else []
    if kind.pattern == "spots":
        rows = [-0.4, 0.3, 1.0] if kind.detail else [-0.3, 0.9]
        return [ellipse(side * 0.45 * width, y, 0.17, 0.17, 14) for y in rows for side in (-1, 1)]
    if kind.pattern == "bands":
        rows = [0.0, 0.75] if kind.detail else [0.35]
        return [_stroke((-0.8 * width, y), (0.8 * width, y), 0.1) for y in rows]
    return []


def _stroke(start: tuple[float, float], end: tuple[float, float], width: float) -> Points:
    """A band from one point to another, `width` to each side."""
    along = np.array(end) - start
    side = np.array([-along[1], along[0]]) / max(float(np.hypot(*along)), 1e-6) * width
    return np.stack([start + side, end + side, end - side, start - side])


class _Place:
    """Where a thing lies in the picture, how large and how turned."""

    def __init__(self, size: int, scale: float, random: np.random.Generator) -> None:
        self.scale = scale
        self._middle = random.uniform(0.38, 0.62, 2) * size
        turn = random.uniform(0, 2 * math.pi)
        self._turn = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])

    def put(self, outline: Points) -> Points:
        """From its own lengths to pixels."""
        pixels: Points = outline * self.scale @ self._turn + self._middle
        return pixels


DRAWN: dict[str, dict[str, Draw]] = {
    "defects": {name: partial(cloth, name) for name in ("sound", "scratch", "spot")},
    "skewed": {name: partial(leaf, name) for name in LEAVES},
    "twins": {name: partial(beetle, name) for name in BEETLES},
}
"""Kind -> class -> how one of its pictures is drawn."""
