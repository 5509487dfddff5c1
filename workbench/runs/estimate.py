"""How long a recipe will take and how much memory: told from past runs that were alike, else not at all."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.recipe.dump import flat
from workbench.recipe.schema import Recipe
from workbench.runs.provenance import read_provenance
from workbench.runs.summary import RunSummary
from workbench.support.errors import UserError

# Each decides by itself how much one image costs, so a past run that differs in one tells nothing.
_MUST_AGREE = (
    "model.backbone",
    "data.image_size",
    "finetune.layers",
    "finetune.batch_norm",
    "finetune.batch_norm_statistics",
    "finetune.gradual_unfreeze",
    "finetune.probe_epochs",
    "training.precision",
)
# Knobs that older runs do not know, and what those did.
_SINCE = {"training.progressive": 0.0, "training.compile": "off", "finetune.layer_norm": "tuned"}
# Each shifts the cost a little; told in words where it differs.
_BETTER_AGREE = (
    ("training.batch_size", "batch size"),
    ("pseudo_label.strategy", "strategy"),
    ("data.dataset", "data set"),
    ("optimizer.name", "optimiser"),
    ("augmentation", "augmentation"),
)
# Together these decide how many images are labelled, whichever they are.
_DECIDE_LABELS = (
    "data.dataset",
    "data.root",
    "data.validation",
    "data.validation_fraction",
    "data.folds",
    "data.test_fraction",
    "pseudo_label.labelled_fraction",
    "pseudo_label.labels_per_class",
)


@dataclass(frozen=True, slots=True)
class Machine:
    """What a run's provenance says of where it ran."""

    host: str
    device: str
    """A GPU's name, or "cpu"."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a past run suggests."""

    step_seconds: float
    """An optimiser step, the waits around it included."""
    total_seconds: float | None
    """The whole training; None where the number of labelled images is not known."""
    memory_bytes: int | None
    """Highest of the process or the GPU; None where the batch size differs."""
    run_id: str
    run_name: str
    differences: tuple[str, ...]
    """In words, what of the past run was not the same; empty for its twin."""


def estimate(
    recipe: Recipe,
    past: Iterable[RunSummary],
    machines: Sequence[Machine],
    *,
    labels: tuple[int, int] | None = None,
) -> Estimate | None:
    """The most alike of the finished runs, scaled to this recipe; None where no past run tells.

    A run is alike when backbone, image size, layers, batch norm and precision agree, both or neither train on
    fixed views (whose features are computed once), and it ran on one of `machines`. Of several the one with
    fewest further differences tells, then the newest. Time scales with the images trained on: labelled ones
    an epoch, and in each round of pseudo-labels those and the selected.

    Args:
        past: summaries, newest first.
        machines: where the recipe may run.
        labels: (labelled, unlabelled) images of the recipe's split; None: as in the past run, if that had the
            same data and share of labels.
    """
    wanted = flat(recipe)
    found = [(_differences(wanted, run.recipe), run) for run in past if _is_alike(wanted, run)]
    for differences, run in sorted(found, key=lambda pair: len(pair[0])):
        if _ran_on(run, machines):
            return _scaled(recipe, run, differences, labels)
    return None


def images_trained(recipe: Mapping[str, Any], labelled: int, unlabelled: int) -> float:
    """Images that training goes through in all epochs of all stages, for a recipe under dotted keys."""
    copies = 1 + int(recipe.get("data.augmented_copies", 0)) + (recipe.get("data.head_crops") == "add")
    epochs = int(recipe["training.epochs"]) + int(recipe.get("finetune.probe_epochs", 0))
    total = float(labelled * copies * epochs)
    if recipe.get("pseudo_label.strategy") is None:
        return total
    rounds = int(recipe.get("pseudo_label.rounds", 1))
    share = recipe.get("pseudo_label.fraction")
    each = int(recipe["pseudo_label.epochs_per_round"])
    for round_ in range(1, rounds + 1):
        # A threshold selects nobody knows how many: taken as a share that grows evenly to the whole pool.
        part = round_ / rounds if share is None else min(1.0, round_ * share)
        total += each * (labelled * copies + part * unlabelled)
    return total


