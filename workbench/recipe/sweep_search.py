"""How a sweep's search is cut short (successive halving) and made finer around its best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.recipe.literals import toml_literal
from workbench.recipe.source import Source, dotted
from workbench.recipe.sweep_axes import TABLE, Axis, is_whole, wrong
from workbench.support.errors import UserError
from workbench.support.nearest import nearest
from workbench.support.toml_text import KeyPath


@dataclass(frozen=True, slots=True)
class Prune:
    """Successive halving (Jamieson and Talwalkar 2016): train all a little, go on with the best."""

    epochs: int
    """Epochs before the first look."""
    keep: float
    """Share of the points that goes on after each look; the next one comes 1/keep times as late."""

    def looks(self, epochs: int) -> tuple[int, ...]:
        """After which epochs of a run of `epochs` to look.

        >>> Prune(epochs=2, keep=0.5).looks(20)
        (2, 4, 8, 16)
        """
        found, at = [], float(self.epochs)
        while round(at) < epochs:
            found.append(round(at))
            at /= self.keep
        return tuple(found)

    def survivors(self, points: int) -> int:
        """How many of `points` go on: at least one."""
        return max(1, math.ceil(points * self.keep - 1e-9))


@dataclass(frozen=True, slots=True)
class Refine:
    """Search again, finer, around the best value of a knob: the coarse-then-fine search of the paper."""

    path: KeyPath
    steps: int
    """New values on either side of the best one, evenly in the logarithm up to its neighbours."""


def finer_values(values: Sequence[float], best: float, steps: int) -> list[float]:
    """`steps` values on either side of `best`, evenly in the logarithm, up to its neighbours among `values`.

    At the end of the grid the search goes past it by as much as the grid's last stride. Rounded to two
    digits.

    >>> finer_values([1e-5, 1e-4, 1e-3], 1e-4, 1)
    [3.2e-05, 0.00032]
    """
    ordered = sorted(values)
    place = ordered.index(best)
    below = ordered[place - 1] if place else best * best / ordered[1]
    above = ordered[place + 1] if place + 1 < len(ordered) else best * best / ordered[-2]
    found = []
    for other in (below, above):
        strides = [step / (steps + 1) for step in range(1, steps + 1)]
        found += [float(f"{best * (other / best) ** stride:.2g}") for stride in strides]
    return sorted(set(found) - set(values))


def prune_of(written: Mapping[str, Any], source: Source) -> Prune | None:
    """The pruning that a [sweep] writes. Raises: UserError."""
    where = (TABLE, "prune")
    values = _table(written, "prune", ("epochs", "keep"), source)
    if values is None:
        return None
    epochs, keep = values.get("epochs", 2), values.get("keep", 0.5)
    if not is_whole(epochs) or epochs < 1:
        raise wrong(source, (*where, "epochs"), epochs, "a whole number, 1 or more (epochs)")
    if not isinstance(keep, float) or not 0 < keep < 1:
        raise wrong(source, (*where, "keep"), keep, "a number above 0 and below 1")
    return Prune(epochs, keep)


def check_prune(prune: Prune, shortest: int, points: int, source: Source) -> None:
    """Raises: UserError, for pruning that would never prune; `shortest`: epochs of the shortest run."""
    if not prune.looks(shortest):
        raise UserError(
            f"sweep.prune has no effect: the first look comes after epoch {prune.epochs}, "
            f"and a run has {shortest}",
            where=source.place((TABLE, "prune")),
            allowed=f"sweep.prune.epochs from 1 to {shortest - 1}" if shortest > 1 else "longer runs",
        )
    if points < 2:
        raise UserError("sweep.prune has no effect: there is one point", where=source.place((TABLE, "prune")))


def refine_of(written: Mapping[str, Any], source: Source, axes: Sequence[Axis]) -> Refine | None:
    """The finer search that a [sweep] writes. Raises: UserError."""
    where = (TABLE, "refine")
    values = _table(written, "refine", ("key", "steps"), source)
    if values is None:
        return None
    steps = values.get("steps", 2)
    if not is_whole(steps) or not 1 <= steps <= 20:
        raise wrong(source, (*where, "steps"), steps, "a whole number from 1 to 20")
    able = [axis.key for axis in axes if _is_scale(axis)]
    key = values.get("key")
    if key not in able:
        allowed = " or ".join(toml_literal(one) for one in able)
        raise wrong(source, (*where, "key"), key, allowed or "a key of [sweep] with two or more numbers")
    return Refine(tuple(key.split(".")), steps)


def _is_scale(axis: Axis) -> bool:
    values = [choice.settings[0][1] for choice in axis.choices]
    return (
        axis.key != "cases"
        and not axis.repeats
        and len(values) > 1
        and all(type(value) is float and value > 0 for value in values)
    )


def _table(
    written: Mapping[str, Any], name: str, keys: Sequence[str], source: Source
) -> Mapping[str, Any] | None:
    values = written.get(name)
    if values is None:
        return None
    if not isinstance(values, dict):
        raise wrong(source, (TABLE, name), values, f"a table with {' and '.join(keys)}")
    for key in values:
        if key not in keys:
            near = nearest(key, keys)
            raise UserError(
                f"no such key: {dotted((TABLE, name, key))}",
                where=source.place((TABLE, name, key)),
                allowed=", ".join(keys),
                hint=f"did you mean {near}?" if near else "",
            )
    return values
