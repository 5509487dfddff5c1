"""Look a data set over: everything that would make training wrong, and everything merely odd."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from workbench.dataset.catalogue import Part, long_words
from workbench.dataset.contents import alike_looks
from workbench.dataset.depth import scale_words
from workbench.dataset.extra import check_classes, list_extra
from workbench.dataset.listing import Listing, StrayFile, listed_parts
from workbench.dataset.oxford import (
    BadBox,
    OxfordLists,
    box_path,
    breed_order,
    image_path,
    read_head_box,
    read_lists,
)
from workbench.dataset.probe import FileFacts, examine
from workbench.dataset.reader import ListingReader, listing_reader
from workbench.dataset.run_data import divide, locate, open_catalogue, readable_split
from workbench.recipe import Recipe
from workbench.recipe.data import Data
from workbench.support.errors import UserError
from workbench.support.progress import QUIET, Progress


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong (error: training would be wrong) or odd (warning: training copes)."""

    level: Literal["error", "warning"]
    kind: str
    """A few words, the same for all of a kind."""
    place: str
    """The image, file, class or list line."""
    what: str


@dataclass(frozen=True, slots=True)
class SubjectImage:
    """An image that the data set says it has."""

    id: str
    path: Path
    class_name: str | None
    """None of an unlabelled image."""
    part: Part


@dataclass(frozen=True, slots=True)
class DataSubject:
    """What there is to check."""

    images: tuple[SubjectImage, ...]
    classes: tuple[str, ...]
    head_boxes: int
    problems: tuple[Problem, ...]
    understood: tuple[str, ...] = ()


def listed_subject(reader: ListingReader, root: Path, data: Data) -> DataSubject:
    """A folder or table.

    Raises:
        UserError: no images, fewer than two classes, or a class without a training image.
    """
    listing = reader.list(root, data)
    parts = listed_parts(listing, data)
    images = (
        SubjectImage(image.id, image.path, image.class_name, part)
        for image, part in zip(listing.images, parts, strict=True)
    )
    empty = (Problem("warning", "folder without image", name, "it is no class") for name in listing.empty)
    nested = _nested(listing) if reader.classes_are_folders else []
    problems = (*_stray(listing.stray), *empty, *nested)
    return DataSubject(tuple(images), listing.classes, 0, problems, listing.understood)


def with_extra_images(subject: DataSubject, data: Data) -> DataSubject:
    """The subject with the extra images that [data] names after its own.

    Raises:
        UserError: as `list_extra`, or a class sub-folder that no class is named as.
    """
    listing = list_extra(data)
    check_classes(listing, subject.classes, data)
    images = (SubjectImage(image.id, image.path, image.class_name, image.part) for image in listing.images)
    problems = (*subject.problems, *_stray(listing.stray))
    return replace(subject, images=(*subject.images, *images), problems=problems)


def _stray(files: Sequence[StrayFile]) -> list[Problem]:
    """What is passed over, by kind and class: a folder of notes is one thing to know, not a thousand."""
    groups: dict[tuple[str, str, str], list[StrayFile]] = {}
    for file in files:
        groups.setdefault((file.place, file.kind, file.why), []).append(file)
    return [
        Problem(
            "warning",
            "stray files",
            place or ".",
            f"{len(group)} {kind}, such as {group[0].id}: {why}",
        )
        for (place, kind, why), group in sorted(groups.items())
    ]


def _nested(listing: Listing) -> list[Problem]:
    """Classes whose images lie in folders of their own: they may have been meant as the classes."""
    inner: dict[str, set[str]] = {}
    for image in listing.images:
        if image.class_name is not None:
            inner.setdefault(image.class_name, set()).add(image.id.rpartition("/")[0])
    problems = []
    for name, folders in inner.items():
        deeper = sorted(folder for folder in folders if folder.rpartition("/")[2] != name)
        if len(deeper) > 1:
            shown = ", ".join(deeper[:3]) + (", …" if len(deeper) > 3 else "")
            what = f"{shown} all count as {name}"
            problems.append(Problem("warning", "folders within a class", name, what))
    return problems


