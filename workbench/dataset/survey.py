"""A data set at a glance: what images there are, how even, how large, how odd; what `petbench start` says."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from workbench.dataset.catalogue import Catalogue, ImageRecord, Part, is_long, shuffled_ranks
from workbench.dataset.contents import alike_looks
from workbench.dataset.listing import UNKNOWN
from workbench.dataset.probe import UnreadableImage, decode_bytes, difference_hash, read_bytes
from workbench.dataset.recognition import Recognised
from workbench.dataset.run_data import list_images, open_catalogue
from workbench.recipe.data import Data
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.progress import QUIET, Progress

MOST_LOOKED_AT = 3000
"""Images that are decoded to find near-duplicates: some ten seconds of photographs."""
_LOOK_SIDE = 72
"""A picture is reduced to 9 × 8 cells for its look."""
_SHOWN = 4
_PARTS: tuple[Part, ...] = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class ClassImages:
    """A class's images by part."""

    name: str
    train: int
    validation: int
    test: int


@dataclass(frozen=True, slots=True)
class Survey:
    """What a data set holds."""

    data: Data
    guessed: tuple[str, ...]
    understood: tuple[str, ...]
    cautions: tuple[str, ...]
    classes: tuple[ClassImages, ...]
    """By name."""
    unlabelled: int
    has_test_part: bool
    short_sides: tuple[int, int, int]
    """The least, the median and the greatest, in pixels."""
    long: int
    """Images longer than 3:1, of which the middle is looked at."""
    left_out: tuple[str, ...]
    """Files that cannot be used, with the reason."""
    passed_over: tuple[str, ...]
    """Other files, a line a kind."""
    looked_at: int
    """Images that were decoded and compared."""
    unreadable: tuple[str, ...]
    """Of these the ones that cannot be decoded, with the reason."""
    alike: tuple[tuple[str, str], ...]
    """Pairs of images of two parts, or of two classes, that look the same."""
    catalogue: Catalogue = field(repr=False)

    @property
    def labelled(self) -> int:
        """Images with a class."""
        return sum(row.train + row.validation + row.test for row in self.classes)

    def count(self, part: Part) -> int:
        """Labelled images of a part."""
        return sum(getattr(row, part) for row in self.classes if part in _PARTS)

    @property
    def fewest(self) -> ClassImages:
        """The class with the fewest images to train on; the first of several."""
        return min(self.classes, key=lambda row: row.train)

    @property
    def most(self) -> ClassImages:
        """The class with the most."""
        return max(self.classes, key=lambda row: row.train)

    @property
    def unevenness(self) -> float:
        """How many times as many training images the commonest class has as the rarest."""
        return self.most.train / max(1, self.fewest.train)

    def lines(self) -> tuple[str, ...]:
        """What was seen, at most six lines for people; text from outside is cleaned."""
        return tuple(line for line in self._lines() if line)

    def _lines(self) -> Iterator[str]:
        pool = f" and {self.unlabelled:,} without a label" if self.unlabelled else ""
        yield (
            f"{self.data.dataset} at {clean(self.data.root)}: {self.labelled:,} labelled images of "
            f"{len(self.classes)} classes{pool}"
        )
        yield "; ".join((*self.guessed, *self.understood[:3]))
        yield from self.cautions
        yield f"{self._parts_words()}; {self._class_words()}"
        yield self._size_words()
        yield self._odd_words()
        yield self._alike_words()

    def _parts_words(self) -> str:
        held = "" if self.has_test_part else " (held out of each class)"
        told = [f"{self.count('train'):,} train"]
        told += [f"{self.count('validation'):,} validate"] if self.count("validation") else []
        return ", ".join([*told, f"{self.count('test'):,} test{held}"])

    def _class_words(self) -> str:
        if len(self.classes) <= _SHOWN:
            named = ", ".join(f"{clean(row.name, 40)} {row.train:,}" for row in self.classes)
            told = f"to train on {named}"
        elif self.fewest.train == self.most.train:
            told = f"{self.fewest.train:,} images a class to train on"
        else:
            least, most = self.fewest, self.most
            told = (
                f"from {least.train:,} ({clean(least.name, 40)}) to {most.train:,} ({clean(most.name, 40)})"
            )
            told += " images a class to train on"
        return told + (f": uneven, {self.unevenness:.0f} to 1" if self.unevenness >= 3 else "")

    def _size_words(self) -> str:
        least, median, greatest = self.short_sides
        told = f"short sides of {least:,} to {greatest:,} pixels, half of them below {median:,}"
        if least == greatest:
            told = f"short sides of {least:,} pixels"
        return told + (f"; {self.long:,} longer than 3:1, of which the middle counts" if self.long else "")

    def _odd_words(self) -> str:
        told = [
            f"{len(files):,} cannot be read, such as {clean(files[0], 100)}"
            for files in [(*self.left_out, *self.unreadable)]
            if files
        ]
        told += [f"passed over {clean(line, 60)}" for line in self.passed_over[:2]]
        more = len(self.passed_over) - 2
        return "; ".join(told) + (f" and {more} more kinds" if more > 0 else "")

    def _alike_words(self) -> str:
        if not self.alike:
            return ""
        one, other = (clean(name, 60) for name in self.alike[0])
        of = "" if self.looked_at >= self.labelled + self.unlabelled else f" of {self.looked_at:,} looked at"
        return (
            f"{len(self.alike):,} pairs{of} look the same across parts or classes, such as {one} and "
            f"{other}: petbench data check lists them"
        )


