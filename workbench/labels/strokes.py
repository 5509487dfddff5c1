"""What a labeller does at a stroke, as values; each says which rows the journal gets for it.

A stroke is all rows with one time. Nothing is ever taken out of the journal: undoing writes the words of
before once more, marked as an undo, so that undoing on goes further back, after a restart too.
"""

from __future__ import annotations

import getpass
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from string import ascii_letters
from typing import assert_never

from workbench.labels.journal import (
    CANNOT_TELL,
    NO_CLASS,
    NO_CLASSES,
    UNUSABLE,
    Journal,
    Row,
    append,
    by_time,
    time_of,
)
from workbench.support.class_key import class_key
from workbench.support.clean import clean
from workbench.support.errors import UserError, nearest

LONGEST_CLASS = 80
"""Characters of a class's name: what a line of a screen can show."""
BOUND = frozenset("nxuosmrpdzqyhjklGL")
"""Letters that are actions where one labels, or move the cursor; they stand for no class."""
CLASS_KEYS = "123456789" + "".join(letter for letter in ascii_letters if letter not in BOUND)
MODEL, UNDO = "model:", "undo:"
"""Before the person in a row's `by`: a guess that was accepted as it was; what was taken back."""


@dataclass(frozen=True, slots=True)
class Assign:
    """All of these images show this class; a new one is made by being assigned."""

    paths: Sequence[str]
    class_name: str


@dataclass(frozen=True, slots=True)
class Accept:
    """The model's guesses are right."""

    guesses: Sequence[tuple[str, str, float]]
    """(path, class, probability) of each image."""


@dataclass(frozen=True, slots=True)
class Unusable:
    """These images are to be left out: blurred, twice there, of something else."""

    paths: Sequence[str]


@dataclass(frozen=True, slots=True)
class CannotTell:
    """Nobody can say what these show; they stay in the pool, and are not offered again."""

    paths: Sequence[str]


@dataclass(frozen=True, slots=True)
class Clear:
    """These images have no label any more."""

    paths: Sequence[str]


@dataclass(frozen=True, slots=True)
class Rename:
    """A class is called otherwise."""

    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Merge:
    """Images of one class belong to another that there is."""

    old: str
    into: str


@dataclass(frozen=True, slots=True)
class Split:
    """Some images of a class are one of their own."""

    class_name: str
    paths: Sequence[str]
    new: str


@dataclass(frozen=True, slots=True)
class Undo:
    """The last stroke of this person that is not undone yet is taken back."""


Stroke = Assign | Accept | Unusable | CannotTell | Clear | Rename | Merge | Split | Undo


def make_stroke(path: Path, stroke: Stroke, by: str) -> Journal:
    """Write a stroke to the journal as it stands by then, and return that.

    Raises:
        UserError: as `rows_of` and `journal.append`.
        OSError: as `journal.append`.
    """
    return append(path, lambda journal: rows_of(stroke, journal, by))


def rows_of(stroke: Stroke, journal: Journal, by: str) -> list[Row]:
    """The rows to append, without a time; none where there is nothing to undo.

    Args:
        by: the person, as `person` has it.

    Raises:
        UserError: a class that is not there, is there already, or cannot be called so.
    """
    match stroke:
        case Assign(paths, name):
            return _said(paths, class_named(journal, name), by)
        case Accept(guesses):
            names = {name: class_named(journal, name) for _, name, _ in guesses}
            once = {path: Row(path, names[name], MODEL + by, None, sure) for path, name, sure in guesses}
            return list(once.values())
        case Unusable(paths):
            return _said(paths, UNUSABLE, by)
        case CannotTell(paths):
            return _said(paths, CANNOT_TELL, by)
        case Clear(paths):
            return _said([path for path in paths if path in journal.current], NO_CLASS, by)
        case Rename(old, new):
            old = _class_there_is(journal, old)
            name = _clean_name(new)
            other = _spelled_alike(journal, name)
            if other is not None and other != old:
                raise UserError(f"there is a class {clean(other)!r}", hint="merge the two")
            return [] if name == old else _said(_of_class(journal, old), name, by)
        case Merge(old, into):
            old, into = _class_there_is(journal, old), _class_there_is(journal, into)
            return [] if into == old else _said(_of_class(journal, old), into, by)
        case Split(name, paths, new):
            name = _class_there_is(journal, name)
            own = set(_of_class(journal, name))
            parted = [path for path in paths if path in own]
            if not parted:
                raise UserError(f"none of these images is of {clean(name)!r}", where=clean(journal.path))
            return _said(parted, class_named(journal, new), by)
        case Undo():
            return undo(journal, by)
        case _:
            assert_never(stroke)


def undo(journal: Journal, by: str) -> list[Row]:
    """The rows that take back this person's last stroke; none where all are taken back.

    What somebody else has said of an image since stays.
    """
    return [_before(words[-1].path, words[:-1], by) for words in _last_words(journal, by)]


def last_stroke(journal: Journal, by: str) -> list[Row]:
    """What this person said last and was not taken back, which `undo` takes back; empty at the beginning."""
    return [words[-1] for words in _last_words(journal, by)]


def class_named(journal: Journal, typed: str) -> str:
    """The class that a person means by what was typed: one that there is, however spelled, or a new one.

    Raises:
        UserError: no class can be called so.
    """
    name = _clean_name(typed)
    return _spelled_alike(journal, name) or name


