"""Where a recipe's values come from: a file's lines, and the options that changed them."""

from __future__ import annotations

import contextlib
import copy
import re
import tomllib
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import InlineTable, Item

from workbench.recipe.knobs import as_words, known_keys
from workbench.recipe.sweep_table import SWEEP
from workbench.support.clean import clean
from workbench.support.errors import UserError, nearest
from workbench.support.toml_text import (
    MAX_KEY,
    KeyPath,
    TomlText,
    parse_toml,
    skeleton,
    toml_key,
    toml_literal,
)


@dataclass(frozen=True, slots=True)
class Unset:
    """A key or table that `--unset` takes out, so that it is as if never written."""

    key: str

    def __str__(self) -> str:
        return f"--unset {clean(self.key, 80)}"


@dataclass(frozen=True, slots=True)
class Grid:
    """A key of [sweep] and its values, each as TOML or as plain text: `--grid key=v1,v2`."""

    key: str
    values: tuple[str, ...]

    def __str__(self) -> str:
        return "--grid " + clean(f"{self.key}={','.join(self.values)}", 80)


Change = str | Unset | Grid
"""`key=value` of `--set`, a key of `--unset`, or a key and values of `--grid`."""

# Possessive throughout, so the time is linear: quoted text, then brackets and commas, then anything else.
_PIECE = re.compile(r'"(?:[^"\\]|\\.)*+"|\'[^\']*+\'|[\[{(]|[\]})]|,|[^"\'\[\]{}(),]++|["\']', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Source:
    """Raw values of a recipe, with the place of each.

    `overrides` maps the path of a key set on the command line to the words that set it, harmless to show.
    """

    name: str
    values: dict[str, Any]
    lines: Mapping[KeyPath, int] = field(default_factory=dict)
    overrides: Mapping[KeyPath, str] = field(default_factory=dict)

    def value(self, path: KeyPath) -> Any:
        """The value at `path`.

        Raises:
            KeyError: where nothing is written there.
        """
        found: Any = self.values
        for key in path:
            if not isinstance(found, Mapping) or key not in found:
                raise KeyError(path)
            found = found[key]
        return found

    def line(self, path: KeyPath) -> int | None:
        """The line of the key at `path`, or of the nearest table around it; None on the command line."""
        if self.is_typed(path):
            return None
        around = (path[:length] for length in range(len(path), 0, -1))
        return next((self.lines[part] for part in around if part in self.lines), None)

    def place(self, path: KeyPath) -> str:
        """Where `path` is written, for a message: `file:line` or `--set key=value`."""
        words = self.words(path)
        if words is not None:
            return words
        line = self.line(path)
        return self.name if line is None else f"{self.name}:{line}"

    def is_typed(self, path: KeyPath) -> bool:
        """Whether the value at `path` comes from the command line."""
        return self.words(path) is not None

    def words(self, path: KeyPath) -> str | None:
        """The option that set the key at `path`, or a table around it; None where the file has it."""
        around = (path[:length] for length in range(len(path), 0, -1))
        return next((self.overrides[part] for part in around if part in self.overrides), None)


def dotted(path: KeyPath) -> str:
    """A path as TOML writes it, harmless to show."""
    return clean(".".join(toml_key(key) for key in path), 100)


def read_source(text: str, name: str, overrides: Sequence[Change] = ()) -> Source:
    """Parse a recipe's text and lay changes over it, in order; `name` stands in messages.

    Raises:
        UserError: the text or a `--set` is not TOML, or passes a cap; an `--unset` names no key; a `--grid`
            has no value.
    """
    parsed: TomlText = parse_toml(text, name)
    said: dict[KeyPath, str] = {}
    for override in overrides:
        if isinstance(override, Unset):
            path = _unset(parsed.values, override)
            said = {key: word for key, word in said.items() if key[: len(path)] != path}
            continue
        if isinstance(override, Grid):
            key, values = _swept(override)
            _set(parsed.values, (SWEEP, key), values, str(override))
            said[SWEEP, key] = str(override)
            continue
        path, value = parse_override(override)
        words = f"--set {clean(override, 80)}"
        _set(parsed.values, path, as_words(path, value), words)
        said[path] = words
    return Source(name, parsed.values, parsed.lines, said)


def parse_override(override: str) -> tuple[KeyPath, Any]:
    """`optimizer.learning_rate=1e-4` as its path and value; a value that is not TOML is taken as text."""
    where = f"--set {clean(override, 80)}"
    key, equals, written = override.partition("=")
    if not equals or not key.strip():
        raise UserError(
            "not of the form key=value", where=where, hint="for example --set optimizer.learning_rate=1e-4"
        )
    written = written.strip()
    path = _key_path(key, where, "a dotted key, then = and a value")
    try:
        values = parse_toml(f"value = {written}", where).values
    except UserError as error:
        if written.startswith(("[", "{", '"', "'")):
            raise UserError(error.what, where=where, allowed=error.allowed) from error
        return path, _text(written, where)
    # A value with a line break could smuggle in keys of its own.
    return path, values["value"] if len(values) == 1 else _text(written, where)


def parse_grid(written: Sequence[str]) -> list[Grid]:
    """What `--grid key=v1,v2 …` says.

    Raises:
        UserError: a word without `=`, a key without values, or a key given twice.
    """
    grids: dict[str, Grid] = {}
    for word in written:
        key, equals, values = word.partition("=")
        key = key.strip()
        where = f"--grid {clean(word, 80)}"
        if not equals or not key:
            raise UserError("not of the form key=v1,v2,…", where=where, hint="for example --grid seed=0,1,2")
        if key in grids:
            raise UserError(
                f"{clean(key, 80)} is given twice", where=where, hint="give all its values at once"
            )
        grids[key] = Grid(key, split_values(values))
    return list(grids.values())


def split_values(written: str) -> tuple[str, ...]:
    """`1e-5, 5e-5` as its values; commas within quotes and brackets part nothing."""
    values = [""]
    depth = 0
    for piece in _PIECE.findall(written):
        if piece == "," and depth == 0:
            values.append("")
            continue
        depth += (piece in "[{(") - (piece in "]})")
        values[-1] += piece
    return tuple(value.strip() for value in values if value.strip())


def _swept(grid: Grid) -> tuple[str, list[Any]]:
    """A grid's key and values as they would stand in a [sweep]. Raises: UserError."""
    if not grid.values:
        hint = f"for example --grid {clean(grid.key, 80)}=1,2,3"
        raise UserError("no values", where=str(grid), hint=hint)
    parsed = [parse_override(f"{grid.key}={value}") for value in grid.values]
    return ".".join(parsed[0][0]), [as_words(path, value) for path, value in parsed]


def _key_path(key: str, where: str, allowed: str) -> KeyPath:
    if "\n" in key or len(key) > MAX_KEY:
        raise UserError("not a key", where=where, allowed="a dotted key such as optimizer.learning_rate")
    try:
        return _single_path(parse_toml(f"{key.strip()} = 0", where).values)
    except UserError as error:
        raise UserError(error.what, where=where, allowed=allowed) from error


def _single_path(values: Mapping[str, Any]) -> KeyPath:
    path: KeyPath = ()
    found: Any = values
    while isinstance(found, Mapping):
        ((key, found),) = found.items()
        path = (*path, key)
    return path


def _text(written: str, where: str) -> str:
    try:
        written.encode()
    except UnicodeEncodeError as error:
        raise UserError("not valid text", where=where, allowed="UTF-8") from error
    return written


def _set(values: dict[str, Any], path: KeyPath, value: Any, words: str) -> None:
    table: Any = values
    for depth, key in enumerate(path[:-1], start=1):
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise UserError(f"{dotted(path[:depth])} is not a table", where=words)
    table[path[-1]] = value


def _unset(values: dict[str, Any], unset: Unset) -> KeyPath:
    """Take a key out; one that a recipe may have and this one has not is unset already."""
    path = _key_path(unset.key, str(unset), "a dotted key")
    table: Any = values
    for key in path[:-1]:
        table = table.get(key) if isinstance(table, dict) else None
    if isinstance(table, dict) and path[-1] in table:
        del table[path[-1]]
        return path
    known = {dotted(key) for key, _ in known_keys()}
    if dotted(path) not in known and path[0] != SWEEP:
        near = nearest(dotted(path), known)
        raise UserError(
            f"no such key: {dotted(path)}", where=str(unset), hint=f"did you mean {near}?" if near else ""
        )
    return path


_Values = MutableMapping[str, Any]


def set_key(text: str, path: KeyPath, written: str) -> str:
    """`text` with the key at `path` set to a value; a comment behind the old value stays.

    Missing tables are made: `[table]` at the end of the text, `{…}` within a table.

    Args:
        written: the value as TOML, kept to the letter (`5e-5` stays `5e-5`); what is no TOML is taken as
            text, as `--set` does.

    Raises:
        UserError: `text` is no TOML, a key on the way is no table, or the text resists such a change.
    """
    literal = as_literal(written)
    value = tomllib.loads(f"value = {literal}")["value"]

    def change(values: _Values, item: object) -> None:
        _table_at(values, path)[path[-1]] = item

    return _edited(text, path, change, value, lambda: tomlkit.value(literal))


def remove_key(text: str, path: KeyPath) -> str:
    """`text` without the key or table at `path`, and without a `{}` that it leaves empty.

    A key that is not there is no error.

    Raises:
        UserError: as for `set_key`.
    """

    def change(values: _Values, _: object) -> None:
        table: Any = values
        for key in path[:-1]:
            table = table.get(key) if isinstance(table, MutableMapping) else None
        if isinstance(table, MutableMapping) and path[-1] in table:
            del table[path[-1]]

    edited = _without_table(text, path) or _edited(text, path, change, None, lambda: None)
    if not text.endswith("\n\n"):
        edited = edited.rstrip("\n") + "\n"  # the blank line that parted a last table from what was before it
    if len(path) > 2 and _at(tomllib.loads(edited), path[:-1]) == {}:
        return remove_key(edited, path[:-1])
    return edited


def as_literal(written: str) -> str:
    """What a person wrote as one TOML value on one line: as it is where it is one, else as text in quotes."""
    written = written.strip()
    try:
        # Within brackets, so that no comment passes, which would swallow what follows on the line.
        values = parse_toml(f"value = [{written}]", "value").values
    except UserError:
        return toml_literal(written)
    one = len(values) == 1 and len(values["value"]) == 1 and "\n" not in written
    return written if one and not written.endswith(",") else toml_literal(written)


def _edited(
    text: str,
    path: KeyPath,
    change: Callable[[_Values, object], None],
    value: object,
    item: Callable[[], Item | None],
) -> str:
    """Make one change in the values and in the document, and see that both came to the same."""
    expected = copy.deepcopy(parse_toml(text, "the recipe").values)
    change(expected, value)
    try:
        # Without its last line's end, tomlkit would put a table on the heels of that line.
        document = tomlkit.parse(text if text.endswith("\n") or not text else f"{text}\n")
        change(cast(_Values, document), item())
        edited = tomlkit.dumps(document)
        same = tomllib.loads(edited) == expected
    except (TOMLKitError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _resists(path) from error
    if not same:
        raise _resists(path)
    return edited


def _without_table(text: str, path: KeyPath) -> str | None:
    """`text` without a `[table]` of the top and those within it; None where that is not all there is of it.

    tomlkit takes what stands between the table and the next one for the table's own; a comment there is
    about the next one, or about the whole file.
    """
    found = parse_toml(text, "the recipe")
    expected = {key: value for key, value in found.values.items() if (key,) != path}
    headers = [match.start() for match in re.finditer(r"^[ \t]*\[", skeleton(text), re.MULTILINE)]
    first = found.lines.get(path, 0)
    start = next((at for at in headers if text.count("\n", 0, at) + 1 == first), None)
    if len(path) > 1 or start is None:
        return None
    for end in (*(at for at in headers if at > start), len(text)):
        own = len(skeleton(text[start:end]).rstrip())
        rest = text[start + own :].partition("\n")[2].lstrip("\n")
        cut = "\n\n".join(part for part in (text[:start].rstrip("\n"), rest.rstrip("\n")) if part) + "\n"
        with contextlib.suppress(ValueError):
            if tomllib.loads(cut) == expected:
                return cut
    return None


def _resists(path: KeyPath) -> UserError:
    return UserError(
        f"{dotted(path)} cannot be changed by itself in this text",
        hint="change it in the TOML; dotted keys and tables in pieces are the usual reason",
    )


def _table_at(values: _Values, path: KeyPath) -> _Values:
    """The table that holds the last key of `path`, made where it is missing."""
    table: Any = values
    for depth, key in enumerate(path[:-1], start=1):
        if key not in table:
            table[key] = _new_table(table, depth)
        table = table[key]
        if not isinstance(table, MutableMapping):
            raise UserError(f"{dotted(path[:depth])} is not a table", where=clean(dotted(path)))
    return cast(_Values, table)


def _new_table(around: object, depth: int) -> object:
    if type(around) is dict:
        return {}
    return tomlkit.table() if depth == 1 and not isinstance(around, InlineTable) else tomlkit.inline_table()


def _at(values: Any, path: KeyPath) -> object:
    for key in path:
        values = values.get(key) if isinstance(values, dict) else None
    return values
