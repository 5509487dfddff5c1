"""TOML text to values, with bounded effort, and the line on which each key stands."""

from __future__ import annotations

import bisect
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.regular_file import UnreadableFile, read_text


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, keys joined with dots: `{"data": {"target": "breed"}}` -> `data.target`."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= flatten(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


MAX_BYTES = 64 * 1024
MAX_DEPTH = 8
MAX_KEY = 256

KeyPath = tuple[str, ...]

# All quantifiers are possessive: a scan never goes back, so its time is linear in the text.
_SPACE = re.compile(r"[ \t]*+")
_GAP = re.compile(r"(?:[ \t\r\n]++|#[^\n]*+)*+")
_REST = re.compile(r"[ \t\r]*+(?:#[^\n]*+)?+(?:\n|\Z)")
_BARE_PART = re.compile(r"[A-Za-z0-9_-]++")
_BASIC_PART = re.compile(r'"(?:[^"\\\n]|\\[^\n])*+"')
_LITERAL_PART = re.compile(r"'[^'\n]*+'")
_LONG_STRING = re.compile(
    r'"""(?:[^"\\]|\\[\s\S]|"{1,2}+(?!"))*+"{3,5}+' + "|" + r"'''(?:[^']|'{1,2}+(?!'))*+'{3,5}+"
)
_SHORT_VALUE = re.compile(r"[^,\]}#\n\"'\[{]++")
_POSITION = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")

_TUPLE = re.compile(r"\(.*\)")
_WORDS = re.compile(f"{_LONG_STRING.pattern}|{_BASIC_PART.pattern}|{_LITERAL_PART.pattern}|#[^\\n]*+")


@dataclass(frozen=True, slots=True)
class TomlText:
    """A parsed TOML text: its values, and where its keys stand (lines count from 1)."""

    values: dict[str, Any]
    lines: dict[KeyPath, int]


