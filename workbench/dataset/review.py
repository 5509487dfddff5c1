"""The review file: what a person said of single images, for `[data] corrections` of the next recipe to read.

The last verdict on an image counts; those before it stay in the file, so that taking one back brings the
earlier one to life again.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from workbench.support.atomic import atomic_write, sweep_temporaries
from workbench.support.clean import clean, slug
from workbench.support.digests import fingerprint
from workbench.support.errors import UserError, nearest
from workbench.support.locks import beside, locked
from workbench.support.regular_file import UnreadableFile, open_regular
from workbench.support.toml_text import comments, parse_toml, skeleton

MAX_BYTES = 2 * 1024 * 1024
"""Of a review file: about ten thousand verdicts."""

HEADER = "[[correction]]"
PREFACE = """\
# What a person said of single images, in petbench's Inspect or by `petbench review`. A recipe uses it with
#   [data]
#   corrections = "PATH"
# The last entry on an image counts. Delete an entry to take it back.
schema = 1
"""


class Verdict(StrEnum):
    """What is to become of an image."""

    ACCEPT = "accept"
    """The model was right: train on the image with the class that it said."""
    RELABEL = "relabel"
    """Train on the image with another class."""
    EXCLUDE = "exclude"
    """Do not train on the image."""


@dataclass(frozen=True, slots=True)
class Correction:
    """A person's verdict on one image; text is kept as it came and cleaned only where it is shown."""

    id: str
    verdict: Verdict
    label: str
    """The class to train it with; "" for `EXCLUDE`."""
    said: str = ""
    """What the model had said; "" where that is not known."""
    run: str = ""
    """Id of the run whose word was judged; "" where there was none."""
    when: datetime | None = field(default=None, compare=False)
    """With its time zone; None: `record` puts in the present."""


def entries_of(text: str, where: Path) -> list[Correction]:
    """Every verdict of a review's text, oldest first.

    Args:
        where: the text's file, for messages.

    Raises:
        UserError: too large, not TOML, or not a review; names the entry.
    """
    values = parse_toml(text, clean(where), max_bytes=MAX_BYTES).values
    try:
        written = _File.model_validate(values).correction
    except ValidationError as error:
        raise _not_a_review(where, values, error.errors(include_url=False)[0]) from None
    for number, entry in enumerate(written, start=1):
        excludes = entry.verdict == "exclude"
        if excludes == bool(entry.label):
            what = "has a label" if excludes else "has no label"
            raise UserError(
                f"{_name(number, entry.id)}: {entry.verdict} {what}",
                where=clean(where),
                allowed='accept and relabel need label = "CLASS", exclude has none',
            )
    return [
        Correction(entry.id, Verdict(entry.verdict), entry.label, entry.said, entry.run, entry.when)
        for entry in written
    ]


def file_text(entries: Sequence[Correction]) -> str:
    """The content of a file with these verdicts.

    Raises:
        UserError: as `entry_text`.
    """
    return "\n".join([PREFACE, *map(entry_text, entries)])


def entry_text(correction: Correction) -> str:
    """A verdict as a `[[correction]]`.

    Raises:
        UserError: text that TOML cannot hold.
    """
    return "\n".join([HEADER, *_pairs(correction)]) + "\n"


def with_entry(text: str, correction: Correction, where: Path) -> str:
    """A review's text with one more verdict at its end, written as those before it are.

    Raises:
        UserError: as `entries_of` and `entry_text`, or the text resists: it would not read back as meant.
    """
    entry = entry_text(correction)
    inline = _inline_entries(text)
    if not text.strip():
        new = f"{PREFACE}\n{entry}"
    elif inline is None:
        new = f"{text.rstrip()}\n\n{entry}"
    else:
        new = _with_inline(text, *inline, f"{{ {', '.join(_pairs(correction))} }}")
    wanted = [*_written(text, where), *_written(entry, where)]
    return _as_meant(new, wanted, text, where)


