"""Folders of images that every side reads alike: `train/CLASS/…`, and `test/CLASS/…` to validate on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.options import PETS
from workbench.dataset.oxford import read_oxford

CLASSES = 37
# As the pets of the development set: short side 256 px, and as much JPEG to decode.
SHORT_SIDE, LONG_SIDE = 256, 341
# Different drawn pictures a folder; more images than that are copies, since their content decides no time.
DIFFERENT = 256


@dataclass(frozen=True, slots=True)
class Tree:
    """Images on disk."""

    root: Path
    source: str
    """Where they come from, for the report."""
    classes: int
    training: int
    validation: int


def make_tree(root: Path, images: int, validation: int, pets: Path | None) -> Tree:
    """`images` training and `validation` images, spread evenly over the classes, every class in both parts.

    Pets are linked, not copied. Without them pictures are drawn: coloured noise of the same size, a tint a
    class.
    """
    classes = min(CLASSES, images, validation)
    if pets is not None:
        chosen = _pets(pets, classes)
        for part, count in (("train", images), ("test", validation)):
            _link(root / part, chosen, count)
        return Tree(root, "Oxford-IIIT Pet", classes, images, validation)
    for part, count in (("train", images), ("test", validation)):
        draw_folder(root / part, count, classes, (LONG_SIDE, SHORT_SIDE))
    return Tree(root, f"drawn noise, {LONG_SIDE} × {SHORT_SIDE} px", classes, images, validation)


def draw_folder(root: Path, images: int, classes: int, size: tuple[int, int]) -> None:
    """`images` JPEG files of this width and height in class sub-folders, evenly."""
    rng = np.random.default_rng(0)
    bytes_of = [_jpeg(rng, number, classes, size) for number in range(min(images, max(classes, DIFFERENT)))]
    folders = [root / class_folder(number) for number in range(classes)]
    for folder in folders:
        folder.mkdir(parents=True)
    with ThreadPoolExecutor() as pool:
        for _ in pool.map(
            lambda i: (folders[i % classes] / f"{i:06d}.jpg").write_bytes(_of_class(bytes_of, i, classes)),
            range(images),
        ):
            pass


def class_folder(number: int) -> str:
    """Its name; by name they sort as by number, so that every tool counts the classes alike."""
    return f"class{number:04d}"


def _of_class(pictures: Sequence[bytes], image: int, classes: int) -> bytes:
    """A picture with the tint of the image's class."""
    own = range(image % classes, len(pictures), classes)
    return pictures[own[image // classes % len(own)]]


def _jpeg(rng: np.random.Generator, number: int, classes: int, size: tuple[int, int]) -> bytes:
    hue = 256 * (number % classes) // classes
    tint = np.array(Image.new("HSV", (1, 1), (hue, 160, 200)).convert("RGB"))[0, 0]
    coarse = np.clip(tint + rng.normal(0, 40, (12, 12, 3)), 0, 255).astype(np.uint8)
    smooth = np.array(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC), dtype=np.int16)
    noisy = np.clip(smooth + rng.normal(0, 8, smooth.shape), 0, 255).astype(np.uint8)
    buffer = BytesIO()
    Image.fromarray(noisy).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _pets(pets: Path, classes: int) -> list[Iterator[Path]]:
    """For each class its training images, in an order that training and validation take from."""
    catalogue = read_oxford(pets / PETS, dataset="oxford-iiit-pet")
    paths: dict[int, list[Path]] = defaultdict(list)
    for record, label in zip(catalogue.records, catalogue.labels("breed"), strict=True):
        if record.part == "train" and label < classes:
            paths[int(label)].append(record.path)
    return [iter(paths[label]) for label in range(classes)]


def _link(part: Path, pictures: list[Iterator[Path]], count: int) -> None:
    for number in range(len(pictures)):
        (part / class_folder(number)).mkdir(parents=True)
    for image in range(count):
        label = image % len(pictures)
        path = next(pictures[label], None)
        if path is None:
            raise SystemExit(f"there are not so many pets: class {label} has no more images")
        (part / class_folder(label) / path.name).symlink_to(path.resolve())
