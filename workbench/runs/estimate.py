"""How long a recipe will take and how much memory: told from past runs that were alike, else not at all."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.recipe.dump import flat
from workbench.recipe.load import load_recipe
from workbench.recipe.plan import Stage, passes, plan
from workbench.recipe.schema import Recipe
from workbench.runs.ensemble import MEMBERS_KEY
from workbench.runs.events import RoundLabelled, StageName, StageStarted
from workbench.runs.layout import RunDirectory
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
_SINCE = {
    "training.progressive": 0.0,
    "training.compile": "off",
    "training.tf32": False,
    "training.deterministic": False,
    "finetune.layer_norm": "tuned",
    "data.evaluation_views": ["centre"],
    "data.store_scale": None,
}
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
    "data.validation_images",
    "data.label_folds",
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

    A run is alike when backbone, image size, layers, batch norm and precision agree, both or neither send
    images through the trunk (a fixed one's features of fixed views are computed once), and it ran on one of
    `machines`. Of several the one with fewest further differences tells, then the newest. Time scales with
    the images that training goes through in all epochs of the plan.

    Args:
        past: summaries, newest first.
        machines: where the recipe may run.
        labels: (labelled, unlabelled) images of the recipe's split; None: as in the past run, if that had the
            same data and share of labels.
    """
    wanted = flat(recipe)
    kind = _kind_of_work(plan(recipe))
    found = [(_differences(wanted, run.recipe), run) for run in past if _may_be_alike(wanted, run)]
    for differences, run in sorted(found, key=lambda pair: len(pair[0])):
        if _ran_on(run, machines):
            then = recipe_of_run(run.run)
            if then is not None and _kind_of_work(plan(then)) == kind:
                return _scaled(recipe, run, then, differences, labels)
    return None


def _may_be_alike(wanted: Mapping[str, Any], run: RunSummary) -> bool:
    """As far as the summary tells."""
    there = run.recipe
    return (
        MEMBERS_KEY not in there  # whose time is that of several runs
        and _number(run, "training_seconds") > 0
        and _number(run, "images_per_second") > 0
        and all(wanted.get(key) == there.get(key) for key in _MUST_AGREE)
        and all(wanted.get(key, old) == there.get(key, old) for key, old in _SINCE.items())
    )


def _kind_of_work(stages: Sequence[Stage]) -> tuple[bool, bool]:
    """(whether any stage sends images through the trunk, whether any differentiates twice)."""
    on_images = any(not stage.is_on_features() for stage in stages)
    return on_images, any(stage.saliency_weight for stage in stages)


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
    then: Recipe,
    differences: tuple[str, ...],
    labels: tuple[int, int] | None,
) -> Estimate:
    wanted, there = flat(recipe), run.recipe
    past_labels = int(_number(run, "labelled")), int(_number(run, "unlabelled"))
    if labels is None and _same_labels(wanted, there):
        labels = past_labels
    total = None
    if labels is not None:
        before = passes(plan(then), *past_labels).counting
        ratio = passes(plan(recipe), *labels).counting / before if before else math.nan
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
    """Whether what comes is not known, such as how much of the pool a round will select."""


def recipe_of_run(run: RunDirectory) -> Recipe | None:
    """What a run trains; None where today's schema cannot read it, such as a strategy that is not here."""
    try:
        return load_recipe(run.recipe)
    except (UserError, OSError):
        return None


def planned_stages(
    recipe: Recipe | None, seen: Sequence[StageStarted], rounds: Sequence[RoundLabelled]
) -> list[PlannedStage]:
    """The stages in order; what has begun is known exactly, the rest is told from the plan.

    Args:
        recipe: None: nothing is known.
        seen: the stages that have begun.
        rounds: what the teachers have labelled so far.
    """
    if recipe is None:
        return []
    begun = {(stage.stage, stage.round): stage for stage in seen}
    stages = plan(recipe)
    found = ((stage, begun.get((stage.name, stage.round))) for stage in stages)
    there = ((stage, event) for stage, event in found if event is not None)
    images = next((event.labelled / max(1, stage.labelled_samples(1)) for stage, event in there), 1.0)
    pool = float(rounds[-1].pool) if rounds else _pool(recipe, images)
    planned = []
    for stage in stages:
        event = begun.get((stage.name, stage.round))
        if event is not None:
            planned.append(_begun(stage, event))
            continue
        each = stage.images_an_epoch(images * stage.labelled_samples(1), pool or 0.0)
        known = stage.share_is_known and (not stage.takes_pool or pool is not None)
        planned.append(PlannedStage(stage.name, stage.round, stage.epochs, max(1.0, each), known))
    return planned


def steps_an_epoch(recipe: Recipe | None, event: StageStarted) -> int:
    """Optimiser steps of a stage that has begun; 0 where the plan does not know it."""
    stages = () if recipe is None else plan(recipe)
    stage = next((s for s in stages if (s.name, s.round) == (event.stage, event.round)), None)
    if stage is None:
        return 0
    samples = event.labelled + (event.pseudo_labelled if stage.online is None else 0)
    return stage.steps_an_epoch(max(1, samples), event.pseudo_labelled)


def _begun(stage: Stage, event: StageStarted) -> PlannedStage:
    labelled, beside = event.labelled, event.pseudo_labelled
    images = labelled + beside if stage.online is None else stage.images_an_epoch(labelled, beside)
    return PlannedStage(event.stage, event.round, event.epochs, max(1.0, images), True)


def _pool(recipe: Recipe, labelled: float) -> float | None:
    """How many images have no label beside so many that have one, where the recipe tells."""
    knobs = recipe.pseudo_label
    share = None if knobs is None else knobs.labelled_fraction
    # With all labels the pool is what the data set has beside them.
    return None if share is None or share == 1 else labelled * (1 / share - 1)


_TIMED_EPOCHS = 5


def epoch_seconds(passed: Iterable[tuple[int, float]]) -> float | None:
    """How long an epoch of a stage takes with its validation: the middle of the last five; None before one.

    Args:
        passed: (epoch, seconds) of the stage's training and of its validations.
    """
    seconds: dict[int, float] = {}
    for epoch, taken in passed:
        seconds[epoch] = seconds.get(epoch, 0.0) + taken
    last = [seconds[epoch] for epoch in sorted(seconds)[-_TIMED_EPOCHS:]]
    return statistics.median(last) if last else None


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
        rounds=max((p.round for p in planned), default=stage.round),
        epoch=int(epoch),
        epochs=stage.epochs,
        fraction=done / total if total else 0.0,
        eta_seconds=None if epoch_seconds is None else left / images * epoch_seconds,
        is_rough=here is None or any(not p.known for p in coming),
    )
