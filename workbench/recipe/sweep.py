"""One file, many runs: what a [sweep] expands to, over its keys, cases, seeds and folds."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from workbench.recipe.cookbook import find_recipe
from workbench.recipe.load import paths_from, read_recipe_text, validated
from workbench.recipe.problems import RecipeError, problem, recipe_error
from workbench.recipe.schema import Recipe
from workbench.recipe.source import Change, Source, dotted, read_source
from workbench.recipe.sweep_table import LISTS, SWEEP, Prune, Refine, SweepTable, finer_values
from workbench.support.clean import clean
from workbench.support.errors import UserError, nearest
from workbench.support.toml_text import KeyPath, toml_literal

MOST_RUNS = 500
REPEATS: tuple[KeyPath, ...] = (("seed",), ("data", "split_seed"), ("data", "fold"))
"""Keys whose values repeat a point instead of making another one: its number is their mean."""
_NO_DIFFERENCE: tuple[KeyPath, ...] = (("name",), ("description",), ("tags",))
_NAME_LIMIT = 80
"""The schema's: characters of a recipe's name."""
_SHORTEST_NAME = 12
"""Characters of the recipe's own name that a long suffix may not push out."""


@dataclass(frozen=True, slots=True)
class SweepRun:
    """One run of a sweep."""

    recipe: Recipe
    """Named `NAME/learning_rate=1e-05,seed=1` after what sets it apart."""
    point: str
    """What sets its point apart, such as `learning_rate=1e-05,rotation`; its runs differ in `repeat`."""
    repeat: str
    """Such as `seed=1` or `seed=1,fold=0`; empty where points are not repeated."""
    settings: tuple[tuple[str, Any], ...]
    """Dotted key and value of everything that its point sets."""
    labels: tuple[str, ...]
    """What it is on each axis of the sweep."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """A recipe with its [sweep], every run of which fits the schema."""

    name: str
    runs: tuple[SweepRun, ...]
    """The last key varies fastest; the runs of a point stand together."""
    prune: Prune | None
    refine: Refine | None
    _axes: tuple[_Axis, ...] = field(repr=False)
    _source: Source = field(repr=False)
    _folder: Path | None = field(repr=False)

    @property
    def points(self) -> tuple[str, ...]:
        """The points, in order."""
        return tuple(dict.fromkeys(run.point for run in self.runs))

    def around(self, point: str) -> tuple[SweepRun, ...]:
        """The runs of the finer search around the best point; none without `refine`.

        Raises:
            UserError: a finer value does not fit the schema.
        """
        if self.refine is None:
            return ()
        path = self.refine.path
        best = next(run for run in self.runs if run.point == point)
        at = dict(best.settings)[dotted(path)]
        axes = []
        for axis in self._axes:
            if axis.repeats:
                axes.append(axis)
            elif axis.key == dotted(path):
                values = [choice.settings[0][1] for choice in axis.choices]
                finer = finer_values(values, at, self.refine.steps)
                axes.append(_key_axis(axis.name, path, finer, axis.choices[0].where, self._source))
            else:
                axes.append(replace(axis, choices=tuple(c for c in axis.choices if c.label in best.labels)))
        return tuple(_runs(axes, self._source, self._folder))


def load_sweep(path: Path, changes: Sequence[Change] = ()) -> Sweep:
    """Read and expand a recipe with a [sweep] table, by its file or name.

    Args:
        changes: `--set`, `--unset` and `--grid`, laid over the file; `--grid seed=0,1` or
            `--set sweep.seeds=3` makes a [sweep] where there is none.

    Raises:
        UserError: as `load_recipe`, no [sweep], or a sweep that cannot be: the key is named.
    """
    file = find_recipe(path)
    return parse_sweep(read_recipe_text(file), clean(file), changes, folder=paths_from(file))


def parse_sweep(
    text: str, where: str = "recipe", changes: Sequence[Change] = (), *, folder: Path | None = None
) -> Sweep:
    """As `load_sweep`, of a recipe's text.

    Raises:
        UserError: as `load_sweep`.
    """
    whole = read_source(text, where, changes)
    if SWEEP not in whole.values:
        raise UserError(
            "no [sweep] table: this is one run",
            where=where,
            hint=f"petbench run {where} trains it; with --grid seed=0,1,2 it is a sweep",
        )
    table = _table_of(whole)
    axes = _axes_of(table, whole)
    _refuse_clashes(axes, whole)
    size = math.prod(len(axis.choices) for axis in axes)
    if size > MOST_RUNS:
        counts = " × ".join(str(len(axis.choices)) for axis in axes)
        raise UserError(
            f"a sweep of {counts} = {size} runs",
            where=whole.place((SWEEP,)),
            allowed=f"at most {MOST_RUNS} runs",
        )
    if table.refine is not None:
        _check_refine(table.refine, axes, whole)
    base = replace(whole, values={key: value for key, value in whole.values.items() if key != SWEEP})
    runs = tuple(_runs(axes, base, folder))
    if table.prune is not None:
        shortest = min(run.recipe.training.epochs for run in runs)
        _check_prune(table.prune, shortest, len({run.point for run in runs}), whole)
    return Sweep(clean(base.values.get("name")), runs, table.prune, table.refine, tuple(axes), base, folder)


@dataclass(frozen=True, slots=True)
class _Choice:
    """One thing an axis may be: a label for people, and the keys that it sets."""

    label: str
    settings: tuple[tuple[KeyPath, Any], ...]
    where: KeyPath
    """Its place in the table: where a value that does not fit is to be mended."""


@dataclass(frozen=True, slots=True)
class _Axis:
    """A key of [sweep] and its choices; with `repeats` they repeat a point instead of making another."""

    key: str
    """Dotted, as the recipe has it; of `cases`, `folds` and `seeds` that word."""
    name: str
    """What it is called in a run's name: the key's last part, where that tells it apart."""
    choices: tuple[_Choice, ...]
    repeats: bool = False


def _table_of(source: Source) -> SweepTable:
    """The [sweep] that a source writes. Raises: RecipeError."""
    written = source.values[SWEEP]
    if not isinstance(written, dict):
        what = f"{SWEEP} cannot be {clean(toml_literal(written), 60)}"
        raise _wrong(source, (SWEEP,), what, "a table, [sweep]")
    try:
        return SweepTable.model_validate(written)
    except ValidationError as error:
        raise recipe_error(error, source, (SWEEP,)) from error


def _axes_of(table: SweepTable, source: Source) -> list[_Axis]:
    """What a [sweep] varies, the axes that make points first. Raises: UserError."""
    axes = []
    if table.cases:
        axes.append(_case_axis(table.cases))
    lists = list(_leaves(table.model_extra or {}, (SWEEP,)))
    for (path, where, values), name in zip(lists, _names([path for path, _, _ in lists]), strict=True):
        if not isinstance(values, list) or not values:
            raise _not_a_list(source, where, path, values)
        axes.append(_key_axis(name, path, values, where, source))
    if table.folds is not None:
        axes.append(_fold_axis(table.folds))
    if table.seeds is not None:
        axes.append(_seed_axis(table.seeds if isinstance(table.seeds, tuple) else range(table.seeds)))
    if not axes:
        raise UserError("[sweep] says nothing to vary", where=source.place((SWEEP,)), allowed=LISTS)
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


def _names(paths: Sequence[KeyPath]) -> list[str]:
    """A key's last part where that tells it apart, else the whole: `optimizer.name` is not a run's name."""
    lasts = [path[-1] for path in paths]
    return [
        last if lasts.count(last) == 1 and last not in Recipe.model_fields else dotted(path)
        for path, last in zip(paths, lasts, strict=True)
    ]


def _key_axis(name: str, path: KeyPath, values: Sequence[Any], where: KeyPath, source: Source) -> _Axis:
    """An axis over one knob, whose values stand at `where`. Raises: UserError."""
    if path in _NO_DIFFERENCE:
        raise UserError(f"{dotted(path)} makes no run different", where=source.place(where))
    # Texts show without their quotes; 1 and 1.0 are one value, 1 and true are two.
    seen: dict[object, str] = {}
    for value in values:
        literal = toml_literal(value)
        same = value if type(value) in (int, float) else literal
        if same in seen:
            raise UserError(
                f"{SWEEP}.{dotted(path)}: {clean(literal, 60)} is there twice", where=source.place(where)
            )
        seen[same] = clean(literal[1:-1] if isinstance(value, str) else literal, 60)
    choices = tuple(
        _Choice(f"{name}={shown}", ((path, value),), where)
        for shown, value in zip(seen.values(), values, strict=True)
    )
    return _Axis(dotted(path), name, choices, repeats=path in REPEATS)


def _case_axis(cases: Mapping[str, Mapping[str, Any]]) -> _Axis:
    choices = []
    for name, values in cases.items():
        where = (SWEEP, "cases", name)
        settings = tuple((path, value) for path, _, value in _leaves(values, where))
        choices.append(_Choice(clean(name, 40), settings, where))
    return _Axis("cases", "cases", tuple(choices))


def _seed_axis(seeds: Sequence[int]) -> _Axis:
    """Each seed is both the run's and the split's: repeats differ in all that chance decides."""
    where = (SWEEP, "seeds")
    choices = (
        _Choice(f"seed={seed}", ((("seed",), seed), (("data", "split_seed"), seed)), where) for seed in seeds
    )
    return _Axis("seeds", "seed", tuple(choices), repeats=True)


def _fold_axis(folds: int) -> _Axis:
    where = (SWEEP, "folds")
    choices = (
        _Choice(f"fold={fold}", ((("data", "folds"), folds), (("data", "fold"), fold)), where)
        for fold in range(folds)
    )
    return _Axis("folds", "fold", tuple(choices), repeats=True)


def _refuse_clashes(axes: Sequence[_Axis], source: Source) -> None:
    """Two axes that set one key, or a --set of a swept one: one of them would count for nothing."""
    said = {path: words for path, words in source.overrides.items() if path[0] != SWEEP}
    for axis in axes:
        paths = dict.fromkeys(path for choice in axis.choices for path, _ in choice.settings)
        for path in paths:
            for other, who in said.items():
                if path[: len(other)] == other or other[: len(path)] == path:
                    raise UserError(
                        f"{dotted(path)} is set by {who} too",
                        where=source.place(axis.choices[0].where),
                        hint="leave it to one of them",
                    )
        said |= dict.fromkeys(paths, f"{SWEEP}.{axis.key}")


def _not_a_list(source: Source, where: KeyPath, path: KeyPath, value: object) -> RecipeError:
    near = nearest(where[-1], SweepTable.model_fields) if len(where) == 2 else None
    if near is not None:
        return _wrong(source, where, f"no such key: {dotted(where)}", hint=f"did you mean {SWEEP}.{near}?")
    return _wrong(source, where, f"{SWEEP}.{dotted(path)} cannot be {clean(toml_literal(value), 60)}", LISTS)


def _check_refine(refine: Refine, axes: Sequence[_Axis], source: Source) -> None:
    """Raises: RecipeError, for a key that is no scale of this sweep."""
    able = [axis.key for axis in axes if _is_scale(axis)]
    if refine.key not in able:
        what = f"{SWEEP}.refine.key cannot be {clean(toml_literal(refine.key), 60)}"
        allowed = " or ".join(map(toml_literal, able)) or "a key of [sweep] with two or more numbers"
        raise _wrong(source, (SWEEP, "refine", "key"), what, allowed)


def _is_scale(axis: _Axis) -> bool:
    values = [choice.settings[0][1] for choice in axis.choices if choice.settings]
    return (
        axis.key != "cases"
        and not axis.repeats
        and len(values) > 1
        and all(type(value) is float and value > 0 for value in values)
    )


def _check_prune(prune: Prune, shortest: int, points: int, source: Source) -> None:
    """Raises: RecipeError, for pruning that would never prune; `shortest`: epochs of the shortest run."""
    if not prune.looks(shortest):
        what = f"{SWEEP}.prune has no effect: the first look comes after epoch {prune.epochs}, and a run has "
        allowed = f"{SWEEP}.prune.epochs from 1 to {shortest - 1}" if shortest > 1 else "longer runs"
        raise _wrong(source, (SWEEP, "prune"), f"{what}{shortest}", allowed)
    if points < 2:
        raise _wrong(source, (SWEEP, "prune"), f"{SWEEP}.prune has no effect: there is one point")


def _wrong(source: Source, path: KeyPath, what: str, allowed: str = "", *, hint: str = "") -> RecipeError:
    return RecipeError(source.name, [problem(path, source, what, allowed=allowed, hint=hint)], 1)


def _runs(axes: Sequence[_Axis], source: Source, folder: Path | None) -> Iterator[SweepRun]:
    for number, picked in enumerate(itertools.product(*(axis.choices for axis in axes)), start=1):
        recipe = validated(_with_settings(source, picked), folder)
        own = [choice for axis, choice in zip(axes, picked, strict=True) if not axis.repeats]
        point = ",".join(choice.label for choice in own)
        repeat = ",".join(choice.label for axis, choice in zip(axes, picked, strict=True) if axis.repeats)
        name = _run_name(recipe.name, ",".join(part for part in (point, repeat) if part), number)
        yield SweepRun(
            recipe.model_copy(update={"name": name}),
            point,
            repeat,
            tuple((dotted(path), value) for choice in own for path, value in choice.settings),
            tuple(choice.label for choice in picked),
        )


def _with_settings(source: Source, picked: Sequence[_Choice]) -> Source:
    """The recipe's values with a run's own, each said to stand where the sweep has it."""
    values, lines, overrides = copy.deepcopy(source.values), dict(source.lines), dict(source.overrides)
    for choice in picked:
        line, words = source.line(choice.where), source.words(choice.where)
        for path, value in choice.settings:
            _put(values, path, copy.deepcopy(value), source)
            if words is not None:
                overrides[path] = words
            elif line is not None:
                lines[path] = line
    return Source(source.name, values, lines, overrides)


def _put(values: dict[str, Any], path: KeyPath, value: Any, source: Source) -> None:
    table: Any = values
    for depth, key in enumerate(path[:-1], start=1):
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise UserError(f"{dotted(path[:depth])} is not a table", where=source.place(path))
    table[path[-1]] = value


def _run_name(base: str, suffix: str, number: int) -> str:
    """`base/suffix` within 80 characters: the base gives way first, then the suffix, to a number."""
    if not suffix:
        return base
    room = _NAME_LIMIT - len(suffix) - 1
    if room < min(len(base), _SHORTEST_NAME):
        suffix = f"{number:03d}"
        room = _NAME_LIMIT - len(suffix) - 1
    return f"{base[:room]}/{suffix}"
