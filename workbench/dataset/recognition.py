"""Which data set a path holds, and the knobs of [data] that read it: what `petbench start` begins with."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from workbench.dataset.folder_layout import files_below, role_of
from workbench.dataset.listing import ARCHIVES, Listing, is_image
from workbench.dataset.oxford import OXFORD_DIRECTORY, is_oxford
from workbench.dataset.run_data import list_images
from workbench.dataset.table import find_table, last_part, tables_of_parts
from workbench.dataset.table_columns import USUAL, OtherColumns
from workbench.dataset.table_file import ENDINGS, OTHER_TABLES, TableFile, first_rows, open_table
from workbench.recipe.data import Data
from workbench.support.class_key import class_key
from workbench.support.clean import as_word, clean
from workbench.support.errors import UserError

_NAME_PATTERNS = (r"name:^(.+?)[ _.-]*\(?\d+\)?$", r"name:^(.+)_[^_]+$", r"name:^([^_-]+)[_-]")
"""How people write classes into files' names, the plainest first: `pug_12`, `great_dane (3)`, `pug_a1`."""
# fmt: off
_CAMERAS = frozenset({
    "img", "image", "dsc", "dscn", "dscf", "pxl", "mvimg", "gopr", "dji", "cimg", "p", "photo",
    "picture", "pic", "foto", "frame", "scan", "screenshot", "screen", "whatsapp", "signal",
    "snapshot", "capture", "file", "sample", "test", "train", "download",
})
# fmt: on
"""What cameras and programs call pictures, whatever they show."""
_OTHER_FILES = dict.fromkeys(ARCHIVES, "unpack it first, and give the folder") | OTHER_TABLES
_LEAST_MATCHING = 0.9
_LEAST_A_CLASS = 3
_MOST_FILES = 200_000
"""Files that are looked through for those that a table names by less than their path."""
_MOST_NAMES = 2000
"""Files whose names are looked at first, before all are read."""
_DEEPEST = 4
"""Folders with nothing but one folder in them that are gone into."""


@dataclass(frozen=True, slots=True)
class Recognised:
    """A data set and how it was found out."""

    data: Data
    """With an absolute `root`."""
    guessed: tuple[str, ...] = ()
    """What nobody said, in lines for people; empty where the layout says it all."""


def recognise(place: Path) -> Recognised:
    """The data set at a path: a table, the Oxford layout, or a folder of images.

    A validation part of its own validates. Classes are read from files' names only where no folder tells them
    and nine in ten names do, each class three times on average.

    Raises:
        UserError: nothing there can be read as a data set; says why of what comes nearest.
    """
    place = place.expanduser().absolute()
    if not os.path.lexists(place):
        raise UserError("no such file or folder", where=clean(place))
    if not place.is_dir():
        if place.suffix.lower() not in ENDINGS:
            raise UserError(
                "it is neither a folder nor a table",
                where=clean(place),
                allowed="a folder of images, or a table: " + " ".join(ENDINGS),
                hint=_OTHER_FILES.get(place.suffix.lower(), ""),
            )
        return _table(place)
    for layout in (place, place / OXFORD_DIRECTORY):
        if is_oxford(layout):
            return Recognised(Data(dataset="oxford-iiit-pet", root=str(layout)))
    problem: UserError | None = None
    for inside in _single_folders(place):
        if not _has_table(inside):
            try:
                return _folder(inside)
            except UserError as error:
                problem = problem or error
                continue
        try:
            return _table(inside)
        except UserError as error:
            problem = problem or error
            table = error
        try:
            found = _folder(inside)
        except UserError:
            continue
        return replace(found, guessed=(_not_used(table), *found.guessed))
    assert problem is not None  # the place itself was tried
    raise problem


def _single_folders(place: Path) -> Iterator[Path]:
    """The folder, and what it wraps: the one folder in it, and so on."""
    for _ in range(_DEEPEST):
        yield place
        inner = [entry for entry in place.iterdir() if not entry.name.startswith(".")]
        folders = [entry for entry in inner if entry.is_dir() and not entry.is_symlink()]
        if len(folders) != 1 or any(is_image(entry) for entry in inner):
            return
        place = folders[0]


def _has_table(folder: Path) -> bool:
    try:
        find_table(folder)
    except UserError:
        return bool(tables_of_parts(folder))
    return True


def _not_used(problem: UserError) -> str:
    """Why a folder is read without its table."""
    said = problem.what + (f" ({problem.hint})" if problem.hint else "")
    return f"{clean(problem.where.rpartition('/')[2], 80)} was not used: {said}"


def _folder(root: Path) -> Recognised:
    try:
        data = _readable("folder", root, {})
        return Recognised(data, _folders_within(list_images(data)))
    except UserError as error:
        problem = error
    names = [path.stem for path in islice(files_below(root), _MOST_NAMES) if is_image(path)]
    for pattern in _NAME_PATTERNS:
        if not _may_tell(names, pattern):
            continue
        try:
            data = _readable("folder", root, {"class_from": pattern})
        except UserError:
            continue
        if _names_tell(listing := list_images(data)):
            shown = ", ".join(clean(name, 30) for name in listing.classes[:4])
            return Recognised(data, (f"the files' names were taken for classes: {shown}",))
    images = [path for path in islice(files_below(root), _MOST_FILES) if is_image(path)]
    if images and all(path.parent == images[0].parent for path in images):
        inside = images[0].parent
        what = f"{len(images):,} images, and nothing says what any of them shows"
        if inside != root:
            place = clean(inside.relative_to(root), 80)
            what = f"all {len(images):,} images lie in {place}/: only one class, and a classifier needs two"
        raise UserError(
            what,
            where=clean(root),
            allowed="class sub-folders, a table of paths and classes, or names with the class in them "
            "(data.class_from)",
            hint=f"petbench label {as_word(inside)} labels them, a group at a stroke; or sort a few of each "
            "class into folders, and the rest may stay loose beside them" + _other_tables(root),
        )
    raise problem