def oxford_subject(root: Path) -> DataSubject:
    """A data set in the Oxford layout.

    Raises:
        UserError: `trainval.txt` or `test.txt` cannot be read.
    """
    lists = read_lists(root / "annotations")
    problems = [Problem("error", found.kind, found.where, found.what) for found in lists.problems]
    images: dict[str, SubjectImage] = {}
    parts: tuple[Part, Part] = ("train", "test")
    for part, entries in zip(parts, (lists.train, lists.test), strict=True):
        for entry in entries:
            image = SubjectImage(entry.name, image_path(root, entry.name), entry.breed, part)
            images.setdefault(entry.name, image)
    problems += _files_and_lists(root, lists)
    head_boxes, box_problems = _head_boxes(root, lists)
    return DataSubject(tuple(images.values()), breed_order(lists), head_boxes, (*problems, *box_problems))


def _files_and_lists(root: Path, lists: OxfordLists) -> list[Problem]:
    used = {entry.name for entry in lists.entries}
    problems = []
    for path in sorted((root / "images").iterdir()):
        if path.suffix != ".jpg":
            problems.append(Problem("warning", "stray file", f"images/{path.name}", "not a .jpg"))
        elif path.stem not in used:
            where = "only in list.txt" if path.stem in lists.all_names else "in no list"
            problems.append(Problem("warning", "image in no list", path.stem, f"{where}, so it is not used"))
    return problems


def _head_boxes(root: Path, lists: OxfordLists) -> tuple[int, list[Problem]]:
    """Usable boxes, and problems; the official set boxes trainval images only, so only those can lack one."""
    good, problems = 0, []
    boxed = {path.stem for path in (root / "annotations" / "xmls").glob("*.xml")}
    train = {entry.name for entry in lists.train}
    for name in sorted(train - boxed):
        problems.append(Problem("warning", "no head box", name, "no XML file: head crops leave it out"))
    for name in sorted(boxed):
        try:
            read_head_box(box_path(root, name))
        except BadBox as error:
            problems.append(Problem("warning", "bad head box", f"{name}.xml", error.reason))
        else:
            good += 1
    known = train | {entry.name for entry in lists.test}
    problems += [
        Problem("warning", "head box of no image", f"{name}.xml", "in no list")
        for name in sorted(boxed - known)
    ]
    return good, problems


OWN_PARTS = ("train", "unlabelled", "validation", "test")
_LIKE_TEST = "extra image alike a test image"


@dataclass(frozen=True, slots=True)
class ClassImages:
    """Usable images of a class in each part."""

    name: str
    train: int
    test: int
    extra: int = 0
    """Beside the data set's own."""
    validation: int = 0
    """Of a folder's own validation part."""


@dataclass(frozen=True, slots=True)
class DataReport:
    """What `check_data` found."""

    dataset: str
    root: Path
    classes: tuple[ClassImages, ...]
    head_boxes: int
    """Images with a usable head box."""
    problems: tuple[Problem, ...]
    """Errors first, then by kind and place."""
    extra_unlabelled: int = 0
    """Usable extra images of unknown class."""
    unlabelled: int = 0
    """Usable images of unknown class among the data set's own."""
    understood: tuple[str, ...] = ()
    """Which folder or column was taken for what."""

    @property
    def errors(self) -> tuple[Problem, ...]:
        """Problems that would make training wrong."""
        return tuple(problem for problem in self.problems if problem.level == "error")

    def images(self, part: Literal["train", "test"]) -> int:
        """Usable images of a part."""
        return sum(row.train if part == "train" else row.test for row in self.classes)


