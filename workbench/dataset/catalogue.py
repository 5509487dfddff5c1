"""The catalogue: every image of a data set, with what is known of it. Made by the readers, used by all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from workbench.dataset.contents import ContentColumns, read_contents
from workbench.dataset.depth import Scale, scale_of
from workbench.dataset.groups import group_numbers
from workbench.dataset.image_columns import EXTRA_PARTS as EXTRA_PARTS
from workbench.dataset.image_columns import KEPT as KEPT
from workbench.dataset.image_columns import LONGEST as LONGEST
from workbench.dataset.image_columns import NO_SPECIES, PARTS, ImageColumns
from workbench.dataset.image_columns import HeadBox as HeadBox
from workbench.dataset.image_columns import ImageRecord as ImageRecord
from workbench.dataset.image_columns import Part as Part
from workbench.dataset.image_columns import heads_of as heads_of
from workbench.dataset.image_columns import is_long as is_long
from workbench.dataset.image_columns import kept_part as kept_part
from workbench.dataset.image_columns import long_words as long_words
from workbench.support.clean import clean
from workbench.support.digests import BY_CONTENT, fingerprint
from workbench.support.errors import UserError, nearest
from workbench.support.progress import QUIET, Progress


def shuffled_ranks(ids: Iterable[str], purpose: str, seed: int) -> NDArray[np.int64]:
    """(N,) int64: the place of each id in an order drawn for `purpose` and `seed`.

    Ids are ordered by a SHA-256 of (purpose, seed, id). Two images keep their order whichever others come or
    go, so one unreadable file does not reshuffle a split; orders for two purposes are independent.
    """
    start = f"petbench {purpose} {seed} ".encode()
    digests = b"".join(hashlib.sha256(start + name.encode("utf-8", "surrogatepass")).digest() for name in ids)
    words = np.frombuffer(digests, dtype=">u8").reshape(-1, 4)  # in order as the digests are
    ranks = np.empty(len(words), dtype=np.int64)
    ranks[np.lexsort(words.T[::-1])] = np.arange(len(words))
    return ranks


def find_images(catalogue: Catalogue, ids: Sequence[str]) -> list[int]:
    """The positions of these images, in their order.

    Raises:
        UserError: the data set has no image of such an id (names the nearest), or it cannot be used.
    """
    known = {name: position for position, name in enumerate(catalogue.ids)}
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
        hint=f"did you mean {clean(near, 80)}?" if near else f"an id such as {clean(catalogue.ids[0], 80)}",
    )


_KINDS_TOLD = 12
"""Kinds of files passed over that are told one by one."""

_LARGEST_SIGNED = 2**31 - 1


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A listed image that cannot be used, and why; reported by name, never a crash."""

    id: str
    reason: str
    path: Path | None = field(default=None, compare=False)
    """Where it lies, of a file that could not be read as the data set was."""


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
    records: Sequence[ImageRecord]
    left_out: tuple[LeftOut, ...] = ()
    passed_over: tuple[str, ...] = ()
    """Files that are no images of the data set, a line for each kind and class."""
    understood: tuple[str, ...] = ()
    """Which folder or column was taken for what, in lines for people."""
    cautions: tuple[str, ...] = ()
    """What figures on these images do not tell, as a run warns of it and `petbench start` does."""
    began: int = field(default=0, compare=False)
    """When its files were first looked at, in ns; what changed since may not be remembered. 0: not known."""
    remark: str = field(default="", compare=False)
    """What was wrong with the one that had been kept; "" mostly."""
    _keep: Callable[[Catalogue], None] | None = field(default=None, init=False, compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.records)

    def kept_by(self, keep: Callable[[Catalogue], None]) -> Catalogue:
        """Itself, to be kept once its contents are read; nothing that is made of it is."""
        object.__setattr__(self, "_keep", keep)
        return self

    def unused(self) -> Iterator[str]:
        """Which files are not used and why, in lines, as a run warns of them and `recipe check` does."""
        yield from ([self.remark] if self.remark else [])
        yield from (f"left out {image.id}: {image.reason}" for image in self.left_out)
        yield from (f"passed over {line}" for line in self.passed_over[:_KINDS_TOLD])
        if more := len(self.passed_over[_KINDS_TOLD:]):
            yield f"passed over {more} more kinds: petbench data check lists them"

    def classes(self, target: Literal["breed", "species"]) -> tuple[str, ...]:
        """Class names of a target, in the order of its labels."""
        return self.breeds if target == "breed" else self.species

    @cached_property
    def columns(self) -> ImageColumns:
        """The records as columns."""
        return ImageColumns.of(self.root, self.records)

    @property
    def ids(self) -> Sequence[str]:
        """(N) of the records."""
        return self.columns.ids

    def labels(self, target: Literal["breed", "species"]) -> NDArray[np.int64]:
        """(N,) int64 true labels of every record; -1 where the truth is not known."""
        return (self.columns.breed if target == "breed" else self.columns.species).copy()

    def positions(self, part: Part) -> NDArray[np.int64]:
        """(K,) int64 ascending positions of a part's records."""
        return np.flatnonzero(self.columns.part == PARTS.index(part))

    def heads_among(self, positions: NDArray[np.int64]) -> int:
        """How many of these images have a head box."""
        return len(self.columns.heads_at(positions.tolist()))

    def subset(self, positions: Sequence[int]) -> Catalogue:
        """These images alone, whose contents are then known."""
        few = replace(self, records=self.columns.take(positions))
        few.__dict__["contents"] = self.contents.take(positions)
        return few

    @cached_property
    def is_extra(self) -> NDArray[np.bool_]:
        """(N,) whether each record lies beside the data set: `extra_labelled` and `extra_unlabelled`."""
        return np.isin(self.columns.part, [PARTS.index(part) for part in EXTRA_PARTS])

    @cached_property
    def groups(self) -> NDArray[np.int64] | None:
        """(N,) equal for records of one group; None where no record names one."""
        names = self.columns.groups
        return None if names is None else group_numbers(names)

    @cached_property
    def contents(self) -> ContentColumns:
        """What each image's file holds; those that changed since they were last read are read now."""
        self.know_contents(QUIET)
        known: ContentColumns = self.__dict__["contents"]
        return known

    def know_contents(self, reporter: Progress) -> None:
        """Read now what `contents` would, and say how far that is: of a new data set it takes a while."""
        if "contents" not in self.__dict__:
            self.__dict__["contents"] = self._read_contents(reporter)
            if self._keep is not None:
                self._keep(self)

    def _read_contents(self, reporter: Progress) -> ContentColumns:
        columns, found, order = self.columns, [], []
        for extra in (None, *EXTRA_PARTS):
            chosen = ~self.is_extra if extra is None else columns.part == PARTS.index(extra)
            group = np.flatnonzero(chosen)
            if not len(group):
                continue
            few = columns if len(group) == len(columns) else columns.take(group.tolist())
            root = self.root
            if extra is not None:
                root = Path(os.path.commonpath([os.path.dirname(place) for place in few.places]))  # noqa: PTH120
            sizes = few.sizes if self.began else None
            found.append(read_contents(root, few.places, sizes=sizes, began=self.began, reporter=reporter))
            order.append(group)
        if len(found) == 1:
            return found[0]
        return ContentColumns.joined(found).take(np.argsort(np.concatenate(order)).tolist())

    @cached_property
    def scale(self) -> Scale | None:
        """How pictures of more than 8 bits are read; None where there are none."""
        return scale_of(self.contents.deep.values())

    @cached_property
    def pixels(self) -> str:
        """Changes when the pixels of an image do, or their order: what decoded pixels and features go by."""
        digests = [*self.contents.digests]
        if any(deep.high > _LARGEST_SIGNED for deep in self.contents.deep.values()):
            digests.append("unsigned")  # what was kept of them by 0.1.0 was too dark
        return fingerprint(digests)

    @cached_property
    def fingerprint(self) -> str:
        """Changes when an image is added, removed, replaced, boxed otherwise, or of another class or part."""
        columns = self.columns
        facts = zip(self._facts(), self.contents.digests, self._boxes(), strict=True)
        rows = [[*fact, digest, box] for fact, digest, box in facts]
        for row, group in zip(rows, columns.groups or (), strict=False):
            if group:
                row.append(group)
        return BY_CONTENT + fingerprint(rows)

    @cached_property
    def pictures(self) -> str:
        """Changes when an image is added, removed, replaced or relabelled, whatever part it is in: runs under
        several split seeds, which draw a folder's parts anew, have it in common."""
        facts = zip(self._facts(), self.contents.digests, strict=True)
        return fingerprint(sorted([*fact[:3], digest] for fact, digest in facts))

    def _facts(self) -> Iterator[tuple[str, int, int | None, Part]]:
        """Id, breed, species and part of each image."""
        columns = self.columns
        species: Sequence[int | None] = columns.species.tolist()
        if (columns.species == NO_SPECIES).any():
            species = [None if number == NO_SPECIES else number for number in species]
        parts = [PARTS[number] for number in columns.part.tolist()]
        return zip(columns.ids, columns.breed.tolist(), species, parts, strict=True)

    def _boxes(self) -> list[list[float] | None]:
        """The head box of each image."""
        heads = self.columns.heads
        if heads is None:
            return [None] * len(self)
        return [None if np.isnan(box[0]) else box.tolist() for box in heads]

    @cached_property
    def boxes_fingerprint(self) -> str:
        """Changes when a head box does."""
        return fingerprint(self._boxes())

    def without_own_pool(self) -> Catalogue:
        """Without the data set's own images that nobody has labelled."""
        return self.subset(np.flatnonzero(self.columns.part != PARTS.index("unlabelled")).tolist())

    def has_fingerprint(self, written: str) -> bool:
        """Whether the data fingerprint of a run, of today's kind or an older one, is of these images."""
        return written == (self.fingerprint if written.startswith(BY_CONTENT) else self.fingerprint_by_name)

    @cached_property
    def fingerprint_by_name(self) -> str:
        """What older runs have for a fingerprint: to it, pictures of one size and length are one."""
        sizes, lengths = self.columns.sizes.tolist(), self.columns.bytes.tolist()
        facts = zip(self._facts(), sizes, lengths, strict=True)
        return fingerprint([[*fact, size, length] for fact, size, length in facts])
