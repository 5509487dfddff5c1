"""[sweep] as the schema has it: what it varies, and how its search is cut short and made finer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from workbench.recipe.fields import Described, Table, disagreement, knob, tuple_from_list
from workbench.support.toml_text import KeyPath

SWEEP = "sweep"
"""The table's key."""
LISTS = 'a list of values, such as "optimizer.learning_rate" = [1e-5, 1e-4]'
"""What a key of the recipe's own may be in this table."""
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Seeds = Annotated[
    tuple[Seed, ...],
    BeforeValidator(tuple_from_list),
    Field(min_length=1, max_length=500),
    Described("a list of seeds"),
]
Case = Annotated[dict[str, Any], Described("a table of settings")]
Cases = Annotated[
    dict[str, Case], Field(min_length=1), Described("tables of settings, such as [sweep.cases.plain]")
]


class Prune(Table):
    """Successive halving (Jamieson and Talwalkar 2016): train all a little, go on with the best."""

    epochs: int = knob(
        2,
        help="train every point so long before the first look; the next one comes 1/keep times as late",
        unit="epochs",
        ge=1,
    )
    keep: float = knob(
        0.5, help="share of the points that goes on after a look; the others are parked", gt=0, lt=1
    )

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


class Refine(Table):
    """Search again, finer, around the best value of a knob: the coarse-then-fine search of the paper."""

    key: str = knob(help='the knob, a key of [sweep] with two or more numbers: "optimizer.learning_rate"')
    steps: int = knob(
        2,
        help="new values on either side of the best one, evenly in the logarithm up to its neighbours",
        ge=1,
        le=20,
    )

    @property
    def path(self) -> KeyPath:
        """The knob's key in parts."""
        return tuple(self.key.split("."))


class SweepTable(Table):
    """Many runs of one recipe: every combination of all that varies. Any key of the recipe may stand here
    with a list of values, as in `"optimizer.learning_rate" = [1e-5, 1e-4]`.
    """

    model_config = ConfigDict(extra="allow")

    seeds: Annotated[int, Field(ge=1, le=100)] | Seeds | None = knob(
        None,
        help="repeat every point with so many seeds from 0, or with these; each is seed and data.split_seed",
        unset="the recipe's own seeds",
    )
    folds: int | None = knob(
        None,
        help="repeat every point on so many folds: data.folds, and each data.fold",
        unset="the recipe's own validation images",
        ge=2,
        le=20,
    )
    cases: Cases = knob({}, help="named sets of keys that belong together; each is a point")
    prune: Prune | None = knob(
        None,
        help="give up the worse points on the way, as in { epochs = 2, keep = 0.5 }",
        unset="every point is trained to its end",
    )
    refine: Refine | None = knob(
        None,
        help='search again around the best point, as in { key = "optimizer.learning_rate", steps = 2 }',
        unset="one search",
    )

    @model_validator(mode="after")
    def _seeds_differ(self) -> SweepTable:
        if isinstance(self.seeds, tuple) and len(set(self.seeds)) < len(self.seeds):
            raise disagreement("seeds names a seed twice", "seeds")
        return self


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