def without_last(text: str, where: Path) -> str:
    """A review's text without its last verdict; every comment stays, those within that entry too.

    Raises:
        UserError: as `with_entry`.
    """
    inline = _inline_entries(text)
    new = _without_table(text) if inline is None else _without_inline(text, *inline)
    return _as_meant(new, _written(text, where)[:-1], text, where)


def _pairs(correction: Correction) -> list[str]:
    pairs = [f"id = {_quoted(correction.id)}", f"verdict = {_quoted(correction.verdict)}"]
    if correction.label:
        pairs.append(f"label = {_quoted(correction.label)}")
    if correction.said:
        pairs.append(f"said = {_quoted(correction.said)}")
    if correction.run:
        pairs.append(f"run = {_quoted(correction.run)}")
    if correction.when is not None:
        pairs.append(f"when = {correction.when.isoformat()}")
    return pairs


def _written(text: str, where: Path) -> list[object]:
    return list(parse_toml(text, clean(where), max_bytes=MAX_BYTES).values.get("correction", []))


def _as_meant(new: str, wanted: Sequence[object], old: str, where: Path) -> str:
    """`new`, once it is seen to hold these verdicts, and every comment of `old`; else a refusal."""
    try:
        same = _written(new, where) == wanted and _holds_all(comments(new), comments(old))
    except UserError as error:
        if len(new.encode()) > MAX_BYTES:
            raise too_large(where) from error
        same = False
    if not same:
        raise UserError(
            "the review cannot be changed in the way it is written; it was left as it is",
            where=clean(where),
            hint=f"write every verdict as a {HEADER}",
        )
    return new


def _holds_all(found: list[str], wanted: Collection[str]) -> bool:
    left = list(found)
    for comment in wanted:
        if comment not in left:
            return False
        left.remove(comment)
    return True


_ARRAY = re.compile(r"=\s*(\[)")
_ELEMENT = re.compile(r"\{[^{}]*\}")
_TABLE = re.compile(r"^[ \t]*\[\[", re.MULTILINE)


def _inline_entries(text: str) -> tuple[list[tuple[int, int]], int] | None:
    """Where the entries of `correction = [{…}, …]` stand, and its end; None: they are written as tables."""
    bones = skeleton(text)
    array = _ARRAY.search(bones)  # an entry's own values are never lists
    if array is None:
        return None
    close = bones.index("]", array.end())
    return [match.span() for match in _ELEMENT.finditer(bones, array.end(), close)], close


def _with_inline(text: str, entries: Sequence[tuple[int, int]], close: int, entry: str) -> str:
    bones = skeleton(text)
    start, end = entries[-1] if entries else (close, bones.rindex("[", 0, close) + 1)
    comma = bones.find(",", end, close)
    if entries and comma < 0:
        text, close = f"{text[:end]},{text[end:]}", close + 1
    before = text[:close].rstrip()
    blank = text[len(before) : close]
    if "\n" not in blank:
        return f"{before}{' ' if entries else ''}{entry}{blank}{text[close:]}"
    line = text[text.rfind("\n", 0, start) + 1 : start]
    indent = line if entries and not line.strip() else "  "
    return f"{before}\n{indent}{entry}{',' if comma >= 0 else ''}{blank}{text[close:]}"


def _without_inline(text: str, entries: Sequence[tuple[int, int]], close: int) -> str:
    bones = skeleton(text)
    start, end = entries[-1]
    comma = bones.find(",", end, close)
    rest = text[end:] if comma < 0 else text[end:comma] + text[comma + 1 :]
    before = text[:start].rstrip(" \t")
    if before.endswith("\n") and not rest.partition("\n")[0].strip():
        return before + rest.partition("\n")[2]
    if bones[: len(before)].endswith(",") and "\n" not in text[end:close]:
        before = before[:-1]
    return before + (rest if rest[:1] in "]\r\n" else f" {rest.lstrip(' ')}")