def _is_alike(wanted: Mapping[str, Any], run: RunSummary) -> bool:
    there = run.recipe
    return (
        _number(run, "training_seconds") > 0
        and _number(run, "images_per_second") > 0
        and all(wanted.get(key) == there.get(key) for key in _MUST_AGREE)
        and all(wanted.get(key, old) == there.get(key, old) for key, old in _SINCE.items())
        and _fixed_views(wanted) == _fixed_views(there)
        and _is_guided(wanted) == _is_guided(there)
    )


def _is_guided(recipe: Mapping[str, Any]) -> bool:
    """Whether every step differentiates twice, whatever that weighs."""
    return bool(recipe.get("training.saliency_weight"))


def _fixed_views(recipe: Mapping[str, Any]) -> bool:
    """Whether images are seen the same way in every epoch."""
    if recipe.get("data.augmented_copies"):
        return True
    changes = ("random_crop", "flip", "rotation", "brightness", "colour", "erasing")
    return (
        not any(recipe.get(f"augmentation.{key}") for key in changes)
        and recipe.get("augmentation.policy", "none") == "none"
        and recipe.get("augmentation.mixing", "none") == "none"
    )


def _differences(wanted: Mapping[str, Any], there: Mapping[str, Any]) -> tuple[str, ...]:
    found = []
    for key, words in _BETTER_AGREE:
        mine, theirs = _part(wanted, key), _part(there, key)
        if mine != theirs:
            found.append(f"{words} {_said(theirs)}" if len(theirs) == 1 else f"other {words}")
    return tuple(found)


def _part(recipe: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The knob, or all knobs of the table, at a dotted key."""
    return {name: value for name, value in recipe.items() if name == key or name.startswith(f"{key}.")}


def _said(knob: Mapping[str, Any]) -> str:
    (value,) = knob.values()
    return str(value)


def _ran_on(run: RunSummary, machines: Sequence[Machine]) -> bool:
    try:
        facts = read_provenance(run.run)
    except (OSError, UserError):
        return False
    host, device = facts.get("host"), facts.get("device")
    # A GPU of one kind is as fast in any host; a CPU says nothing but "cpu".
    return any(device == m.device and (device != "cpu" or host == m.host) for m in machines)


def _scaled(
    recipe: Recipe,
    run: RunSummary,
    differences: tuple[str, ...],
    labels: tuple[int, int] | None,
) -> Estimate:
    wanted, there = flat(recipe), run.recipe
    past_labels = int(_number(run, "labelled")), int(_number(run, "unlabelled"))
    if labels is None and _same_labels(wanted, there):
        labels = past_labels
    total = None
    if labels is not None:
        before = _or_nan(lambda: images_trained(there, *past_labels))
        ratio = images_trained(wanted, *labels) / before if before else math.nan
        total = _number(run, "training_seconds") * ratio if math.isfinite(ratio) else None
    batch = recipe.training.batch_size if labels is None else recipe.training.batch_of(labels[0])
    same_batch = wanted["training.batch_size"] == there.get("training.batch_size")
    memory = int(_number(run, "peak_memory_bytes"))
    return Estimate(
        step_seconds=batch / _number(run, "images_per_second"),
        total_seconds=total,
        memory_bytes=memory if same_batch and memory else None,
        run_id=run.id,
        run_name=run.name,
        differences=differences,
    )


def _same_labels(wanted: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
    return all(wanted.get(key) == there.get(key) for key in _DECIDE_LABELS)


def _number(run: RunSummary, key: str) -> float:
    return float(run.metrics.get(key, 0.0))


def _or_nan(compute: Callable[[], float]) -> float:
    """A past run's recipe may be of an older schema, with keys missing or of other types."""
    try:
        return compute()
    except (KeyError, TypeError, ValueError):
        return math.nan
