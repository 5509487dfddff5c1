"""`ensemble.toml`: the runs whose word an ensemble averages, and what validation said of the choice.

An ensemble is a run directory like any other, which trained nothing: its results and predictions are those
of the mean of its members' log-probabilities. It keeps a run directory of each member, weights and all, so
that it outlives the runs that it was made of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import tomli_w

from workbench.runs.layout import RunDirectory
from workbench.support.clean import clean
from workbench.support.digests import require_sum, summed_write
from workbench.support.errors import UserError
from workbench.support.records import plain, validated
from workbench.support.regular_file import UnreadableFile
from workbench.support.toml_text import read_toml

MEMBERS_KEY = "ensemble.members"
"""Beside the recipe of an ensemble's summary: the names of its runs."""
DIFFERS_KEY = "ensemble.differs"
"""Likewise: the recipe keys that they differ in."""
_STRATEGY = "pseudo_label.strategy"
_LIMIT_BYTES = 2**22


@dataclass(frozen=True, slots=True)
class Member:
    """A run of an ensemble."""

    id: str
    """Its directory's name when the ensemble was made."""
    name: str
    folder: str
    """What the ensemble keeps of it, below its own directory: a run directory, too."""
    weights_sha256: str
    temperature: float
    """What its logits are divided by; 1: as they are."""
    val_accuracy: float
    val_loss: float


@dataclass(frozen=True, slots=True)
class Tried:
    """A combination that was looked at, and what it comes to on the validation images."""

    members: tuple[str, ...]
    """Ids of runs."""
    calibrated: bool
    """Whether each run's logits were divided by the temperature that fits validation best."""
    val_accuracy: float
    val_loss: float


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Whose word is averaged, and how that was decided."""

    members: tuple[Member, ...]
    calibrated: bool
    by: Literal["all", "val"]
    """Every run that was named, or those that validation chose of them."""
    tried: tuple[Tried, ...]
    differs: Mapping[str, tuple[Any, ...]]
    """Dotted recipe keys that the members differ in -> their values, each once."""


def write_ensemble(run: RunDirectory, ensemble: Ensemble) -> None:
    """Write it as TOML. Raises: OSError."""
    summed_write(run.ensemble, run.path, tomli_w.dumps(plain(ensemble)).encode())


def read_ensemble(run: RunDirectory) -> Ensemble:
    """What was written.

    Raises:
        FileNotFoundError: the run is no ensemble.
        UserError: the file is damaged.
    """
    try:
        values = read_toml(run.ensemble, max_bytes=_LIMIT_BYTES)
        require_sum(run.ensemble)
        return validated(Ensemble, values)
    except (UnreadableFile, ValueError) as error:
        raise UserError(f"damaged: {clean(error)}", where=clean(run.ensemble)) from error


def is_ensemble(run: RunDirectory) -> bool:
    """Whether it is the mean of several runs, and has no one network."""
    return run.ensemble.exists()


def recipe_of_members(run: RunDirectory) -> dict[str, Any]:
    """What an ensemble's own recipe, that of its best member, does not tell: dotted keys to values.

    A word that members have each their own of, such as the backbone's name, is all of their words; of numbers
    and lists that of the best member stands, since whoever reads them counts on one.

    Raises:
        FileNotFoundError: the run is no ensemble.
        UserError: its file is damaged.
    """
    ensemble = read_ensemble(run)
    told: dict[str, Any] = {}
    for key, values in ensemble.differs.items():
        if key == "model.backbone":  # several side by side are a list
            values = tuple("+".join(value) if isinstance(value, list) else value for value in values)
        if all(isinstance(value, str) and value for value in values):
            told[key] = " + ".join(values)
    told[MEMBERS_KEY] = [member.name for member in ensemble.members]
    if ensemble.differs:
        told[DIFFERS_KEY] = list(ensemble.differs)
    return told


def differing_keys(recipes: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Any, ...]]:
    """Dotted key -> the values that recipes have for it, each once and in order, where there are several.

    Of runs by several strategies the strategy is told, not each knob that only some of the strategies have.
    """
    found: dict[str, tuple[Any, ...]] = {}
    for key in dict.fromkeys(key for recipe in recipes for key in recipe):
        values: list[Any] = []
        for recipe in recipes:
            value = recipe.get(key, "")  # TOML has no null
            if value not in values:
                values.append(value)
        if len(values) > 1:
            found[key] = tuple(values)
    if _STRATEGY in found:
        table = _STRATEGY.rpartition(".")[0]
        found = {
            key: values
            for key, values in found.items()
            if key == _STRATEGY or not key.startswith(f"{table}.") or all(key in recipe for recipe in recipes)
        }
    return found


def members_words(recipe: Mapping[str, Any]) -> str:
    """`the mean of 3 runs`, of an ensemble by `recipe_of_members`; empty of a run that trained."""
    members = recipe.get(MEMBERS_KEY)
    return f"the mean of {len(members)} runs" if isinstance(members, list) else ""


def refuse_ensemble(run: RunDirectory, what: str) -> None:
    """Raises: UserError, for an ensemble: it has no one network for `what`."""
    if is_ensemble(run):
        first = run.path / read_ensemble(run).members[0].folder
        raise UserError(
            f"an ensemble of runs has no one network for {what}",
            where=clean(run.id),
            hint=f"name one of its members by its path, such as {clean(first)}",
        )