def _without_table(text: str) -> str:
    bones = skeleton(text)
    start = [match.start() for match in _TABLE.finditer(bones)][-1]
    end = len(bones.rstrip())
    kept = "\n".join(part for part in (*comments(text[start:end]), text[end:].strip()) if part)
    before = text[:start].rstrip()
    return "\n\n".join(part for part in (before, kept) if part) + "\n"


def _quoted(text: str) -> str:
    """A TOML string in which everything that could drive a terminal is an escape.

    Raises:
        UserError: a lone surrogate, which TOML cannot hold.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"not valid text: '{clean(text, 80)}'") from error
    # JSON's escapes are a subset of TOML's.
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(char if clean(char) == char else f"\\u{ord(char):04x}" for char in quoted)


class _Entry(BaseModel):
    """A `[[correction]]`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: Annotated[str, Field(min_length=1, max_length=4096)]
    verdict: Literal["accept", "relabel", "exclude"]
    label: Annotated[str, Field(max_length=1024)] = ""
    said: Annotated[str, Field(max_length=1024)] = ""
    run: Annotated[str, Field(max_length=1024)] = ""
    when: datetime | None = None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)

    schema_version: Annotated[Literal[1], Field(alias="schema")] = 1
    correction: list[_Entry] = []


def _not_a_review(where: Path, values: dict[str, Any], error: ErrorDetails) -> UserError:
    """The first thing that is wrong, by entry and key, with what is allowed there."""
    place, value = error["loc"], clean(error["input"], 80)
    if len(place) < 2:
        known = ("schema", "correction")
        wrong = clean(place[0] if place else "the file", 80)
        return UserError(
            f"not a review: {wrong}: {_said(error)}",
            where=clean(where),
            allowed="schema = 1 and [[correction]] entries",
            hint=_did_you_mean(wrong, known),
        )
    number = int(place[1])
    raw = values["correction"][number]
    image = raw.get("id", "") if isinstance(raw, dict) else ""
    entry = _name(number + 1, image)
    if len(place) < 3:
        return UserError(f"{entry}: {_said(error)}", where=clean(where))
    key = clean(place[2], 80)
    if error["type"] == "extra_forbidden":
        return UserError(
            f"{entry}: unknown key {key}",
            where=clean(where),
            allowed=tuple(_Entry.model_fields),
            hint=_did_you_mean(key, _Entry.model_fields),
        )
    if key == "verdict" and error["type"] == "literal_error":
        return UserError(
            f"{entry}: verdict '{value}'",
            where=clean(where),
            allowed=tuple(Verdict),
            hint=_did_you_mean(value, list(Verdict)),
        )
    return UserError(f"{entry}: {key}: {_said(error)}", where=clean(where))


def _said(error: ErrorDetails) -> str:
    message = clean(error["msg"], 200)
    return message[:1].lower() + message[1:]


def _did_you_mean(word: str, known: Collection[str]) -> str:
    near = nearest(word, known)
    return f"did you mean {near}?" if near else ""


def _name(number: int, image: object) -> str:
    return f"correction {number} ({clean(image, 80)})" if image else f"correction {number}"


def too_large(where: Path) -> UserError:
    """The error of a review over the cap on size."""
    return UserError(
        "too large for a review", where=clean(where), allowed=f"at most {MAX_BYTES // 1024**2} MiB"
    )


__all__ = [
    "Correction",
    "Review",
    "Verdict",
    "load_review",
    "pin_review",
    "record",
    "review_path",
    "undo_last",
]


@dataclass(frozen=True, slots=True)
class Review:
    """The verdicts that count: at most one an image, newest last."""

    corrections: tuple[Correction, ...] = ()

    def of(self, image: str) -> Correction | None:
        """The verdict on an image, by id."""
        return next((correction for correction in self.corrections if correction.id == image), None)

    def count(self, verdict: Verdict) -> int:
        """How many images have this verdict."""
        return sum(correction.verdict is verdict for correction in self.corrections)

    @property
    def fingerprint(self) -> str:
        """Equal for reviews that change the same images alike, whoever said so and in whatever order."""
        return fingerprint(sorted((c.id, c.label) for c in self.corrections))


