"""The axes of a [sweep]: what each of its keys varies, and over which values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from workbench.recipe.literals import toml_literal
from workbench.recipe.schema import Recipe
from workbench.recipe.source import Source, dotted
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.nearest import nearest
from workbench.support.toml_text import KeyPath

TABLE = "sweep"
REPEATS: tuple[KeyPath, ...] = (("seed",), ("data", "split_seed"), ("data", "fold"))
"""Keys whose values repeat a point instead of making another one: its number is their mean."""
_OWN = ("seeds", "folds", "cases", "prune", "refine")
_LISTS = 'a list of values, such as "optimizer.learning_rate" = [1e-5, 1e-4]'

Setting = tuple[KeyPath, Any]


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing an axis may be: a label for people, and the keys that it sets."""

    label: str
    settings: tuple[Setting, ...]
    where: KeyPath
    """Its place in the table: where a value that does not fit is to be mended."""


@dataclass(frozen=True, slots=True)
class Axis:
    """A key of [sweep] and its choices; with `repeats` they repeat a point instead of making another."""

    key: str
    """As it stands in the table."""
    choices: tuple[Choice, ...]
    repeats: bool = False


def axes_of(written: Mapping[str, Any], source: Source) -> list[Axis]:
    """The axes that a [sweep] writes, those that make points first. Raises: UserError."""
    axes = []
    if "cases" in written:
        axes.append(_case_axis(written["cases"], source))
    for path, where, values in _leaves({k: v for k, v in written.items() if k not in _OWN}, (TABLE,)):
        if not isinstance(values, list) or not values:
            raise _not_a_list(source, where, path, values)
        axes.append(key_axis(dotted(path), path, values, where, source))
    if "folds" in written:
        axes.append(_fold_axis(written["folds"], source))
    if "seeds" in written:
        axes.append(_seed_axis(written["seeds"], source))
    if not axes:
        raise UserError("[sweep] says nothing to vary", where=source.place((TABLE,)), allowed=_LISTS)
    return sorted(axes, key=lambda axis: axis.repeats)  # the runs of a point stand together


def _leaves(values: Mapping[str, Any], where: KeyPath) -> Iterator[tuple[KeyPath, KeyPath, Any]]:
    """(the recipe's key, where that is written, its values), written dotted in quotes or as tables."""
    for key, value in values.items():
        at = (*where, key)
        if isinstance(value, Mapping) and value:
            for path, deeper, leaf in _leaves(value, at):
                yield (*key.split("."), *path), deeper, leaf
        else:
            yield tuple(key.split(".")), at, value


def key_axis(key: str, path: KeyPath, values: Sequence[Any], where: KeyPath, source: Source) -> Axis:
    """An axis over one knob, whose values stand at `where`. Raises: UserError."""
    if path in (("name",), ("description",), ("tags",)):
        raise UserError(f"{dotted(path)} makes no run different", where=source.place(where))
    # Texts show without their quotes; 1 and 1.0 are one value, 1 and true are two.
    seen: dict[object, str] = {}
    for value in values:
        literal = toml_literal(value)
        same = value if type(value) in (int, float) else literal
        if same in seen:
            raise UserError(f"sweep.{key}: {clean(literal, 60)} is there twice", where=source.place(where))
        seen[same] = clean(literal[1:-1] if isinstance(value, str) else literal, 60)
    last = path[-1] if path[-1] not in Recipe.model_fields or len(path) == 1 else dotted(path)
    choices = tuple(
        Choice(f"{last}={shown}", ((path, value),), where)
        for shown, value in zip(seen.values(), values, strict=True)
    )
    return Axis(key, choices, repeats=path in REPEATS)


def _case_axis(cases: object, source: Source) -> Axis:
    where = (TABLE, "cases")
    if not isinstance(cases, dict) or not cases:
        raise wrong(source, where, cases, "tables of settings, such as [sweep.cases.plain]")
    choices = []
    for name, values in cases.items():
        if not isinstance(values, dict):
            raise wrong(source, (*where, name), values, f"a table of settings, [sweep.cases.{clean(name)}]")
        settings = tuple((path, value) for path, _, value in _leaves(values, (*where, name)))
        choices.append(Choice(clean(name, 40), settings, (*where, name)))
    return Axis("cases", tuple(choices))


def _seed_axis(written: object, source: Source) -> Axis:
    """Each seed is both the run's and the split's: repeats differ in all that chance decides."""
    where = (TABLE, "seeds")
    if is_whole(written) and 1 <= written <= 100:
        seeds: Sequence[int] = range(written)
    elif isinstance(written, list) and written and all(is_whole(seed) and seed >= 0 for seed in written):
        seeds = written
        if len(set(seeds)) < len(seeds):
            raise UserError("sweep.seeds names a seed twice", where=source.place(where))
    else:
        raise wrong(source, where, written, "how many, from 1 to 100, or a list of seeds")
    choices = (
        Choice(f"seed={seed}", ((("seed",), seed), (("data", "split_seed"), seed)), where) for seed in seeds
    )
    return Axis("seeds", tuple(choices), repeats=True)


def _fold_axis(written: object, source: Source) -> Axis:
    where = (TABLE, "folds")
    if not is_whole(written) or not 2 <= written <= 20:
        raise wrong(source, where, written, "a whole number from 2 to 20")
    choices = (
        Choice(f"fold={fold}", ((("data", "folds"), written), (("data", "fold"), fold)), where)
        for fold in range(written)
    )
    return Axis("folds", tuple(choices), repeats=True)


def refuse_clashes(axes: Sequence[Axis], source: Source) -> None:
    """Two axes that set one key, or a --set of a swept one: one of them would count for nothing."""
    said: dict[KeyPath, str] = {
        path: f"--set {clean(words, 80)}" for path, words in source.overrides.items() if path[0] != TABLE
    }
    for axis in axes:
        paths = dict.fromkeys(path for choice in axis.choices for path, _ in choice.settings)
        for path in paths:
            for other, who in said.items():
                if path[: len(other)] == other or other[: len(path)] == path:
                    raise UserError(
                        f"{dotted(path)} is set by {who} too",
                        where=source.place((TABLE, axis.key)),
                        hint="leave it to one of them",
                    )
        said |= dict.fromkeys(paths, f"sweep.{axis.key}")


def _not_a_list(source: Source, where: KeyPath, path: KeyPath, value: object) -> UserError:
    near = nearest(where[-1], _OWN) if len(where) == 2 else None
    if near is not None:
        return UserError(
            f"no such key: {dotted(where)}", where=source.place(where), hint=f"did you mean sweep.{near}?"
        )
    what = f"sweep.{dotted(path)} cannot be {clean(toml_literal(value), 60)}"
    return UserError(what, where=source.place(where), allowed=_LISTS)


def wrong(source: Source, path: KeyPath, value: object, allowed: str) -> UserError:
    """The error of a value that cannot be."""
    if value is None:
        return UserError(f"{dotted(path)} is missing", where=source.place(path), allowed=allowed)
    shown = clean(toml_literal(value), 60)
    return UserError(f"{dotted(path)} cannot be {shown}", where=source.place(path), allowed=allowed)


def is_whole(value: object) -> TypeGuard[int]:
    """Whether a value is an integer, and not true or false."""
    return type(value) is int