def check_data(data: Data, *, data_home: Path, reporter: Progress = QUIET) -> DataReport:
    """Read every file of a data set, decode every image, and compare all with all.

    Errors: wrong or contradicting list lines, an image in both parts, a listed image that is missing, a class
    without a training image, one picture under two labels. Warnings: files that cannot be decoded (training
    leaves them out), odd content, missing or impossible head boxes, copies, images in no list, stray files,
    extra images that are copies of test images or look the same.

    Raises:
        UserError: there is no data set to look at, or its extra images cannot be used.
    """
    root = locate(data, data_home=data_home, reporter=reporter)
    reader = listing_reader(data)
    subject = oxford_subject(root) if reader is None else listed_subject(reader, root, data)
    subject = with_extra_images(subject, data)
    facts = _examine_all(subject.images, reporter)
    pairs = list(zip(subject.images, facts, strict=True))
    problems = list(subject.problems)
    for image, fact in pairs:
        problems += _of_one(image, fact)
    classes = _count(subject, pairs)
    problems += [
        Problem("error", "class without training image", row.name, "nothing to learn it from")
        for row in classes
        if not row.train
    ]
    if not any(problem.level == "error" for problem in problems):
        problems += _refusals(data, data_home, {image.id for image, fact in pairs if fact.error})
    problems += _copies(pairs)
    problems += _not_as_they_are(facts)
    problems.sort(key=lambda problem: (problem.level != "error", problem.kind, problem.place))
    usable = Counter(image.part for image, fact in pairs if not fact.error)
    return DataReport(
        data.dataset,
        root,
        classes,
        subject.head_boxes,
        tuple(problems),
        usable["extra_unlabelled"],
        usable["unlabelled"],
        subject.understood,
    )


def _refusals(data: Data, data_home: Path, unreadable: set[str]) -> list[Problem]:
    """Why a run would refuse the data, by asking what a run asks: all labels, and knobs as they come."""
    recipe = Recipe(name="check").model_copy(update={"data": data})
    try:
        catalogue = open_catalogue(data, data_home=data_home)
        found = divide(recipe, catalogue)
        readable = np.array([record.id not in unreadable for record in catalogue.records])
        readable_split(found.split, catalogue, lambda positions: positions[readable[positions]], recipe)
    except UserError as error:
        why = "; ".join(part for part in (error.what, error.allowed, error.hint) if part)
        return [Problem("error", "a run refuses it", error.where or data.dataset, why)]
    return []


def _examine_all(images: tuple[SubjectImage, ...], reporter: Progress) -> list[FileFacts]:
    """Decode in threads: Pillow and hashlib let go of the interpreter while they work."""
    facts: list[FileFacts] = []
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for fact in pool.map(examine, (image.path for image in images)):
            facts.append(fact)
            if len(facts) % 50 == 0 or len(facts) == len(images):
                reporter.progress("check images", len(facts), len(images))
    return facts


def _of_one(image: SubjectImage, fact: FileFacts) -> list[Problem]:
    if fact.error and not image.path.exists():
        return [Problem("error", "missing image", image.id, fact.error)]
    if fact.error:
        return [Problem("warning", "unreadable image", image.id, fact.error)]
    odd = [Problem("warning", "odd file", image.id, oddity) for oddity in fact.oddities]
    return odd + ([Problem("warning", "blank image", image.id, fact.blank)] if fact.blank else [])


def _count(subject: DataSubject, pairs: list[tuple[SubjectImage, FileFacts]]) -> tuple[ClassImages, ...]:
    usable = Counter((image.class_name, image.part) for image, fact in pairs if not fact.error)
    parts: tuple[Part, ...] = ("train", "test", "extra_labelled", "validation")
    return tuple(ClassImages(name, *(usable[name, part] for part in parts)) for name in subject.classes)


