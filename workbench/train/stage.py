"""The plan of a run: its stages in order, and the knobs each one trains with."""

from __future__ import annotations

from dataclasses import dataclass, replace

from workbench.recipe import Augmentation, Finetune, Optimizer, PseudoLabel, Recipe
from workbench.recipe.offline import Offline
from workbench.recipe.online import MeanTeacher, MetaPseudoLabels, Online
from workbench.runs.events import StageName

PLAIN_VIEWS = Augmentation(random_crop=False, flip=False)


@dataclass(frozen=True, slots=True)
class Stage:
    """One stretch of training with fixed images, targets and knobs."""

    name: StageName
    round: int
    """0 before pseudo-labels; a student's rounds count from 1."""
    epochs: int
    fresh: bool
    """Starts from the pretrained weights and the first head, not from where the stage before ended."""
    finetune: Finetune
    optimizer: Optimizer
    augmentation: Augmentation
    augmented_copies: int
    dropout: float
    stochastic_depth: float
    ema: float
    falls_back: bool
    """Its starting weights compete on validation: a fine-tune must beat the probe it began from."""
    saliency_weight: float
    """What gradients beside the head of a labelled image cost; above 0 the stage must see images."""
    first_epoch: int
    """Epochs of all stages before it: order and augmentation are functions of the epoch within the run."""
    online: Online | None = None
    """The knobs of an objective that labels the pool as it trains."""

    @property
    def sees_plain_views(self) -> bool:
        """Whether an image looks the same in every epoch, so that a fixed trunk's features can be kept."""
        drawn_once = not self.augmentation.changes_images or self.augmented_copies > 0
        asks_nothing_more = self.online is None and not self.saliency_weight
        return drawn_once and self.augmentation.mixing == "none" and asks_nothing_more

    @property
    def label(self) -> str:
        """Such as `teacher` or `student r2`, for people."""
        return f"{self.name} r{self.round}" if self.round else self.name


def plan(recipe: Recipe) -> tuple[Stage, ...]:
    """The stages of a run in order: [probe] fit, or [probe] teacher and each round's [probe] student."""
    placed, epochs = [], 0
    for stage in _stages(recipe):
        placed.append(replace(stage, first_epoch=epochs))
        epochs += stage.epochs
    return tuple(placed)


def _stages(recipe: Recipe) -> tuple[Stage, ...]:
    knobs = recipe.pseudo_label
    if knobs is None:
        return _with_probe(recipe, _stage(recipe, "fit", 0, recipe.training.epochs, fresh=True))
    stages = _with_probe(recipe, _stage(recipe, "teacher", 0, recipe.training.epochs, fresh=True))
    if isinstance(knobs, Online):
        return stages + _online(recipe, knobs)
    assert isinstance(knobs, Offline)
    for number in range(1, rounds_of(knobs) + 1):
        student = _student(recipe, knobs, number)
        stages += _with_probe(recipe, student) if student.fresh else (student,)
    return stages


def _online(recipe: Recipe, knobs: Online) -> tuple[Stage, ...]:
    """The one student of an online strategy, and what follows it."""
    fresh = knobs.student == "fresh"
    stage = _stage(recipe, "student", 1, knobs.epochs_per_round, fresh=fresh)
    ema = getattr(knobs, "ema", stage.ema)
    if isinstance(knobs, MeanTeacher):
        ema = 0.0  # its teacher is the average
    student = replace(stage, online=knobs, ema=ema, saliency_weight=0.0)  # its loss is its own
    stages = _with_probe(recipe, student) if fresh else (student,)
    if not isinstance(knobs, MetaPseudoLabels) or not knobs.finetune_epochs:
        return stages
    last = _stage(recipe, "fit", 1, knobs.finetune_epochs, fresh=False)
    return *stages, replace(last, falls_back=True)


def rounds_of(knobs: PseudoLabel) -> int:
    """How often the teacher labels the pool; strategies without the knob do so once."""
    return int(getattr(knobs, "rounds", 1))


def _with_probe(recipe: Recipe, stage: Stage) -> tuple[Stage, ...]:
    if not recipe.finetune.probe_epochs:
        return (stage,)
    probe = Stage(
        name="probe",
        round=stage.round,
        epochs=recipe.finetune.probe_epochs,
        fresh=True,
        finetune=Finetune(layers=("head",), batch_norm="frozen"),
        optimizer=Optimizer(
            name="adamw",
            learning_rate=recipe.finetune.probe_learning_rate,
            weight_decay=recipe.optimizer.weight_decay,
            schedule="cosine",
        ),
        augmentation=PLAIN_VIEWS,
        augmented_copies=0,
        dropout=0.0,
        stochastic_depth=0.0,
        ema=recipe.training.ema,
        falls_back=False,
        saliency_weight=0.0,
        first_epoch=0,
    )
    return probe, replace(stage, fresh=False, falls_back=True)


def _student(recipe: Recipe, knobs: Offline, number: int) -> Stage:
    noise = knobs.noise
    augmentation = recipe.augmentation
    if noise.policy is not None:
        augmentation = augmentation.model_copy(update={"policy": noise.policy})
    return _stage(
        recipe,
        "student",
        number,
        knobs.epochs_per_round,
        fresh=getattr(knobs, "student", "continue") == "fresh",
        augmentation=augmentation,
        dropout=noise.dropout,
        stochastic_depth=noise.stochastic_depth,
    )


def _stage(
    recipe: Recipe,
    name: StageName,
    number: int,
    epochs: int,
    *,
    fresh: bool,
    augmentation: Augmentation | None = None,
    dropout: float | None = None,
    stochastic_depth: float | None = None,
) -> Stage:
    return Stage(
        name=name,
        round=number,
        epochs=epochs,
        fresh=fresh,
        finetune=recipe.finetune,
        optimizer=recipe.optimizer,
        augmentation=recipe.augmentation if augmentation is None else augmentation,
        augmented_copies=recipe.data.augmented_copies,
        dropout=recipe.model.dropout if dropout is None else dropout,
        stochastic_depth=recipe.model.stochastic_depth if stochastic_depth is None else stochastic_depth,
        ema=recipe.training.ema,
        falls_back=False,
        saliency_weight=recipe.training.saliency_weight,
        first_epoch=0,
    )
