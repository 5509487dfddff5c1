"""Changes of single keys in a recipe's TOML text; comments, order and spelling of the rest stay."""

from __future__ import annotations

import contextlib
import copy
import re
import tomllib
from collections.abc import Callable, MutableMapping
from typing import Any, cast

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import InlineTable, Item

from workbench.recipe.literals import toml_literal
from workbench.recipe.source import dotted
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.toml_text import KeyPath, parse_toml, skeleton

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
