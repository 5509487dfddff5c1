"""How far a run is and how long it has to go, from its recipe's stages and the time that epochs took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.recipe.online import ONLINE
from workbench.runs.events import RoundLabelled, StageName, StageStarted


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """A stage that the recipe asks for."""

    name: StageName
    round: int
    epochs: int
    images: float
    """Training images an epoch, as far as it can be known before."""
    known: bool
    """Whether `images` is certain."""


@dataclass(frozen=True, slots=True)
class Going:
    """How far a run is."""

    stage: str
    round: int
    rounds: int
    """0 for a supervised run."""
    epoch: int
    """The last epoch that was validated in the stage."""
    epochs: int
    fraction: float
    """Of the work in image passes, in [0, 1]; early stopping may end it before."""
    eta_seconds: float | None
    """None while no epoch has told how long one takes."""
    is_rough: bool
    """Whether how much the coming rounds select is not known yet."""


def planned_stages(
    recipe: Mapping[str, Any], seen: Sequence[StageStarted], rounds: Sequence[RoundLabelled]
) -> list[PlannedStage]:
    """The stages in order; what has begun is known exactly, the rest is told from the recipe.

    Args:
        recipe: dotted keys to values.
        seen: the stages that have begun.
        rounds: what the teachers have labelled so far.
    """
    begun = {(stage.stage, stage.round): stage for stage in seen}
    labelled = float(seen[0].labelled) if seen else 1.0
    pool = float(rounds[-1].pool) if rounds else _pool(recipe, labelled)
    planned = []
    for name, number, epochs in _names(recipe):
        stage = begun.get((name, number))
        if stage is not None:
            certain = max(1.0, stage.labelled + stage.pseudo_labelled)
            planned.append(PlannedStage(name, number, stage.epochs, certain, True))
            continue
        share = _share(recipe, number)
        images = labelled + (
            pool * share if number and name != "fit" and pool is not None and share is not None else 0.0
        )
        known = not number or (pool is not None and share is not None)
        planned.append(PlannedStage(name, number, epochs, max(1.0, images), known))
    return planned


def going(
    planned: Sequence[PlannedStage], stage: StageStarted, epoch: float, epoch_seconds: float | None
) -> Going:
    """Where a run in `stage` is after `epoch` epochs of it (with a fraction) of `epoch_seconds` each."""
    here = next((i for i, p in enumerate(planned) if (p.name, p.round) == (stage.stage, stage.round)), None)
    now = planned[here] if here is not None else None
    images = now.images if now else max(1.0, stage.labelled + stage.pseudo_labelled)
    before = sum(p.epochs * p.images for p in planned[:here]) if here is not None else 0.0
    coming = list(planned[here + 1 :]) if here is not None else []
    done = before + min(epoch, stage.epochs) * images
    left = max(0.0, stage.epochs - epoch) * images + sum(p.epochs * p.images for p in coming)
    total = done + left
    return Going(
        stage=stage.stage,
        round=stage.round,
        rounds=max((p.round for p in planned), default=0),
        epoch=int(epoch),
        epochs=stage.epochs,
        fraction=done / total if total else 0.0,
        eta_seconds=None if epoch_seconds is None else left / images * epoch_seconds,
        is_rough=any(not p.known for p in coming),
    )


def _names(recipe: Mapping[str, Any]) -> list[tuple[StageName, int, int]]:
    """(name, round, epochs) of each stage, as `train.stage.plan` has them."""
    epochs, probe = _whole(recipe, "training.epochs", 0), _whole(recipe, "finetune.probe_epochs", 0)
    first: list[tuple[StageName, int, int]] = [("probe", 0, probe)] if probe else []
    if "pseudo_label.strategy" not in recipe:
        return [*first, ("fit", 0, epochs)]
    names = [*first, ("teacher", 0, epochs)]
    fresh = recipe.get("pseudo_label.student") == "fresh"
    for number in range(1, _whole(recipe, "pseudo_label.rounds", 1) + 1):
        if probe and fresh:
            names.append(("probe", number, probe))
        names.append(("student", number, _whole(recipe, "pseudo_label.epochs_per_round", 0)))
    finetune = _whole(recipe, "pseudo_label.finetune_epochs", 0)
    return [*names, ("fit", 1, finetune)] if finetune else names


def _pool(recipe: Mapping[str, Any], labelled: float) -> float | None:
    fraction = recipe.get("pseudo_label.labelled_fraction")
    if not isinstance(fraction, int | float) or not 0 < fraction <= 1:
        return None
    return labelled * (1 / fraction - 1)


def _share(recipe: Mapping[str, Any], number: int) -> float | None:
    """Share of the pool that a round selects; None where the teacher's confidence decides."""
    match recipe.get("pseudo_label.strategy"):
        case "one_shot":
            return 1.0
        case strategy if strategy in ONLINE:
            return 1.0
        case "class_balanced":
            return number / max(1, _whole(recipe, "pseudo_label.rounds", 1))
        case "iterative" if recipe.get("pseudo_label.select") == "top_fraction":
            fraction = recipe.get("pseudo_label.fraction")
            return min(1.0, number * float(fraction)) if isinstance(fraction, int | float) else None
        case _:
            return None


def _whole(recipe: Mapping[str, Any], key: str, default: int) -> int:
    value = recipe.get(key, default)
    return value if isinstance(value, int) else default