def review_path(runs_home: Path, name: str) -> Path:
    """The review file of a recipe's name: `runs/reviews/NAME.toml`, NAME made safe for a file name."""
    stem = slug(name)
    # A directory that holds a recipe.toml counts as a run.
    return runs_home / "reviews" / f"{'recipe-' if stem.lower() == 'recipe' else stem}.toml"


def load_review(path: Path) -> Review:
    """The review in a file; a file that is not there is an empty review.

    Raises:
        UserError: the file cannot be read, is over 2 MiB, or is not a review; names the entry.
    """
    return _counting(entries_of(_read(path), path))


def record(path: Path, correction: Correction) -> Review:
    """Add a verdict, durably, in place of the image's earlier one; the user's own comments stay.

    Raises:
        UserError: the verdict does not hold together, the file is not a sound review, or cannot be written.
    """
    if correction.when is None:
        correction = replace(correction, when=datetime.now(UTC).replace(microsecond=0))
    entries_of(entry_text(correction), path)  # what could not be read back is not written
    with _changing(path):
        sweep_temporaries(path)
        text = _read(path)
        entries = entries_of(text, path)
        atomic_write(path, with_entry(text, correction, path))
    return _counting([*entries, correction])


def undo_last(path: Path) -> Correction | None:
    """Take the newest verdict back and return it; an earlier one on that image counts again. None: no more.

    Raises:
        UserError: the file is not a sound review or cannot be written.
    """
    if not path.exists():
        return None
    with _changing(path):
        text = _read(path)
        entries = entries_of(text, path)
        if not entries:
            return None
        atomic_write(path, without_last(text, path))
    return entries[-1]


def named_review(named: str) -> Path:
    """The file that a recipe names (`data.corrections`).

    Raises:
        UserError: it is not there: a recipe that asks for corrections must not train without them.
    """
    path = Path(named).expanduser()
    if not os.path.exists(path):  # noqa: PTH110 (false, not an error, for a name that no file can have)
        raise UserError(
            f"no such review: {clean(path)}",
            where="data.corrections",
            hint="petbench review RUN shows where the reviews of a run's recipe lie",
        )
    return path


def pin_review(named: str, pinned: Path) -> None:
    """Copy what counts in the review that a recipe names to `pinned`.

    Raises:
        UserError: as `named_review` and `load_review`.
    """
    atomic_write(pinned, file_text(load_review(named_review(named)).corrections))


def _read(path: Path) -> str:
    """The file's text; "" where there is none."""
    try:
        with open_regular(path) as stream:
            data = stream.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise too_large(path)
        return data.decode("utf-8-sig")
    except FileNotFoundError:
        return ""
    except UnreadableFile as error:
        raise UserError(f"the review cannot be read: {error.reason}", where=clean(path)) from error
    except OSError as error:
        raise UserError(f"the review cannot be read: {error.strerror or error}", where=clean(path)) from error
    except UnicodeDecodeError as error:
        raise UserError("not a review: not UTF-8 text", where=clean(path)) from error


def _counting(entries: Sequence[Correction]) -> Review:
    latest: dict[str, Correction] = {}
    for entry in entries:
        latest.pop(entry.id, None)
        latest[entry.id] = entry
    return Review(tuple(latest.values()))


@contextlib.contextmanager
def _changing(path: Path) -> Iterator[None]:
    """Hold the file's lock, so that two front ends at once lose nothing."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(beside(path), stays=False):
            yield
    except OSError as error:
        raise UserError(
            f"the review cannot be written: {error.strerror or error}", where=clean(path)
        ) from error
