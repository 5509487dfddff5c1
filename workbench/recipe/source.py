"""Where a recipe's values come from: a file's lines, and the `--set` and `--unset` that changed them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from workbench.recipe.knobs import as_words, known_keys
from workbench.recipe.literals import toml_key
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.nearest import nearest
from workbench.support.toml_text import MAX_KEY, KeyPath, TomlText, parse_toml


@dataclass(frozen=True, slots=True)
class Unset:
    """A key or table that `--unset` takes out, so that it is as if never written."""

    key: str

    def __str__(self) -> str:
        return f"--unset {clean(self.key, 80)}"


Change = str | Unset
"""`key=value` of `--set`, or a key of `--unset`."""


@dataclass(frozen=True, slots=True)
class Source:
    """Raw values of a recipe, with the place of each.

    `overrides` maps the path of a key set on the command line to the words that set it.
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
        if self._override(path) is not None:
            return None
        around = (path[:length] for length in range(len(path), 0, -1))
        return next((self.lines[part] for part in around if part in self.lines), None)

    def place(self, path: KeyPath) -> str:
        """Where `path` is written, for a message: `file:line` or `--set key=value`."""
        override = self._override(path)
        if override is not None:
            return f"--set {clean(override, 80)}"
        line = self.line(path)
        return self.name if line is None else f"{self.name}:{line}"

    def is_typed(self, path: KeyPath) -> bool:
        """Whether the value at `path` comes from the command line."""
        return self._override(path) is not None

    def _override(self, path: KeyPath) -> str | None:
        around = (path[:length] for length in range(len(path), 0, -1))
        return next((self.overrides[part] for part in around if part in self.overrides), None)


def dotted(path: KeyPath) -> str:
    """A path as TOML writes it, harmless to show."""
    return clean(".".join(toml_key(key) for key in path), 100)


def read_source(text: str, name: str, overrides: Sequence[Change] = ()) -> Source:
    """Parse a recipe's text and lay `--set` and `--unset` over it, in order; `name` stands in messages.

    Raises:
        UserError: the text or a `--set` is not TOML, or passes a cap; an `--unset` names no key.
    """
    parsed: TomlText = parse_toml(text, name)
    said: dict[KeyPath, str] = {}
    for override in overrides:
        if isinstance(override, Unset):
            path = _unset(parsed.values, override)
            said = {key: word for key, word in said.items() if key[: len(path)] != path}
            continue
        path, value = parse_override(override)
        _set(parsed.values, path, as_words(path, value), override)
        said[path] = override
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


def _set(values: dict[str, Any], path: KeyPath, value: Any, override: str) -> None:
    table: Any = values
    for depth, key in enumerate(path[:-1], start=1):
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            what = f"{dotted(path[:depth])} is not a table"
            raise UserError(what, where=f"--set {clean(override, 80)}")
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
    if dotted(path) not in known and path[0] != "sweep":
        near = nearest(dotted(path), known)
        raise UserError(
            f"no such key: {dotted(path)}", where=str(unset), hint=f"did you mean {near}?" if near else ""
        )
    return path
