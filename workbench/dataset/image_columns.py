"""One image of a data set, and many of them as columns: a million are some arrays and their names."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args, overload

import numpy as np
from numpy.typing import NDArray

Part = Literal["train", "validation", "test", "unlabelled", "extra_labelled", "extra_unlabelled"]
"""`validation`: a folder's own. `unlabelled`: the data set's own images of unknown class, for the pool of
[pseudo_label]. `extra_…`: images beside the data set's own, that only train."""
EXTRA_PARTS: tuple[Part, ...] = ("extra_labelled", "extra_unlabelled")

LONGEST = 3
"""An image with sides in this proportion is looked at whole. The pets' have 2.6 at most."""

KEPT = 2
"""Of a longer one so many short sides are kept, from its middle: squashed to a square it would lose, along
its length, all that evaluation's crops, squares of its short side, could show."""


@dataclass(frozen=True, slots=True)
class HeadBox:
    """A head region as fractions of the image's width and height, 0 <= left < right <= 1, likewise down."""

    left: float
    top: float
    right: float
    bottom: float

    def within(self, size: tuple[int, int]) -> HeadBox | None:
        """The same box in fractions of what is kept of an image of this size; None where nothing of it is."""
        if not is_long(size):
            return self
        x0, y0, x1, y1 = kept_part(size)
        (width, height), kept = size, (x1 - x0, y1 - y0)
        left, right = ((edge * width - x0) / kept[0] for edge in (self.left, self.right))
        top, bottom = ((edge * height - y0) / kept[1] for edge in (self.top, self.bottom))
        cut = HeadBox(max(left, 0.0), max(top, 0.0), min(right, 1.0), min(bottom, 1.0))
        return cut if cut.left < cut.right and cut.top < cut.bottom else None


def is_long(size: tuple[int, int]) -> bool:
    """Whether only the middle of an image of this (width, height) is kept."""
    return max(size) > LONGEST * min(size)


