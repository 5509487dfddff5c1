"""The resolved recipe: every knob that counts, as TOML, as flat keys, as a fingerprint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tomli_w

from workbench.recipe.fields import Table, applicable
from workbench.recipe.knobs import key_of
from workbench.recipe.schema import Recipe
from workbench.support.clean import clean
from workbench.support.digests import fingerprint
from workbench.support.toml_text import flatten

# Neither the words that a person finds a run by nor how often it saves itself changes what comes out.
_NO_MATTER = ("name", "description", "tags", "training.checkpoint_seconds")


def dump_recipe(recipe: Recipe) -> str:
    """The recipe as TOML that parses to an equal recipe, with every knob that counts, `schema` first.

    Control and bidi characters stand as escapes, so that the text may be printed to a terminal as it is.
    """
    text = tomli_w.dumps(resolved(recipe))
    return "".join(char if char == "\n" or clean(char) == char else f"\\u{ord(char):04x}" for char in text)


def resolved(table: Table) -> dict[str, Any]:
    """A table's knobs that count, by TOML key in the schema's order; tables become dicts, tuples lists.

    Left out: knobs without a value, empty tables, and knobs that belong to a choice that was not made.
    """
    values: dict[str, Any] = {}
    for name, value in applicable(table):
        plain = _plain(value)
        if plain != {}:
            values[key_of(name, type(table).model_fields[name])] = plain
    return values


def flat(recipe: Recipe) -> dict[str, Any]:
    """Dotted key -> value of everything in the resolved recipe."""
    return flatten(resolved(recipe))


def recipe_fingerprint(recipe: Recipe) -> str:
    """Equal for recipes that give equal runs on equal data, whatever they are called."""
    return fingerprint({key: value for key, value in flat(recipe).items() if key not in _NO_MATTER})


def _plain(value: Any) -> Any:
    if isinstance(value, Table):
        return resolved(value)
    return list(value) if isinstance(value, tuple) else value


@dataclass(frozen=True, slots=True)
class Difference:
    """A dotted key and its value on either side; None where the knob is not set or does not count."""

    key: str
    left: Any
    right: Any


def diff_recipes(left: Recipe, right: Recipe) -> list[Difference]:
    """Every knob that counts in either recipe and is not the same in both, in the order of the schema.

    Keys that only `right` has come last.
    """
    ours, theirs = flat(left), flat(right)
    keys = dict.fromkeys([*ours, *theirs])
    pairs = (Difference(key, ours.get(key), theirs.get(key)) for key in keys)
    return [pair for pair in pairs if pair.left != pair.right]
