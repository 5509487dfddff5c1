"""Look a data set over: everything that would make training wrong, and everything merely odd."""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from workbench.dataset.catalogue import Part, long_words
from workbench.dataset.check_layout import (
    DataSubject,
    Problem,
    SubjectImage,
    folder_subject,
    oxford_subject,
    with_extra_images,
)
from workbench.dataset.depth import scale_words
from workbench.dataset.examine import FileFacts, examine
from workbench.dataset.near_duplicates import alike_looks
from workbench.dataset.open import locate, open_catalogue
from workbench.dataset.run_data import divide, readable_split
from workbench.recipe import Recipe
from workbench.recipe.data import Data
from workbench.support.errors import UserError
from workbench.support.progress import QUIET, Progress

OWN_PARTS = ("train", "validation", "test")
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
    subject = folder_subject(root, data) if data.dataset == "folder" else oxford_subject(root)
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
    unlabelled = sum(image.part == "extra_unlabelled" and not fact.error for image, fact in pairs)
    return DataReport(data.dataset, root, classes, subject.head_boxes, tuple(problems), unlabelled)


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
    order = ("train", "extra_labelled", "extra_unlabelled", "validation", "test")
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
