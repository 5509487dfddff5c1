"""The catalogue: every image of a data set, with what is known of it. Made by the readers, used by all."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from workbench.support.fingerprint import fingerprint

Part = Literal["train", "validation", "test", "extra_labelled", "extra_unlabelled"]
"""`validation`: a folder's own. `extra_…`: images beside the data set's own, that only train."""
EXTRA_PARTS: tuple[Part, ...] = ("extra_labelled", "extra_unlabelled")


@dataclass(frozen=True, slots=True)
class HeadBox:
    """A head region as fractions of the image's width and height, 0 <= left < right <= 1, likewise down."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image; `id` is unique in its catalogue and stable over machines: `Abyssinian_1`, `cats/tom.jpg`."""

    id: str
    path: Path
    breed: int
    """-1 where it is not known, as of extra unlabelled images."""
    species: int | None
    """-1 where it is not known; None where the data set knows none."""
    part: Part
    size: tuple[int, int]
    """(width, height) in pixels of the file on disk, upright: after its EXIF orientation."""
    bytes: int
    """Length of the file, part of the data fingerprint."""
    head: HeadBox | None = None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A listed image that cannot be used, and why; reported by name, never a crash."""

    id: str
    reason: str


@dataclass(frozen=True)
class Catalogue:
    """Every usable image of a data set in a stable order: an image's position here is its number everywhere.

    Positions, not ids, travel through splits, batches and predictions as int64 arrays.
    """

    dataset: str
    root: Path
    breeds: tuple[str, ...]
    species: tuple[str, ...]
    """("cat", "dog"), or empty where the data set knows none."""
    records: tuple[ImageRecord, ...]
    left_out: tuple[LeftOut, ...] = ()
    passed_over: tuple[str, ...] = ()
    """Files that are no images of the data set, a line for each kind and class."""

    def __len__(self) -> int:
        return len(self.records)

    def classes(self, target: Literal["breed", "species"]) -> tuple[str, ...]:
        """Class names of a target, in the order of its labels."""
        return self.breeds if target == "breed" else self.species

    def labels(self, target: Literal["breed", "species"]) -> NDArray[np.int64]:
        """(N,) int64 true labels of every record; -1 where the truth is not known."""
        values = [r.breed if target == "breed" else r.species for r in self.records]
        return np.array(values, dtype=np.int64)

    def positions(self, part: Part) -> NDArray[np.int64]:
        """(K,) int64 ascending positions of a part's records."""
        return np.array([i for i, r in enumerate(self.records) if r.part == part], dtype=np.int64)

    @cached_property
    def is_extra(self) -> NDArray[np.bool_]:
        """(N,) whether each record lies beside the data set: `extra_labelled` and `extra_unlabelled`."""
        return np.array([record.part in EXTRA_PARTS for record in self.records], dtype=np.bool_)

    @cached_property
    def fingerprint(self) -> str:
        """Changes when an image is added, removed, moved to another class or part, or its size changes."""
        return fingerprint([[r.id, r.breed, r.species, r.part, r.size, r.bytes] for r in self.records])
