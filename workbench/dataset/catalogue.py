"""The catalogue: every image of a data set, with what is known of it. Made by the readers, used by all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from workbench.dataset.contents import Content, read_contents
from workbench.dataset.depth import Scale, scale_of
from workbench.dataset.groups import group_numbers
from workbench.support.clean import clean
from workbench.support.digests import BY_CONTENT, fingerprint
from workbench.support.errors import UserError, nearest
from workbench.support.progress import QUIET, Progress


def shuffled_ranks(ids: Iterable[str], purpose: str, seed: int) -> NDArray[np.int64]:
    """(N,) int64: the place of each id in an order drawn for `purpose` and `seed`.

    Ids are ordered by a SHA-256 of (purpose, seed, id). Two images keep their order whichever others come or
    go, so one unreadable file does not reshuffle a split; orders for two purposes are independent.
    """
    start = hashlib.sha256(f"petbench {purpose} {seed} ".encode())
    digests = []
    for name in ids:
        digest = start.copy()
        digest.update(name.encode("utf-8", "surrogatepass"))
        digests.append(digest.digest())
    ranks = np.empty(len(digests), dtype=np.int64)
    ranks[sorted(range(len(digests)), key=digests.__getitem__)] = np.arange(len(digests))
    return ranks


def find_images(catalogue: Catalogue, ids: Sequence[str]) -> list[int]:
    """The positions of these images, in their order.

    Raises:
        UserError: the data set has no image of such an id (names the nearest), or it cannot be used.
    """
    known = {record.id: position for position, record in enumerate(catalogue.records)}
    for name in ids:
        if name not in known:
            raise _missing(catalogue, name, known)
    return [known[name] for name in ids]


def _missing(catalogue: Catalogue, name: str, known: dict[str, int]) -> UserError:
    where = clean(catalogue.root)
    for image in catalogue.left_out:
        if image.id == name:
            return UserError(f"{clean(name, 80)} cannot be used: {clean(image.reason)}", where=where)
    near = nearest(name, known)
    return UserError(
        f"no image {clean(name, 80)!r}",
        where=where,
        hint=f"did you mean {clean(near, 80)}?"
        if near
        else f"an id such as {clean(catalogue.records[0].id, 80)}",
    )


Part = Literal["train", "validation", "test", "unlabelled", "extra_labelled", "extra_unlabelled"]
"""`validation`: a folder's own. `unlabelled`: the data set's own images of unknown class, for the pool of
[pseudo_label]. `extra_…`: images beside the data set's own, that only train."""
EXTRA_PARTS: tuple[Part, ...] = ("extra_labelled", "extra_unlabelled")

_KINDS_TOLD = 12
"""Kinds of files passed over that are told one by one."""

_LARGEST_SIGNED = 2**31 - 1

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
    understood: tuple[str, ...] = ()
    """Which folder or column was taken for what, in lines for people."""
    cautions: tuple[str, ...] = ()
    """What figures on these images do not tell, as a run warns of it and `petbench start` does."""

    def __len__(self) -> int:
        return len(self.records)

    def unused(self) -> Iterator[str]:
        """Which files are not used and why, in lines, as a run warns of them and `recipe check` does."""
        yield from (f"left out {image.id}: {image.reason}" for image in self.left_out)
        yield from (f"passed over {line}" for line in self.passed_over[:_KINDS_TOLD])
        if more := len(self.passed_over[_KINDS_TOLD:]):
            yield f"passed over {more} more kinds: petbench data check lists them"

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

    def heads_among(self, positions: NDArray[np.int64]) -> int:
        """How many of these images have a head box."""
        return len(heads_of([self.records[position] for position in positions.tolist()]))

    def subset(self, positions: Sequence[int]) -> Catalogue:
        """These images alone, whose contents are then known."""
        few = replace(self, records=tuple(self.records[position] for position in positions))
        few.__dict__["contents"] = tuple(self.contents[position] for position in positions)
        return few

    @cached_property
    def is_extra(self) -> NDArray[np.bool_]:
        """(N,) whether each record lies beside the data set: `extra_labelled` and `extra_unlabelled`."""
        return np.array([record.part in EXTRA_PARTS for record in self.records], dtype=np.bool_)

    @cached_property
    def groups(self) -> NDArray[np.int64] | None:
        """(N,) equal for records of one group; None where no record names one."""
        names = [record.group for record in self.records]
        return group_numbers(names) if any(names) else None

    @cached_property
    def contents(self) -> tuple[Content, ...]:
        """What each image's file holds; those that changed since they were last read are read now."""
        return self._read_contents(QUIET)

    def know_contents(self, reporter: Progress) -> None:
        """Read now what `contents` would, and say how far that is: of a new data set it takes a while."""
        if "contents" not in self.__dict__:
            self.__dict__["contents"] = self._read_contents(reporter)

    def _read_contents(self, reporter: Progress) -> tuple[Content, ...]:
        found: dict[int, Content] = {}
        for extra in (None, *EXTRA_PARTS):
            group = [i for i, r in enumerate(self.records) if (r.part if self.is_extra[i] else None) == extra]
            if not group:
                continue
            paths = [self.records[i].path for i in group]
            root = self.root
            if extra is not None:
                root = Path(os.path.commonpath([path.parent for path in paths]))
            found |= zip(group, read_contents(root, paths, reporter=reporter), strict=True)
        return tuple(found[i] for i in range(len(self.records)))

    @cached_property
    def scale(self) -> Scale | None:
        """How pictures of more than 8 bits are read; None where there are none."""
        return scale_of(content.deep for content in self.contents)

    @cached_property
    def pixels(self) -> str:
        """Changes when the pixels of an image do, or their order: what decoded pixels and features go by."""
        digests = [content.digest for content in self.contents]
        if any(content.deep is not None and content.deep.high > _LARGEST_SIGNED for content in self.contents):
            digests.append("unsigned")  # what was kept of them by 0.1.0 was too dark
        return fingerprint(digests)

    @cached_property
    def fingerprint(self) -> str:
        """Changes when an image is added, removed, replaced, boxed otherwise, or of another class or part."""
        rows = [
            [r.id, r.breed, r.species, r.part, content.digest, r.head and astuple(r.head)]
            + ([r.group] if r.group else [])
            for r, content in zip(self.records, self.contents, strict=True)
        ]
        return BY_CONTENT + fingerprint(rows)

    @cached_property
    def pictures(self) -> str:
        """Changes when an image is added, removed, replaced or relabelled, whatever part it is in: runs under
        several split seeds, which draw a folder's parts anew, have it in common."""
        return fingerprint(
            sorted(
                [r.id, r.breed, r.species, c.digest] for r, c in zip(self.records, self.contents, strict=True)
            )
        )

    def without_own_pool(self) -> Catalogue:
        """Without the data set's own images that nobody has labelled."""
        return self.subset(np.flatnonzero([record.part != "unlabelled" for record in self.records]).tolist())

    def has_fingerprint(self, written: str) -> bool:
        """Whether the data fingerprint of a run, of today's kind or an older one, is of these images."""
        return written == (self.fingerprint if written.startswith(BY_CONTENT) else self.fingerprint_by_name)

    @cached_property
    def fingerprint_by_name(self) -> str:
        """What older runs have for a fingerprint: to it, pictures of one size and length are one."""
        return fingerprint([[r.id, r.breed, r.species, r.part, r.size, r.bytes] for r in self.records])
