"""One animal of the sample set: body, head and ears as masks, dressed in fur, with a face."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workbench.dataset.sample.breeds import COATS, Breed
from workbench.dataset.sample.coats import fur, varied
from workbench.dataset.sample.faces import EAR_OUTLINES, draw_face, muzzle_height
from workbench.dataset.sample.shapes import (
    Floats,
    Points,
    Pose,
    blurred,
    ellipse,
    fringed,
    mask,
    over,
    rounded,
)


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
