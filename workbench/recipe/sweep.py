"""[sweep]: one file, many runs: grids over knobs, cases, seeds, folds, and how the search is cut short."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.recipe.cookbook import find_recipe
from workbench.recipe.grid import MOST_POINTS, point_name
from workbench.recipe.load import paths_from, read_recipe_text, validated
from workbench.recipe.schema import Recipe
from workbench.recipe.source import Change, Source, dotted, read_source
from workbench.recipe.sweep_axes import TABLE, Axis, axes_of, key_axis, refuse_clashes, wrong
from workbench.recipe.sweep_search import Prune, Refine, check_prune, finer_values, prune_of, refine_of
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.toml_text import KeyPath


@dataclass(frozen=True, slots=True)
class SweepRun:
    """One run of a sweep."""

    recipe: Recipe
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
    _axes: tuple[Axis, ...] = field(repr=False)
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
                axes.append(key_axis(axis.key, path, finer, axis.choices[0].where, self._source))
            else:
                axes.append(Axis(axis.key, tuple(c for c in axis.choices if c.label in best.labels)))
        return tuple(_runs(axes, self._source, self._folder))


def load_sweep(path: Path, overrides: Sequence[Change] = ()) -> Sweep:
    """Read and expand a recipe with a [sweep] table, by its file or name.

    Args:
        overrides: `--set` and `--unset`, laid over the file; `sweep.seeds=3` works too.

    Raises:
        UserError: as `load_recipe`, no [sweep], or a sweep that cannot be: the key is named.
    """
    file = find_recipe(path)
    return parse_sweep(read_recipe_text(file), clean(file), overrides, folder=paths_from(file))


def parse_sweep(
    text: str, where: str = "recipe", overrides: Sequence[Change] = (), *, folder: Path | None = None
) -> Sweep:
    """As `load_sweep`, of a recipe's text.

    Raises:
        UserError: as `load_sweep`.
    """
    whole = read_source(text, where, overrides)
    written = whole.values.pop(TABLE, None)
    if written is None:
        raise UserError("no [sweep] table: this is one run", where=where, hint=f"petbench run {where}")
    if not isinstance(written, dict):
        raise wrong(whole, (TABLE,), written, "a table, [sweep]")
    axes = axes_of(written, whole)
    refuse_clashes(axes, whole)
    size = math.prod(len(axis.choices) for axis in axes)
    if size > MOST_POINTS:
        counts = " × ".join(str(len(axis.choices)) for axis in axes)
        raise UserError(
            f"a sweep of {counts} = {size} runs",
            where=whole.place((TABLE,)),
            allowed=f"at most {MOST_POINTS} runs",
        )
    prune, refine = prune_of(written, whole), refine_of(written, whole, axes)
    runs = tuple(_runs(axes, whole, folder))
    if prune is not None:
        check_prune(
            prune, min(run.recipe.training.epochs for run in runs), len({r.point for r in runs}), whole
        )
    return Sweep(clean(whole.values.get("name")), runs, prune, refine, tuple(axes), whole, folder)


def _runs(axes: Sequence[Axis], source: Source, folder: Path | None) -> Iterator[SweepRun]:
    choices = itertools.product(*(axis.choices for axis in axes))
    for number, picked in enumerate(choices, start=1):
        values, lines = copy.deepcopy(source.values), dict(source.lines)
        for choice in picked:
            line = source.line(choice.where)
            for path, value in choice.settings:
                _put(values, path, copy.deepcopy(value), source)
                if line is not None:
                    lines[path] = line
        recipe = validated(Source(source.name, values, lines, source.overrides), folder)
        own = [(axis, choice) for axis, choice in zip(axes, picked, strict=True) if not axis.repeats]
        point = ",".join(choice.label for _, choice in own)
        repeat = ",".join(choice.label for axis, choice in zip(axes, picked, strict=True) if axis.repeats)
        name = point_name(recipe.name, ",".join(part for part in (point, repeat) if part), number)
        yield SweepRun(
            recipe.model_copy(update={"name": name}),
            point,
            repeat,
            tuple((dotted(path), value) for _, choice in own for path, value in choice.settings),
            tuple(choice.label for choice in picked),
        )


def _put(values: dict[str, Any], path: KeyPath, value: Any, source: Source) -> None:
    table: Any = values
    for depth, key in enumerate(path[:-1], start=1):
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise UserError(f"{dotted(path[:depth])} is not a table", where=source.place(path))
    table[path[-1]] = value