def kept_part(size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom in pixels of what is looked at: the image, or the middle of a long one."""
    if not is_long(size):
        return 0, 0, *size
    width, height = (min(side, KEPT * min(size)) for side in size)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return left, top, left + width, top + height


def long_words(sizes: Iterable[tuple[int, int]]) -> str:
    """What becomes of the long images among these, in a sentence; empty where there is none."""
    long = [size for size in sizes if is_long(size)]
    if not long:
        return ""
    most = max(max(size) / min(size) for size in long)
    return (
        f"{len(long)} images are longer than {LONGEST}:1, up to {most:.0f}:1: training and evaluation see "
        f"the middle {KEPT}:1 of each; cut them up beforehand if what lies farther out counts"
    )


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image; `id` is unique in its catalogue and stable over machines: `Abyssinian_1`, `cats/tom.jpg`."""

    id: str
    path: Path
    breed: int
    """-1 where it is not known, as of unlabelled images."""
    species: int | None
    """-1 where it is not known; None where the data set knows none."""
    part: Part
    size: tuple[int, int]
    """(width, height) in pixels of the file on disk, upright: after its EXIF orientation."""
    bytes: int
    """Length of the file."""
    head: HeadBox | None = None
    group: str = ""
    """What it belongs together with, such as a patient: no part has one half of it. "": nothing."""


def heads_of(records: Sequence[ImageRecord]) -> dict[int, HeadBox]:
    """Position to head box, in fractions of what is kept of the image, of those that have one."""
    found = ((i, r.head and r.head.within(r.size)) for i, r in enumerate(records))
    return {position: box for position, box in found if box is not None}


PARTS: tuple[Part, ...] = get_args(Part)
NO_SPECIES = -2
"""In a column: the data set knows no species."""


@dataclass(frozen=True, eq=False)
class ImageColumns(Sequence[ImageRecord]):
    """N images by position; a record is made when it is asked for: whoever needs one fact reads its column.

    Equal to a sequence of the same records.
    """

    root: Path
    ids: Sequence[str]
    files: Sequence[str]
    """(N) below `root`, or absolute of those that lie elsewhere."""
    breed: NDArray[np.int64]
    """(N,), -1 where it is not known."""
    species: NDArray[np.int64]
    """(N,), -1 where it is not known, -2 where the data set knows none."""
    part: NDArray[np.uint8]
    """(N,) indices in `PARTS`."""
    sizes: NDArray[np.int64]
    """(N, 2) width and height, upright."""
    bytes: NDArray[np.int64]
    """(N,) lengths of the files."""
    heads: NDArray[np.float64] | None = None
    """(N, 4) head boxes as in `HeadBox`, NaN where there is none; None: nowhere."""
    groups: Sequence[str] | None = None
    """(N) names; None: no image is of a group."""

    @classmethod
    def of(cls, root: Path, records: Iterable[ImageRecord]) -> ImageColumns:
        """The columns of records; of what is in columns already, itself."""
        if isinstance(records, ImageColumns):
            return records
        rows = list(records)
        below = f"{os.fspath(root)}{os.sep}"
        boxes = [row.head for row in rows]
        nowhere = (np.nan,) * 4
        return cls(
            root,
            [row.id for row in rows],
            [os.fspath(row.path).removeprefix(below) for row in rows],
            np.array([row.breed for row in rows], dtype=np.int64),
            np.array([NO_SPECIES if row.species is None else row.species for row in rows], dtype=np.int64),
            np.array([PARTS.index(row.part) for row in rows], dtype=np.uint8),
            np.array([row.size for row in rows], dtype=np.int64).reshape(-1, 2),
            np.array([row.bytes for row in rows], dtype=np.int64),
            np.array([nowhere if b is None else (b.left, b.top, b.right, b.bottom) for b in boxes])
            if any(boxes)
            else None,
            [row.group for row in rows] if any(row.group for row in rows) else None,
        )

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, position: int) -> ImageRecord: ...
    @overload
    def __getitem__(self, position: slice) -> ImageColumns: ...
    def __getitem__(self, position: int | slice) -> ImageRecord | ImageColumns:
        if isinstance(position, slice):
            return self.take(range(len(self))[position])
        species, (width, height) = int(self.species[position]), self.sizes[position].tolist()
        return ImageRecord(
            self.ids[position],
            Path(self.file(position)),
            int(self.breed[position]),
            None if species == NO_SPECIES else species,
            PARTS[self.part[position]],
            (width, height),
            int(self.bytes[position]),
            self._head(position),
            "" if self.groups is None else self.groups[position],
        )

    def __iter__(self) -> Iterator[ImageRecord]:
        return map(self.__getitem__, range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # as of every value that is compared by arrays

    def file(self, position: int) -> str:
        """Where an image's file lies."""
        return os.path.join(self.root, self.files[position])  # noqa: PTH118 (of a million)

    @cached_property
    def places(self) -> list[str]:
        """(N) where the files lie."""
        return [self.file(position) for position in range(len(self))]

    def take(self, positions: Iterable[int]) -> ImageColumns:
        """These images alone, in this order."""
        chosen = list(positions)
        rows = np.array(chosen, dtype=np.int64)
        return ImageColumns(
            self.root,
            [self.ids[position] for position in chosen],
            [self.files[position] for position in chosen],
            self.breed[rows],
            self.species[rows],
            self.part[rows],
            self.sizes[rows],
            self.bytes[rows],
            None if self.heads is None else self.heads[rows],
            None if self.groups is None else [self.groups[position] for position in chosen],
        )

    def heads_at(self, positions: Iterable[int]) -> dict[int, HeadBox]:
        """Position to head box, in fractions of what is kept of the image, of those that have one."""
        if self.heads is None:
            return {}
        boxes = ((p, self._head(p), self.sizes[p].tolist()) for p in positions)
        found = ((p, box and box.within((size[0], size[1]))) for p, box, size in boxes)
        return {position: box for position, box in found if box is not None}

    @cached_property
    def long_sizes(self) -> list[tuple[int, int]]:
        """(width, height) of the images that only the middle is kept of: see `is_long`."""
        rows = self.sizes.max(axis=1, initial=0) > LONGEST * self.sizes.min(
            axis=1, initial=np.iinfo(np.int64).max // 4
        )
        return [(width, height) for width, height in self.sizes[rows].tolist()]

    def _head(self, position: int) -> HeadBox | None:
        if self.heads is None or np.isnan(self.heads[position, 0]):
            return None
        return HeadBox(*self.heads[position].tolist())
