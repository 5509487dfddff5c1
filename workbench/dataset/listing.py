"""What lies in a data set of one's own, before an image is opened: images by class and part, other files."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workbench.dataset.catalogue import Catalogue, LeftOut, Part, shuffled_ranks
from workbench.dataset.contents import RememberedFiles
from workbench.dataset.groups import group_numbers, held_out_groups
from workbench.dataset.image_columns import NO_SPECIES, PARTS, ImageColumns
from workbench.dataset.probe import UnreadableImage, image_endings, read_header, why_not_read
from workbench.recipe.data import Data
from workbench.support.class_key import class_key
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.progress import QUIET, Progress

DEFAULT_TEST_FRACTION = 0.2
UNKNOWN = -1
"""The class of an image that nobody has labelled."""
_ESCAPED = re.compile(rb"\\(\\|x[0-9a-f]{2})")


@dataclass(frozen=True, slots=True)
class ListedImage:
    """An image file of a data set."""

    id: str
    path: Path
    class_name: str | None
    """None where nobody has said what it shows; its part is then "unlabelled"."""
    part: Part | None
    """None where a part for the test is still to be held out of the labelled images."""
    group: str = ""
    """What it belongs together with; "": nothing."""


@dataclass(frozen=True, slots=True)
class StrayFile:
    """A file, or a link to a folder, that is passed over."""

    id: str
    place: str
    """The class sub-folder that it lies in, from the data set's folder; "" where it lies in none."""
    kind: str
    """Its ending in lower case, or a word for what it is."""
    why: str


