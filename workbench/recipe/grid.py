"""A grid over a recipe's knobs: every combination of the values given, each under a name of its own."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from workbench.recipe.cookbook import find_recipe
from workbench.recipe.literals import toml_literal
from workbench.recipe.load import parse_recipe, paths_from, read_recipe_text
from workbench.recipe.schema import Recipe
from workbench.recipe.source import Change, dotted, parse_override
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.toml_text import KeyPath

MOST_POINTS = 500
_NAME_LIMIT = 80
"""The schema's: characters of a recipe's name."""
_SHORTEST_NAME = 12
"""Characters of the recipe's own name that a long suffix may not push out."""

# Possessive throughout, so the time is linear: quoted text, then brackets and commas, then anything else.
_PIECE = re.compile(r'"(?:[^"\\]|\\.)*+"|\'[^\']*+\'|[\[{(]|[\]})]|,|[^"\'\[\]{}(),]++|["\']', re.DOTALL)


@dataclass(frozen=True, slots=True)
class GridPoint:
    """One run of a grid."""

    recipe: Recipe
    """Named `NAME/learning_rate=1e-05,seed=1` after what sets it apart."""
    changes: tuple[str, ...]
    """`key=value` of each key of the grid, as `--set` takes them."""


@dataclass(frozen=True, slots=True)
class _Axis:
    key: str
    path: KeyPath
    values: tuple[str, ...]
    shown: tuple[str, ...]
    """The values as they stand in a name."""


def expand_grid(
    path: Path, grid: Mapping[str, Sequence[str]], changes: Sequence[Change] = ()
) -> list[GridPoint]:
    """Every combination of a grid over the recipe file at `path`; the last key varies fastest.

    Args:
        grid: dotted key to values, each written as TOML or as plain text, as `--set` takes them.
        changes: `--set` and `--unset`, laid over the file before the grid.

    Raises:
        UserError: no values, a key or value given twice, over 500 points, or an unreadable file;
            `RecipeError`, which names the key, when a combination does not fit the schema.
    """
    file = find_recipe(path)
    return expand_grid_text(read_recipe_text(file), clean(file), grid, changes, folder=paths_from(file))


def expand_grid_text(
    text: str,
    where: str,
    grid: Mapping[str, Sequence[str]],
    changes: Sequence[Change] = (),
    *,
    folder: Path | None = None,
) -> list[GridPoint]:
    """As `expand_grid`, over a recipe's text; `where` and `folder` are as for `parse_recipe`."""
    axes = [_axis(key, values) for key, values in grid.items()]
    _refuse_clashes(axes, changes)
    size = math.prod(len(axis.values) for axis in axes)
    if size > MOST_POINTS:
        counts = " × ".join(str(len(axis.values)) for axis in axes)
        raise UserError(f"a grid of {counts} = {size} runs", allowed=f"at most {MOST_POINTS} runs")
    names = _short_names(axes)
    points = []
    for number, choice in enumerate(itertools.product(*(range(len(axis.values)) for axis in axes)), start=1):
        picked = list(zip(axes, choice, strict=True))
        own = tuple(f"{axis.key}={axis.values[index]}" for axis, index in picked)
        recipe = parse_recipe(text, where, [*changes, *own], folder=folder)
        suffix = ",".join(f"{names[axis.path]}={axis.shown[index]}" for axis, index in picked)
        name = point_name(recipe.name, suffix, number)
        points.append(GridPoint(recipe.model_copy(update={"name": name}), own))
    return points


def parse_grid(written: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The grid that `--grid key=v1,v2 …` says.

    Raises:
        UserError: a word without `=`, a key without values, or a key given twice.
    """
    grid: dict[str, tuple[str, ...]] = {}
    for word in written:
        key, equals, values = word.partition("=")
        key = key.strip()
        where = f"--grid {clean(word, 80)}"
        if not equals or not key:
            raise UserError("not of the form key=v1,v2,…", where=where, hint="for example --grid seed=0,1,2")
        if key in grid:
            raise UserError(
                f"{clean(key, 80)} is given twice", where=where, hint="give all its values at once"
            )
        grid[key] = split_values(values)
    return grid


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


def _axis(key: str, values: Sequence[str]) -> _Axis:
    where = f"--grid {clean(key, 80)}"
    if not values:
        raise UserError("no values", where=where, hint=f"for example --grid {clean(key, 80)}=1,2,3")
    shown: dict[object, str] = {}
    path: KeyPath = ()
    for value in values:
        path, parsed = parse_override(f"{key}={value}")
        if path in (("name",), ("description",), ("tags",)):
            raise UserError(f"{dotted(path)} makes no run different", where=where)
        literal = toml_literal(parsed)
        # To Python 1 equals True and 1.0 equals 1; to a recipe only the latter are the same.
        same = parsed if type(parsed) in (int, float) else literal
        if same in shown:
            raise UserError(f"{clean(value, 60)} is there twice", where=where)
        shown[same] = literal[1:-1] if isinstance(parsed, str) else literal
    return _Axis(key.strip(), path, tuple(values), tuple(shown.values()))


def _refuse_clashes(axes: Sequence[_Axis], changes: Sequence[Change]) -> None:
    """A key of the grid would make another's value, or a --set, count for nothing."""
    said = {
        parse_override(change)[0]: f"--set {clean(change, 80)}"
        for change in changes
        if isinstance(change, str)
    }
    for axis in axes:
        for path, where in said.items():
            if path[: len(axis.path)] == axis.path or axis.path[: len(path)] == path:
                raise UserError(f"{dotted(axis.path)} is in the grid too", where=where)
        said[axis.path] = f"--grid {clean(axis.key, 80)}"


def _short_names(axes: Sequence[_Axis]) -> dict[KeyPath, str]:
    """A key's last part where that tells it apart, else the whole: `optimizer.name` is not a run's name."""
    lasts = [axis.path[-1] for axis in axes]
    return {
        axis.path: last if lasts.count(last) == 1 and last not in Recipe.model_fields else dotted(axis.path)
        for axis, last in zip(axes, lasts, strict=True)
    }


def point_name(base: str, suffix: str, number: int) -> str:
    """`base/suffix` within 80 characters: the base gives way first, then the suffix, to a number."""
    if not suffix:
        return base
    room = _NAME_LIMIT - len(suffix) - 1
    if room < min(len(base), _SHORTEST_NAME):
        suffix = f"{number:03d}"
        room = _NAME_LIMIT - len(suffix) - 1
    return f"{base[:room]}/{suffix}"
