"""The Oxford set's lists: `annotations/{trainval,test,list}.txt`, one image a line."""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from workbench.dataset.catalogue import Part
from workbench.support.clean import clean
from workbench.support.errors import UserError

SPECIES = ("cat", "dog")
PART_FILES: dict[str, Part] = {"trainval.txt": "train", "test.txt": "test"}

ProblemKind = Literal["bad line", "listed twice", "in train and test", "conflicting labels"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a list: an image's name (without `.jpg`) and its labels."""

    name: str
    class_id: int
    species: int
    """0 cat, 1 dog: the file's 1 and 2 less one."""
    where: str
    """`trainval.txt:12`, for messages."""

    @property
    def breed(self) -> str:
        """The breed's name: the image's name without its number."""
        return self.name.rpartition("_")[0]


@dataclass(frozen=True, slots=True)
class ListProblem:
    """A line that is wrong by itself or beside another."""

    kind: ProblemKind
    where: str
    what: str


@dataclass(frozen=True, slots=True)
class OxfordLists:
    """The parts' entries in file order, what is wrong with them, and the names that `list.txt` has."""

    train: tuple[Entry, ...]
    test: tuple[Entry, ...]
    problems: tuple[ListProblem, ...]
    all_names: frozenset[str]

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Every entry of both parts."""
        return self.train + self.test


def read_lists(annotations: Path) -> OxfordLists:
    """Read the lists and compare them; problems are returned, not raised, so that all can be reported.

    `list.txt` may be missing; where it is there, its labels must agree with the parts'.

    Raises:
        UserError: `trainval.txt` or `test.txt` cannot be read.
    """
    problems: list[ListProblem] = []
    train, test = (_read_list(annotations / name, problems) for name in PART_FILES)
    whole = annotations / "list.txt"
    everything = _read_list(whole, problems) if whole.is_file() else []
    _find_repeats(train, test, problems)
    _find_conflicts([*train, *test, *everything], problems)
    return OxfordLists(
        tuple(train), tuple(test), tuple(problems), frozenset(entry.name for entry in everything)
    )


def _read_list(path: Path, problems: list[ListProblem]) -> list[Entry]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"the list cannot be read ({error.strerror})", where=str(path)) from None
    text = _text(content, path)
    entries = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        where = f"{path.name}:{number}"
        try:
            entries.append(_entry(line.split(), where))
        except ValueError as error:
            problems.append(ListProblem("bad line", where, f"{error}: {clean(line.strip(), 80)}"))
    return entries


def _text(content: bytes, path: Path) -> str:
    """UTF-8, with or without the mark that some editors put first, or UTF-16 that says so by its mark."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", "backslashreplace")
    if b"\0" in content:
        raise UserError(
            "the list is not text in UTF-8: it has null bytes",
            where=clean(path),
            hint="save it as UTF-8, for instance by iconv -f UTF-16LE -t UTF-8",
        )
    return content.decode("utf-8-sig", "backslashreplace")


def _entry(fields: list[str], where: str) -> Entry:
    if len(fields) != 4:
        raise ValueError(f"expected 4 fields (NAME CLASS SPECIES BREED), found {len(fields)}")
    name, *numbers = fields
    if "/" in name or "\0" in name or not name.rpartition("_")[0]:
        raise ValueError("the image's name is not BREED_NUMBER")
    if not all(number.isascii() and number.isdigit() and len(number) <= 6 for number in numbers):
        raise ValueError("class, species and breed must be numbers")
    class_id, species, _ = map(int, numbers)
    if class_id < 1:
        raise ValueError("classes count from 1")
    if species not in (1, 2):
        raise ValueError("species must be 1 (cat) or 2 (dog)")
    return Entry(name, class_id, species - 1, where)


def _find_repeats(train: list[Entry], test: list[Entry], problems: list[ListProblem]) -> None:
    first: dict[str, tuple[str, Entry]] = {}
    for part, entries in (("train", train), ("test", test)):
        for entry in entries:
            if entry.name not in first:
                first[entry.name] = (part, entry)
                continue
            other_part, other = first[entry.name]
            kind: ProblemKind = "listed twice" if other_part == part else "in train and test"
            problems.append(ListProblem(kind, entry.where, f"{clean(entry.name)} is at {other.where} too"))


def _find_conflicts(entries: Iterable[Entry], problems: list[ListProblem]) -> None:
    """A breed has one class number and one species; a class number has one breed."""
    by_breed: dict[str, Entry] = {}
    by_class: dict[int, Entry] = {}
    for entry in entries:
        same_breed = by_breed.setdefault(entry.breed, entry)
        same_class = by_class.setdefault(entry.class_id, entry)
        if (same_breed.class_id, same_breed.species) != (entry.class_id, entry.species):
            other, shared = same_breed, f"breed {clean(entry.breed)}"
        elif same_class.breed != entry.breed:
            other, shared = same_class, f"class {entry.class_id}"
        else:
            continue
        what = f"{shared}: {_labels(entry)} here, {_labels(other)} at {other.where}"
        problems.append(ListProblem("conflicting labels", entry.where, what))


def _labels(entry: Entry) -> str:
    return f"{clean(entry.breed)} = class {entry.class_id}, {SPECIES[entry.species]}"