@dataclass(frozen=True, slots=True)
class Listing:
    """Images by ascending id, what is passed over, and how the data set was understood."""

    root: Path
    """Ids are paths below it."""
    images: tuple[ListedImage, ...]
    stray: tuple[StrayFile, ...] = ()
    empty: tuple[str, ...] = ()
    """Class sub-folders with nothing in them that could have been an image: they are no classes."""
    understood: tuple[str, ...] = ()
    """Lines for people: which folder or column was taken for what."""
    cautions: tuple[str, ...] = ()
    """What figures on these images do not tell, for people."""

    @property
    def has_test_part(self) -> bool:
        """Whether the data set says itself which images test."""
        return any(image.part == "test" for image in self.images)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, sorted by code point."""
        return tuple(sorted({image.class_name for image in self.images if image.class_name is not None}))

    @property
    def passed_over(self) -> tuple[str, ...]:
        """What is not used, a line for each kind of file in each class: `12 .avif in ash: …`."""
        return (*stray_lines(self.stray), *(f"{name}/: no image in it, so no class" for name in self.empty))


def listed_parts(listing: Listing, data: Data) -> list[Part]:
    """The part of each image of a listing: its own, or what is held out of each class, groups whole.

    Raises:
        UserError: a test fraction though there is a test part; groups that leave nothing to hold out.
    """
    if not listing.has_test_part:
        fraction = DEFAULT_TEST_FRACTION if data.test_fraction is None else data.test_fraction
        held_out = _held_out([i for i in listing.images if i.part is None], fraction, data.split_seed)
        return [image.part or ("test" if image.id in held_out else "train") for image in listing.images]
    if data.test_fraction is not None:
        raise UserError(
            f"test_fraction = {data.test_fraction:g}, but the data set has its own test part",
            where=clean(listing.root),
            hint="leave data.test_fraction out, or point data.root at the training images alone",
        )
    return [image.part or "train" for image in listing.images]


def catalogue_of(listing: Listing, data: Data, reporter: Progress = QUIET) -> Catalogue:
    """Every image of a listing whose header can be read; the others are left out by name.

    Raises:
        UserError: none can be read, or none of a class; as `listed_parts`.
    """
    parts = listed_parts(listing, data)
    known = RememberedFiles.below(listing.root)
    images: list[ListedImage] = []
    facts: list[tuple[int, int, int, int, int]] = []  # class, part, width, height, bytes
    left_out: list[LeftOut] = []
    numbers: dict[str | None, int] = {name: number for number, name in enumerate(listing.classes)}
    numbers[None] = UNKNOWN
    for done, (image, part) in enumerate(zip(listing.images, parts, strict=True), 1):
        try:
            size, length = known.size(image.path) or _size_of(image.path)
        except UnreadableImage as error:
            left_out.append(LeftOut(image.id, _reason(error.reason, image.path), image.path))
        else:
            images.append(image)
            facts.append((numbers[image.class_name], PARTS.index(part), *size, length))
        if done % 100 == 0 or done == len(listing.images):
            reporter.progress("read images", done, len(listing.images))
    rows = np.array(facts, dtype=np.int64).reshape(-1, 5)
    if not (rows[:, 0] != UNKNOWN).any():
        raise UserError(
            f"none of the {len(left_out)} images can be read ({left_out[0].reason})",
            where=clean(listing.root),
        )
    _refuse_lost_classes(listing, set(rows[:, 0].tolist()), left_out)
    below = f"{os.fspath(listing.root)}{os.sep}"
    records = ImageColumns(
        listing.root,
        [image.id for image in images],
        [os.fspath(image.path).removeprefix(below) for image in images],
        rows[:, 0].copy(),
        np.full(len(rows), NO_SPECIES, dtype=np.int64),
        rows[:, 1].astype(np.uint8),
        rows[:, 2:4].copy(),
        rows[:, 4].copy(),
        groups=[image.group for image in images] if any(image.group for image in images) else None,
    )
    return Catalogue(
        data.dataset,
        listing.root,
        listing.classes,
        (),
        records,
        tuple(left_out),
        listing.passed_over,
        listing.understood,
        listing.cautions,
    )


def _size_of(path: Path) -> tuple[tuple[int, int], int]:
    """(width, height) and length of a picture. Raises: UnreadableImage."""
    header = read_header(path)
    return header.size, header.bytes


def refuse_two_spellings(listing: Listing) -> None:
    """Refuse one class under two names that a person reads as one. Raises: UserError."""
    spelled: dict[str, str] = {}
    for name in listing.classes:
        other = spelled.setdefault(class_key(name), name)
        if other != name:
            raise UserError(
                f"one class under two names, {_spelled(other, name)} and {_spelled(name, other)}",
                where=clean(listing.root),
                hint="give their images one class, or one of the classes another name",
            )


ARCHIVES = frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"})


def is_image(path: Path) -> bool:
    """Whether a file is taken for an image, by the ending of its name."""
    return path.suffix.lower() in image_endings()


def stray_file(path: Path, id_: str, place: str) -> StrayFile:
    """Why a file is passed over."""
    if path.is_symlink() and path.is_dir():
        return StrayFile(id_, place, "link to a folder", "not followed")
    if is_image(path):
        return StrayFile(id_, place, path.suffix.lower(), "in no class sub-folder")
    ending = clean(path.suffix.lower(), 20)
    why = "an archive: unpack it" if ending in ARCHIVES else "not an image by its name"
    return StrayFile(id_, place, ending or "without an ending", why_not_read(ending) or why)


def stray_lines(files: Iterable[StrayFile]) -> tuple[str, ...]:
    """A line for each kind of file in each place, most files first."""
    counts = Counter((file.kind, file.place, file.why) for file in files)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(
        f"{count} {kind}{f' in {clean(place, 80)}' if place else ''}: {why}"
        for (kind, place, why), count in ordered
    )


def readable(name: str) -> str:
    r"""A file name as text that UTF-8 can hold: undecodable bytes become `\xff`, a backslash is doubled.

    Doubling keeps it one to one, so two files never share an id.
    """
    return os.fsencode(name).replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def file_name(text: str) -> str:
    """The file name that `readable` made this text of."""
    plain = _ESCAPED.sub(
        lambda found: b"\\" if found[1] == b"\\" else bytes([int(found[1][1:], 16)]), text.encode()
    )
    return os.fsdecode(plain)


def image_id(path: Path, root: Path) -> str:
    """The path below `root`, with forward slashes, made readable."""
    text, below = os.fspath(path), f"{os.fspath(root)}{os.sep}"
    if os.sep == "/" and text.startswith(below):  # a million times, ten times as fast
        return readable(text[len(below) :])
    return readable(path.relative_to(root).as_posix())


def _held_out(images: Sequence[ListedImage], fraction: float, seed: int) -> set[str]:
    """Ids that test: of each class its share, rounded, at least one, but never its only image."""
    by_class: dict[str, list[str]] = {}
    for image in images:
        assert image.class_name is not None  # images without a class have their part
        by_class.setdefault(image.class_name, []).append(image.id)

    def wanted(ids: list[str]) -> int:
        return min(max(1, int(fraction * len(ids) + 0.5)), len(ids) - 1)

    if any(image.group for image in images):
        return _held_out_whole(images, [wanted(ids) for _, ids in sorted(by_class.items())], seed)
    held_out: set[str] = set()
    for ids in by_class.values():
        ranks = shuffled_ranks(ids, "test", seed)
        count = wanted(ids)
        held_out |= {name for name, place in zip(ids, ranks.tolist(), strict=True) if place < count}
    return held_out


def _held_out_whole(images: Sequence[ListedImage], wanted: list[int], seed: int) -> set[str]:
    """As `_held_out`, but whole groups; `wanted` by class name."""
    numbers = {name: i for i, name in enumerate(sorted({str(image.class_name) for image in images}))}
    chosen = held_out_groups(
        group_numbers([image.group for image in images]),
        np.array([numbers[str(image.class_name)] for image in images], dtype=np.int64),
        shuffled_ranks([image.id for image in images], "test", seed),
        np.array(wanted, dtype=np.int64),
    )
    if not chosen.any():
        raise UserError(
            "no group can be held out for the test: each is all that one of its classes has",
            where="data.group_column",
            hint="name the test images in a split column, or leave the groups out",
        )
    return {image.id for image, is_held in zip(images, chosen.tolist(), strict=True) if is_held}


def _reason(reason: str, path: Path) -> str:
    """Why a file cannot be read; where its ending tells what it would take, that too."""
    missing = why_not_read(path.suffix)
    return f"{reason}; {missing}" if missing else reason


def _refuse_lost_classes(listing: Listing, kept: set[int], left_out: list[LeftOut]) -> None:
    lost = [name for number, name in enumerate(listing.classes) if number not in kept]
    if not lost:
        return
    why = {image.id: image.reason for image in left_out}
    images = [image for image in listing.images if image.class_name == lost[0]]
    more = f" (and {len(lost) - 1} more classes so)" if len(lost) > 1 else ""
    raise UserError(
        f"none of the {len(images)} images of {clean(lost[0], 80)} can be read "
        f"({clean(images[0].id, 80)}: {clean(why[images[0].id])}){more}",
        where=clean(listing.root),
        hint="petbench data check names every image that cannot be read",
    )


def _spelled(name: str, other: str) -> str:
    """The name, by its code points where it looks like the other."""
    if name.casefold() == other.casefold():
        return f"'{clean(name, 80)}'"
    return f"'{clean(name, 80)}' ({name[:80]!a})"