def _other_tables(folder: Path) -> str:
    """What to do with a table that is not read, where one lies there."""
    found = [(path, OTHER_TABLES[path.suffix.lower()]) for path in sorted(folder.iterdir())
             if path.suffix.lower() in OTHER_TABLES]  # fmt: skip
    return f"; if {clean(found[0][0].name, 80)} tells the classes: {found[0][1]}" if found else ""


def _folders_within(listing: Listing) -> tuple[str, ...]:
    """That folders within the classes may be the classes; nothing where they are few or not everywhere."""
    inner: dict[str, int] = {}
    for image in listing.images:
        folders = image.path.relative_to(listing.root).parts[:-1]
        place = folders.index(image.class_name) + 1 if image.class_name in folders else len(folders)
        if image.class_name is not None:
            if place >= len(folders) or role_of(folders[place]) is not None:
                return ()
            inner[folders[place]] = inner.get(folders[place], 0) + 1
    if len(inner) < 2 or min(inner.values()) < _LEAST_A_CLASS:
        return ()
    shown = ", ".join(clean(name, 30) for name in sorted(inner)[:3])
    return (
        f"the folders within them have {len(inner)} names, such as {shown}: if these are the classes, "
        'data.class_from = "folder:2"; both levels together, "folder:1-2"',
    )


def _may_tell(names: Sequence[str], pattern: str) -> bool:
    """Whether a pattern finds something in so many of the first names that it is worth reading all."""
    matches = (re.search(pattern.removeprefix("name:"), name) for name in names)
    found = [match[1] for match in matches if match]
    return bool(names) and len(found) >= _LEAST_MATCHING / 2 * len(names) and _may_be_classes(set(found))


def _names_tell(listing: Listing) -> bool:
    """Whether classes read from names are likely to be some."""
    known = [image for image in listing.images if image.class_name is not None]
    return (
        len(known) >= _LEAST_MATCHING * len(listing.images)
        and 2 <= len(listing.classes) <= len(known) / _LEAST_A_CLASS
        and _may_be_classes(listing.classes)
    )


def _may_be_classes(names: Iterable[str]) -> bool:
    """Whether none of these is a number or what a camera calls its pictures."""
    words = {class_key(name).split("_")[0].split(" ")[0].split("-")[0] for name in names}
    return not words & _CAMERAS and not any(word.isdecimal() for word in words)


def _table(root: Path) -> Recognised:
    try:
        return Recognised(_readable("table", root, {}))
    except OtherColumns as error:
        problem = error
    try:
        table = open_table(find_table(root))
        if any(is_image(Path(name)) for name in table.columns):
            raise problem  # no line of names: what its rows hold would be read without the first
        knobs = _columns_by_content(table)
        data = _readable("table", root, knobs) if knobs else None
    except UserError:
        data = None
    if data is None:
        raise problem
    told = [f"{clean(knobs[key], 60)} is {what}" for key, what in _MEANS.items() if key in knobs]
    return Recognised(data, (f"by what the table's rows hold, {', '.join(told)}",))


_MEANS = {"path_column": "the images", "path_pattern": "where they lie", "label_column": "the classes"}


def _columns_by_content(table: TableFile) -> dict[str, str]:
    """Knobs by which a table's rows name files: the column whose values do, and what makes them paths."""
    folder = table.path.parent
    files: dict[str, str] = {}
    for path in islice(files_below(folder), _MOST_FILES):
        if is_image(path):
            relative = path.relative_to(folder).as_posix()
            files.setdefault(path.name, relative)
            files.setdefault(path.stem, relative)
    usual = USUAL["path_column"].split()
    columns = sorted(table.columns, key=lambda name: name.casefold() not in usual)
    for column in columns:
        values = first_rows(table, column)
        patterns = {_pattern(value, files.get(last_part(value))) for value in values}
        if len(patterns) == 1 and (pattern := patterns.pop()) is not None:
            knobs = {"path_column": column} | ({} if pattern == "{}" else {"path_pattern": pattern})
            return knobs | _label_of_two(table, column)
    return {}


def _pattern(value: str, file: str | None) -> str | None:
    """What makes the value a path of the file: `train/{}.jpg`; `train/{name}` of one that was elsewhere."""
    if file is None or "{" in file:
        return None
    for field, text in (("{}", value), ("{name}", last_part(value))):
        if text and file.count(text) == 1:
            return file.replace(text, field)
    return None


def _label_of_two(table: TableFile, path_column: str) -> dict[str, str]:
    """In a table of two columns the class is the other one."""
    others = [name for name in table.columns if name != path_column]
    usual = USUAL["label_column"].split()
    is_unusual = len(others) == 1 and others[0].casefold() not in usual
    return {"label_column": others[0]} if is_unusual else {}


def _readable(dataset: str, root: Path, knobs: dict[str, str]) -> Data:
    """The [data] that reads it, with a validation part of its own as that. Raises: UserError."""
    problem: UserError | None = None
    for more in _validations():
        data = Data.model_validate({"dataset": dataset, "root": str(root), **knobs, **more})
        try:
            list_images(data)
        except UserError as error:
            problem = problem or error
            if "data.validation" not in str(problem):
                break  # nothing that the other would change
        else:
            return data
    assert problem is not None  # the first was tried
    raise problem


def _validations() -> Iterable[dict[str, Any]]:
    return ({}, {"validation": "own"})
