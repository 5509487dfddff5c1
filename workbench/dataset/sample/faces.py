"""Faces of the sample set: ears from inside, muzzle, nose, mouth, eyes, whiskers and tongues."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from workbench.dataset.sample.breeds import Breed, Coat, Ears
from workbench.dataset.sample.shapes import OVERSAMPLE, Floats, Points, Pose, corners, ellipse, rounded

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
