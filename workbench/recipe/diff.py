"""What is different between two recipes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from workbench.recipe.dump import flat
from workbench.recipe.schema import Recipe


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