def read_toml(path: Path, *, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """The values of a TOML file that petbench wrote, whoever has had it since.

    Raises:
        FileNotFoundError: there is none.
        UnreadableFile: no regular file, too large, not text, not TOML, nested too deep, a huge number.
    """
    return as_toml(path, read_text(path, max_bytes), max_bytes=max_bytes)


def as_toml(path: Path, text: str, *, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """The values of `text`, which came from `path`. Raises: as `read_toml`."""
    try:
        return parse_toml(text, "", max_bytes=max_bytes).values
    except UserError as error:
        line = error.where.strip(":").partition(":")[0]
        raise UnreadableFile(path, f"line {line}: {error.what}" if line else error.what) from error


def parse_toml(text: str, where: str, *, max_bytes: int = MAX_BYTES) -> TomlText:
    """Parse `text`, which came from `where` (a file's name, cleaned, for messages).

    Size, depth and the length of keys are checked by a linear scan first: tomllib needs 65 s for a dotted key
    of 100 KB, and recurses into nested brackets.

    Raises:
        UserError: too large, too deep, a whole number beyond 64 bits, or not TOML; names the line, and for
            bad syntax the column.
    """
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        raise UserError("not valid text: a lone surrogate", where=f"{where}:{line}") from error
    if size > max_bytes:
        raise too_large(where, max_bytes)
    lines = scan(text, where).lines
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(error, text, where) from error
    except ValueError as error:
        # Python refuses to read numbers of more than 4,300 digits.
        raise _huge_number(where) from error
    except RecursionError as error:  # a caller's stack may be deep already
        raise UserError("nested too deep", where=where) from error
    if (huge := _first_huge(values)) is not None:
        around = (lines.get(huge[:length]) for length in range(len(huge), 0, -1))
        line = next((line for line in around if line is not None), 1)
        raise _huge_number(f"{where}:{line}")
    return TomlText(values, lines)


def _huge_number(where: str) -> UserError:
    return UserError("a whole number with too many digits", where=where, allowed="at most 64 bits")


def _first_huge(value: Any, path: KeyPath = ()) -> KeyPath | None:
    """Where a whole number stands that TOML does not have; Python reads it, and fails where it is used."""
    if isinstance(value, dict):
        parts = (_first_huge(inner, (*path, key)) for key, inner in value.items())
    elif isinstance(value, list):
        parts = (_first_huge(inner, path) for inner in value)
    else:
        return path if isinstance(value, int) and abs(value) >= 2**64 else None
    return next((huge for huge in parts if huge is not None), None)


def skeleton(text: str) -> str:
    """Valid TOML with `_` for every character of a string and blanks for those of a comment.

    What brackets, commas and line ends are left are TOML's own, at the offsets at which they stand in `text`.
    """
    return _WORDS.sub(lambda word: (" " if word[0].startswith("#") else "_") * len(word[0]), text)


def comments(text: str) -> list[str]:
    """Every comment of a valid TOML text, in order, each from its `#` to the end of its line."""
    return [word[0].rstrip() for word in _WORDS.finditer(text) if word[0].startswith("#")]


def too_large(where: str, max_bytes: int = MAX_BYTES) -> UserError:
    """The error of a text over the cap on size."""
    return UserError("too large", where=where, allowed=f"at most {max_bytes // 1024:,} KiB")


def _syntax_error(error: tomllib.TOMLDecodeError, text: str, where: str) -> UserError:
    said = str(error)
    position = _POSITION.search(said)
    line, column = text.rstrip("\n").count("\n") + 1, len(text.rstrip("\n").rpartition("\n")[2]) + 1
    if position is not None:
        said = said[: position.start()]
        if position[1]:
            line, column = int(position[1]), int(position[2])
    if said.startswith("Cannot declare"):
        said = _TUPLE.sub("this table", said)
    what = f"not valid TOML: {clean(said[:1].lower() + said[1:], 200)}"
    return UserError(what, where=f"{where}:{line}:{column}")


@dataclass(slots=True)
class Scan:
    """What one pass over a text found."""

    lines: dict[KeyPath, int] = field(default_factory=dict)
    stopped_at: int | None = None
    """Offset of the first thing that is not TOML, where tomllib will stop too; None when all was read."""


def scan(text: str, where: str) -> Scan:
    """Find every key's line, accepting a little more than TOML does.

    Raises:
        UserError: nested deeper than `MAX_DEPTH`, or a key longer than `MAX_KEY` characters.
    """
    scanner = _Scanner(text, where)
    try:
        scanner.document()
    except _NotTomlError as stop:
        scanner.found.stopped_at = stop.offset
    return scanner.found


class _NotTomlError(Exception):
    def __init__(self, offset: int) -> None:
        self.offset = offset


class _Scanner:
    """A cursor that moves forwards over a TOML text; methods read one thing and step over it."""

    def __init__(self, text: str, where: str) -> None:
        self.text = text
        self.where = where
        self.at = 0
        self.found = Scan()
        self._ends = [match.start() for match in re.finditer("\n", text)]

    def document(self) -> None:
        table: KeyPath = ()
        self.skip(_GAP)
        while self.at < len(self.text):
            if self.peek("["):
                table = self.header()
            else:
                self.pair(table, len(table))
            if not self.skip(_REST):
                raise _NotTomlError(self.at)
            self.skip(_GAP)

    def header(self) -> KeyPath:
        double = self.text.startswith("[[", self.at)
        self.at += 2 if double else 1
        path = self.key((), 0)
        self.expect("]")
        if double:
            self.expect("]")
        return path

    def pair(self, table: KeyPath, depth: int) -> None:
        path = self.key(table, depth)
        self.expect("=")
        self.skip(_SPACE)
        self.value(path, depth + len(path) - len(table))

    def key(self, table: KeyPath, depth: int) -> KeyPath:
        """Read a dotted key that stands in `table`, `depth` levels down; returns its full path."""
        start = self.at
        path = table
        while True:
            self.skip(_SPACE)
            begin = self.at
            path = (*path, self.part())
            depth += 1
            if depth > MAX_DEPTH:
                self.refuse_depth()
            if self.at - start > MAX_KEY:
                self.refuse(f"a key longer than {MAX_KEY} characters")
            self.found.lines.setdefault(path, self.line(begin))
            self.skip(_SPACE)
            if not self.peek("."):
                return path
            self.at += 1

    def part(self) -> str:
        begin = self.at
        if self.skip(_BARE_PART):
            return self.text[begin : self.at]
        if self.skip(_LITERAL_PART):
            return self.text[begin + 1 : self.at - 1]
        if not self.skip(_BASIC_PART):
            raise _NotTomlError(self.at)
        quoted = self.text[begin : self.at]
        if "\\" not in quoted:
            return quoted[1:-1]
        try:
            return str(tomllib.loads(f"key = {quoted}")["key"])
        except ValueError:
            raise _NotTomlError(begin) from None

    def value(self, path: KeyPath, depth: int) -> None:
        if self.peek("["):
            self.container(path, depth, "]")
        elif self.peek("{"):
            self.container(path, depth, "}")
        elif not any(map(self.skip, (_LONG_STRING, _BASIC_PART, _LITERAL_PART, _SHORT_VALUE))):
            raise _NotTomlError(self.at)

    def container(self, path: KeyPath, depth: int, closing: str) -> None:
        if depth + 1 > MAX_DEPTH:
            self.refuse_depth()
        self.at += 1
        self.skip(_GAP)
        while not self.peek(closing):
            if closing == "}":
                self.pair(path, depth)
            else:
                self.value(path, depth + 1)
            self.skip(_GAP)
            if not self.peek(closing):
                self.expect(",")
                self.skip(_GAP)
        self.at += 1

    def skip(self, pattern: re.Pattern[str]) -> bool:
        match = pattern.match(self.text, self.at)
        if match is None:
            return False
        self.at = match.end()
        return True

    def peek(self, character: str) -> bool:
        return self.text.startswith(character, self.at)

    def expect(self, character: str) -> None:
        self.skip(_SPACE)
        if not self.peek(character):
            raise _NotTomlError(self.at)
        self.at += 1

    def line(self, offset: int) -> int:
        return bisect.bisect_left(self._ends, offset) + 1

    def refuse_depth(self) -> None:
        self.refuse(f"nested more than {MAX_DEPTH} deep")

    def refuse(self, what: str) -> None:
        raise UserError(what, where=f"{self.where}:{self.line(self.at)}")


_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def toml_literal(value: object) -> str:
    """`value` as one line of TOML; exact, so parsing it gives an equal value (tuples come back as lists).

    Whole numbers over 64 bits, which TOML cannot hold, are written in hexadecimal: Python refuses to write
    very long ones in decimal.
    """
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value) if value.bit_length() <= 64 else f"{value:#x}"
        case str():
            return _quoted(value)
        case datetime() | date() | time():
            return value.isoformat()
        case list() | tuple():
            return "[" + ", ".join(map(toml_literal, value)) + "]"
        case Mapping():
            inside = ", ".join(f"{toml_key(str(k))} = {toml_literal(v)}" for k, v in value.items())
            return "{" + inside + "}"
        case _:
            return str(value)


def toml_key(key: str) -> str:
    """A key as TOML writes it: bare where it can be, else quoted."""
    return key if _BARE_KEY.fullmatch(key) else _quoted(key)


def toml_kind(value: object) -> str:
    """What a parsed TOML value is, in words."""
    match value:
        case bool():
            return "true or false"
        case int():
            return "a whole number"
        case float():
            return "a number"
        case str():
            return "text"
        case datetime() | date() | time():
            return "a date or time"
        case list():
            return "a list"
        case _:
            return "a table"


def _quoted(text: str) -> str:
    # JSON's escapes are a subset of TOML's; JSON alone leaves DEL as it is.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", r"\u007f")