def completions(journal: Journal, typed: str) -> list[str]:
    """Classes that begin with what was typed, then those that contain it, the largest first."""
    key = class_key(typed)
    counts = journal.classes
    found = [name for name in counts if key in class_key(name)]
    return sorted(found, key=lambda name: (not class_key(name).startswith(key), -counts[name], name))


def class_keys(journal: Journal) -> dict[str, str]:
    """The key of each class that has images, by the class; a class without one is named by typing.

    A class takes the first free key as it is first said and keeps it for as long as it has images. A renamed
    class keeps its key. What was undone leaves the keys as they were.
    """
    held: dict[str, int] = {}
    once: dict[str, int] = {}
    counts: dict[str, int] = {}
    labels: dict[str, str] = {}
    for rows in strokes_of(journal):
        for row in rows:
            for name, step in ((labels.get(row.path, NO_CLASS), -1), (row.class_name, 1)):
                counts[name] = counts.get(name, 0) + step
            labels[row.path] = row.class_name
        gone = [name for name in held if not counts.get(name)]
        freed = [held.pop(name) for name in gone]
        for name in dict.fromkeys(row.class_name for row in rows):
            if name in NO_CLASSES or name in held or not counts.get(name):
                continue
            taken = set(held.values())
            free = [place for place in range(len(taken) + 1) if place not in taken]
            wanted = [once[name]] if name in once else freed
            held[name] = next((place for place in wanted if place not in taken), free[0])
            once[name] = held[name]
    return {
        name: CLASS_KEYS[place]
        for name, place in sorted(held.items(), key=lambda item: item[1])
        if place < len(CLASS_KEYS)
    }


def person() -> str:
    """Who labels, where nobody says so: the login's name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "somebody"


def person_of(row: Row) -> str:
    """Who made the stroke, whether it was an own word, a guess that was accepted, or an undo."""
    return row.by.removeprefix(UNDO).removeprefix(MODEL)


def _said(paths: Sequence[str], class_name: str, by: str) -> list[Row]:
    return [Row(path, class_name, by) for path in dict.fromkeys(paths)]


def _of_class(journal: Journal, class_name: str) -> list[str]:
    return [path for path, name in journal.labels.items() if name == class_name]


def _clean_name(typed: str) -> str:
    name = " ".join(typed.split())
    if name in NO_CLASSES or not class_key(name):
        raise UserError(
            f"no class can be called {clean(typed, 80)!r}",
            allowed="something to read; in labels.csv "
            f"{CANNOT_TELL} says that nobody can tell, {UNUSABLE} that it is not usable",
            hint="for these are the keys ? and x, and --cannot-tell and --unusable",
        )
    if clean(name) != name or len(name) > LONGEST_CLASS:
        raise UserError(
            f"no class can be called {clean(name, 80)!r}",
            allowed=f"up to {LONGEST_CLASS} characters that can be seen",
        )
    return name


def _spelled_alike(journal: Journal, name: str) -> str | None:
    classes = journal.classes
    return name if name in classes else next((c for c in classes if class_key(c) == class_key(name)), None)


def _class_there_is(journal: Journal, typed: str) -> str:
    """The class with images that a person means, however spelled. Raises: UserError, where there is none."""
    classes = journal.classes
    name = _spelled_alike(journal, typed)
    if name is None:
        near = nearest(typed, classes)
        raise UserError(
            f"no image has the class {clean(typed, 80)!r}",
            where=clean(journal.path),
            allowed=[clean(name, 40) for name in classes][:20] or "no class has been said yet",
            hint=f"did you mean {clean(near, 80)}?" if near else "",
        )
    return name


def strokes_of(journal: Journal) -> Iterator[list[Row]]:
    """The rows of each stroke, the oldest first."""
    stroke: list[Row] = []
    for row in by_time(journal.rows):
        if stroke and _stroke_id(row) != _stroke_id(stroke[0]):
            yield stroke
            stroke = []
        stroke.append(row)
    if stroke:
        yield stroke


def _stroke_id(row: Row) -> tuple[datetime, str]:
    return time_of(row), person_of(row)


def _own_strokes(journal: Journal, by: str) -> list[tuple[datetime, list[str]]]:
    """(time, images) of a person's strokes, without undos."""
    return [
        (time_of(rows[0]), [row.path for row in rows])
        for rows in strokes_of(journal)
        if person_of(rows[0]) == by and not rows[0].by.startswith(UNDO)
    ]


def _standing(journal: Journal) -> dict[str, list[Row]]:
    """By image what was said of it and not taken back, the word that holds last."""
    standing: dict[str, list[Row]] = {}
    for row in by_time(journal.rows):
        words = standing.setdefault(row.path, [])
        if not row.by.startswith(UNDO):
            words.append(row)
        elif (mine := _last_of(words, person_of(row))) is not None:
            del words[mine]
    return standing


def _last_words(journal: Journal, by: str) -> list[list[Row]]:
    """Of each image of a person's last stroke that holds, all that was said of it and not taken back."""
    standing = _standing(journal)
    for time, paths in reversed(_own_strokes(journal, by)):
        affected = [path for path in paths if standing.get(path) and time_of(standing[path][-1]) == time]
        if affected:
            return [standing[path] for path in affected]
    return []


def _last_of(words: Sequence[Row], by: str) -> int | None:
    return next((i for i in range(len(words) - 1, -1, -1) if person_of(words[i]) == by), None)


def _before(path: str, words: Sequence[Row], by: str) -> Row:
    """The row that brings the word before the last to life again."""
    if not words:
        return Row(path, NO_CLASS, UNDO + by)
    return Row(path, words[-1].class_name, UNDO + by, None, words[-1].confidence)
