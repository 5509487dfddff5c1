"""What a data set's lists, folders and head boxes say, before its images are looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from workbench.dataset.boxes import BadBox, read_head_box
from workbench.dataset.catalogue import Part
from workbench.dataset.extra import check_classes, list_extra
from workbench.dataset.folder import FolderListing, StrayFile, folder_parts, list_folder
from workbench.dataset.oxford import box_path, breed_order, image_path
from workbench.dataset.oxford_lists import OxfordLists, read_lists
from workbench.recipe.data import Data


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
    """None of an extra unlabelled image."""
    part: Part


@dataclass(frozen=True, slots=True)
class DataSubject:
    """What there is to check."""

    images: tuple[SubjectImage, ...]
    classes: tuple[str, ...]
    head_boxes: int
    problems: tuple[Problem, ...]


def folder_subject(root: Path, data: Data) -> DataSubject:
    """A folder of class sub-folders.

    Raises:
        UserError: no images, fewer than two classes, or a class without a training image.
    """
    listing = list_folder(root, validation=data.validation, pool=data.extra_unlabelled)
    parts = folder_parts(listing, root, test_fraction=data.test_fraction, split_seed=data.split_seed)
    images = (
        SubjectImage(image.id, image.path, image.class_name, part)
        for image, part in zip(listing.images, parts, strict=True)
    )
    empty = (Problem("warning", "folder without image", name, "it is no class") for name in listing.empty)
    problems = (*_stray(listing.stray), *empty, *_nested(listing))
    return DataSubject(tuple(images), listing.classes, 0, problems)


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


def _nested(listing: FolderListing) -> list[Problem]:
    """Classes whose images lie in folders of their own: they may have been meant as the classes."""
    inner: dict[str, set[str]] = {}
    for image in listing.images:
        folder = image.id.rpartition("/")[0]
        inner.setdefault(image.class_name, set()).add(folder)
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