def survey(found: Recognised, *, data_home: Path, reporter: Progress = QUIET) -> Survey:
    """Look a data set over: every header, and the pixels of up to MOST_LOOKED_AT images.

    Raises:
        UserError: it cannot be used.
    """
    catalogue = open_catalogue(found.data, data_home=data_home, reporter=reporter)
    if not catalogue.records:
        raise UserError("no image that can be used", where=clean(catalogue.root))
    looked, looks, unreadable = _looks(catalogue, reporter)
    counts = Counter((record.breed, record.part) for record in catalogue.records)
    shorts = sorted(min(record.size) for record in catalogue.records)
    listed_test = found.data.dataset == "oxford-iiit-pet" or not _is_held_out(catalogue, found.data)
    return Survey(
        data=found.data,
        guessed=found.guessed,
        understood=catalogue.understood,
        cautions=catalogue.cautions,
        classes=tuple(
            ClassImages(name, *(counts[number, part] for part in _PARTS))
            for number, name in enumerate(catalogue.breeds)
        ),
        unlabelled=sum(record.breed == UNKNOWN for record in catalogue.records),
        has_test_part=listed_test,
        short_sides=(shorts[0], shorts[len(shorts) // 2], shorts[-1]),
        long=sum(is_long(record.size) for record in catalogue.records),
        left_out=tuple(f"{image.id}: {image.reason}" for image in catalogue.left_out),
        passed_over=catalogue.passed_over,
        looked_at=len(looked),
        unreadable=tuple(unreadable),
        alike=tuple(_alike(looked, looks)),
        catalogue=catalogue,
    )


def _is_held_out(catalogue: Catalogue, data: Data) -> bool:
    """Whether the test part is one that was held out: another seed then draws another."""
    return not list_images(data).has_test_part


def _looks(
    catalogue: Catalogue, reporter: Progress
) -> tuple[list[ImageRecord], list[bytes | None], list[str]]:
    """(images, their looks, what cannot be decoded) of all images, or of a draw of them."""
    ranks = shuffled_ranks([record.id for record in catalogue.records], "survey", 0)
    chosen = [
        record
        for record, rank in zip(catalogue.records, ranks.tolist(), strict=True)
        if rank < MOST_LOOKED_AT
    ]
    looked: list[ImageRecord] = []
    looks: list[bytes | None] = []
    unreadable: list[str] = []
    with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="survey") as pool:
        for done, (record, look) in enumerate(zip(chosen, pool.map(_look, chosen), strict=True), 1):
            if isinstance(look, UnreadableImage):
                unreadable.append(f"{record.id}: {look.reason}")
            else:
                looked.append(record)
                looks.append(look)
            if done % 50 == 0 or done == len(chosen):
                reporter.progress("look at images", done, len(chosen))
    return looked, looks, unreadable


def _look(record: ImageRecord) -> bytes | UnreadableImage | None:
    try:
        return difference_hash(decode_bytes(read_bytes(record.path), side=_LOOK_SIDE).pixels)
    except UnreadableImage as error:
        return error


def _alike(images: Sequence[ImageRecord], looks: Sequence[bytes | None]) -> list[tuple[str, str]]:
    """Pairs of ids that look the same, and lie in two parts or two classes.

    Of equal looks the first of each part and class stands for the others.
    """
    groups: dict[bytes, dict[tuple[Part, int], ImageRecord]] = {}
    for image, look in zip(images, looks, strict=True):
        if look is not None:
            groups.setdefault(look, {}).setdefault((image.part, image.breed), image)
    found: list[tuple[str, str]] = []

    def compare(one: ImageRecord, other: ImageRecord) -> None:
        differ = one.breed != other.breed and UNKNOWN not in (one.breed, other.breed)
        if one.part != other.part or differ:
            found.append((one.id, other.id))

    for group in groups.values():
        first, *others = group.values()
        for other in others:
            compare(first, other)
    keys = list(groups)
    for here, there in alike_looks(keys).tolist():
        for one in groups[keys[here]].values():
            for other in groups[keys[there]].values():
                compare(one, other)
    return found