def _not_as_they_are(facts: list[FileFacts]) -> list[Problem]:
    """How the data set's images are read that are not read as they are: by depth, and by length."""
    usable = [fact for fact in facts if not fact.error]
    problems = [
        Problem("warning", "deep pictures", "the data set", words)
        for words in scale_words(fact.deep for fact in usable)
    ]
    if words := long_words(fact.size for fact in usable):
        problems.append(Problem("warning", "long images", "the data set", words))
    return problems


def _copies(pairs: list[tuple[SubjectImage, FileFacts]]) -> list[Problem]:
    """Files with the same bytes, and pictures that look the same, wherever they are."""
    by_content: dict[str, list[SubjectImage]] = {}
    by_look: dict[bytes, list[SubjectImage]] = {}
    for image, fact in pairs:
        if fact.error:
            continue
        same = by_content.setdefault(fact.sha256, [])
        same.append(image)
        # Of equal files one is enough: the others are found by their content.
        if fact.look is not None and len(same) == 1:
            by_look.setdefault(fact.look, []).append(image)
    problems = [_exact_copies(group) for group in by_content.values() if len(group) > 1]
    return problems + _alike(by_look)


def _alike(by_look: dict[bytes, list[SubjectImage]]) -> list[Problem]:
    """Near-duplicates by look, told once an image and kind.

    Of a thousand images of one look, each is told beside the first of every part, not beside all others.
    """
    groups = list(by_look.values())
    links: dict[tuple[str, str], dict[str, SubjectImage]] = {}

    def link(one: SubjectImage, other: SubjectImage) -> None:
        kind = _alike_kind(one, other)
        if one.part == "test" and kind == _LIKE_TEST:
            one, other = other, one  # it is the extra image that is to go
        links.setdefault((kind, one.id), {})[other.id] = other

    for group in groups:
        firsts: dict[Part, SubjectImage] = {}
        for image in group:
            for first in firsts.values():
                link(first, image)
            firsts.setdefault(image.part, image)
    for here, there in alike_looks(list(by_look)).tolist():
        for one in _first_of_each_part(groups[here]):
            for other in _first_of_each_part(groups[there]):
                link(one, other)
    return [
        Problem("warning", kind, place, f"looks the same as {_names(list(others.values()))}")
        for (kind, place), others in links.items()
    ]


def _first_of_each_part(group: list[SubjectImage]) -> list[SubjectImage]:
    firsts: dict[Part, SubjectImage] = {}
    for image in group:
        firsts.setdefault(image.part, image)
    return list(firsts.values())


def _alike_kind(one: SubjectImage, other: SubjectImage) -> str:
    parts = {one.part, other.part}
    if "test" in parts and not parts <= set(OWN_PARTS):
        return _LIKE_TEST
    if None not in (one.class_name, other.class_name) and one.class_name != other.class_name:
        return "alike, two labels"
    order = ("train", "unlabelled", "extra_labelled", "extra_unlabelled", "validation", "test")
    return "alike in " + " and ".join(part.replace("_", " ") for part in order if part in parts)


def _exact_copies(group: list[SubjectImage]) -> Problem:
    first, others = group[0], _names(group[1:])
    classes = {image.class_name for image in group if image.class_name is not None}
    if len(classes) > 1:
        labels = " and ".join(sorted(classes))
        return Problem("error", "one picture, two labels", first.id, f"same file as {others}: {labels}")
    parts = {image.part for image in group}
    if "test" in parts and not parts <= set(OWN_PARTS):
        return Problem("warning", "extra copy of a test image", first.id, f"same file as {others}")
    if len(parts) > 1 and parts <= set(OWN_PARTS):
        named = " and ".join(part for part in OWN_PARTS if part in parts)
        return Problem("warning", f"copy in {named}", first.id, f"same file as {others}")
    return Problem("warning", "copy", first.id, f"same file as {others}")


def _names(images: list[SubjectImage], most: int = 5) -> str:
    more = f" and {len(images) - most} more" if len(images) > most else ""
    return ", ".join(image.id for image in images[:most]) + more
