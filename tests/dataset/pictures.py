"""Small real files for the tests: pictures, an Oxford layout, a folder of classes."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from workbench.dataset import open_catalogue
from workbench.dataset.catalogue import Catalogue, ImageRecord, Part
from workbench.recipe import Data

XML = (
    "<annotation><size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    "<object><name>cat</name><bndbox><xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax>"
    "<ymax>{bottom}</ymax></bndbox></object></annotation>"
)


def picture(seed: int = 0, width: int = 40, height: int = 30) -> Image.Image:
    """A picture with structure, different for every seed."""
    grid = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC)


def jpeg(seed: int = 0, width: int = 40, height: int = 30) -> bytes:
    """The picture as a JPEG file."""
    stream = io.BytesIO()
    picture(seed, width, height).save(stream, "JPEG", quality=92)
    return stream.getvalue()


def make_oxford(root: Path, train: Iterable[str], test: Iterable[str]) -> Path:
    """An Oxford layout whose lists have these lines (`NAME CLASS SPECIES BREED`), with an image for each."""
    (root / "images").mkdir(parents=True)
    (root / "annotations" / "xmls").mkdir(parents=True)
    lists = {"trainval": list(train), "test": list(test)}
    for name, lines in lists.items():
        (root / "annotations" / f"{name}.txt").write_text("\n".join(lines) + "\n")
    for seed, line in enumerate(lists["trainval"] + lists["test"]):
        fields = line.split()
        if fields and "/" not in fields[0] and not line.startswith("#"):
            (root / "images" / f"{fields[0]}.jpg").write_bytes(jpeg(seed))
    return root


def small_oxford(root: Path) -> Path:
    """Two cats and two dogs to train on, one of each to test, every one with a head box."""
    train = ["Tom_1 1 1 1", "Tom_2 1 1 1", "rex_1 2 2 1", "rex_2 2 2 1"]
    make_oxford(root, train, ["Tom_3 1 1 1", "rex_3 2 2 1"])
    for line in train:
        box_file(root, line.split()[0]).write_text(box())
    return root


def box_file(root: Path, name: str) -> Path:
    """Where the head box of an image lies."""
    return root / "annotations" / "xmls" / f"{name}.xml"


def box(
    left: float = 10,
    top: float = 5,
    right: float = 30,
    bottom: float = 25,
    *,
    width: int = 40,
    height: int = 30,
) -> str:
    """A head box file."""
    return XML.format(left=left, top=top, right=right, bottom=bottom, width=width, height=height)


def make_folder(root: Path, counts: Mapping[str, int]) -> Path:
    """`counts[directory]` pictures in each directory below `root`."""
    seed = 0
    for directory, count in counts.items():
        (root / directory).mkdir(parents=True)
        for index in range(count):
            (root / directory / f"{index:03d}.jpg").write_bytes(jpeg(seed))
            seed += 1
    return root


def paper_catalogue(counts: Iterable[tuple[int, int]]) -> Catalogue:
    """A catalogue without files: per class (training images, test images)."""
    records = []
    names = []
    for label, (train, test) in enumerate(counts):
        names.append(f"class{label}")
        for index in range(train + test):
            part: Part = "train" if index < train else "test"
            name = f"class{label}_{index}"
            records.append(ImageRecord(name, Path(f"{name}.jpg"), label, label % 2, part, (8, 8), 100))
    return Catalogue("folder", Path("nowhere"), tuple(names), ("cat", "dog"), tuple(records))


def open_folder(root: Path, **knobs: object) -> Catalogue:
    """The catalogue of a folder, with these knobs of [data]."""
    data = Data.model_validate({"dataset": "folder", "root": str(root), **knobs})
    return open_catalogue(data, data_home=root)
