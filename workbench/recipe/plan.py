"""The plan of a run: its stages in order, the knobs each trains with, and what an epoch of it goes through.

Told here for all: the trainer goes through it, the estimate and the time left count with it, the schema's
checks ask it what a knob can change.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from workbench.recipe.model import Finetune, Optimizer
from workbench.recipe.offline import Offline
from workbench.recipe.online import Online
from workbench.recipe.training import Augmentation, batches_of
from workbench.support.stages import StageName, stage_words

if TYPE_CHECKING:
    from workbench.recipe.schema import Recipe

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
    head_crops: Literal["off", "add", "only"]
    batch_size: int
    dropout: float
    stochastic_depth: float
    ema: float | None
    """None: it follows from the stage's length (`at_pace`)."""
    falls_back: bool
    """Its starting weights compete on validation: a fine-tune must beat the probe it began from."""
    saliency_weight: float
    """What gradients beside the head of a labelled image cost; above 0 the stage must see images."""
    first_epoch: int = 0
    """Epochs of all stages before it: order and augmentation are functions of the epoch within the run."""
    online: Online | None = None
    """The knobs of an objective that labels the pool as it trains."""
    pool_share: float = 0.0
    """Share of the pool that trains beside the labelled images, pseudo-labelled before the stage began."""
    share_is_known: bool = True
    """Whether the recipe decides the share, not the teacher's confidence."""

    @property
    def label(self) -> str:
        """Such as `teacher` or `student r2`, for people."""
        return stage_words(self.name, self.round)

    @property
    def has_fixed_views(self) -> bool:
        """Whether a step needs no more of an image than one view, which is the same in every epoch."""
        asks_nothing_more = self.online is None and not self.saliency_weight
        return self.augmentation.is_drawn_once(self.augmented_copies) and asks_nothing_more

    def is_on_features(self, *, trunk_fixed: bool | None = None) -> bool:
        """Whether the head trains alone, on features that are computed once.

        Args:
            trunk_fixed: whether nothing in the trunk changes or adds noise, by a look at the network; None:
                as far as the recipe tells of any network, which may lack norms of a kind.
        """
        if trunk_fixed is None:
            trunk_fixed = self.finetune.is_head_alone and not self.stochastic_depth
        return trunk_fixed and self.has_fixed_views

    @property
    def takes_pool(self) -> bool:
        """Whether images of the pool train, labelled before or on the way."""
        return self.online is not None or self.pool_share > 0

    @property
    def pool_views(self) -> tuple[Augmentation, Augmentation]:
        """How the two views of an unlabelled image are drawn, the weak one first; of an online student."""
        weak = self.augmentation.model_copy(update={"mixing": "none"})
        return weak, weak if self.online is None else self.online.second_view(weak)

    def labelled_samples(self, images: int, with_head: int | None = None) -> int:
        """What so many labelled images come to, with their head crops and fixed copies.

        Args:
            with_head: how many of them have a head box; None: all.
        """
        heads = images if with_head is None else with_head
        views = {"off": images, "add": images + heads, "only": heads}[self.head_crops]
        return views * (1 + self.augmented_copies)

    def steps_an_epoch(self, samples: int, pool: int) -> int:
        """Optimiser steps: through the samples, or of an online student through the pool.

        Args:
            samples: labelled and pseudo-labelled, 1 or more.
            pool: unlabelled images.
        """
        batch = min(self.batch_size, samples)
        return batches_of(samples, batch) if self.online is None else self.online.steps_an_epoch(pool, batch)

    def images_an_epoch(self, labelled: float, pool: float) -> float:
        """Images that an epoch takes steps on, as far as that is known before.

        Args:
            labelled: samples, copies and crops among them.
            pool: unlabelled images.
        """
        if self.online is None:
            return labelled + self.pool_share * pool
        samples = max(1, int(labelled))
        return self.steps_an_epoch(samples, int(pool)) * min(self.batch_size, samples) + pool

    def at_pace(self, pace: Mapping[str, float]) -> Stage:
        """The stage with the knobs that follow from its length, as `Online.pace` has them."""
        if self.online is None:
            return self
        return replace(self, online=self.online.model_copy(update=pace), ema=pace.get("ema", self.ema))


@dataclass(frozen=True, slots=True)
class Passes:
    """Images that training takes steps on, in all epochs of all stages."""

    on_features: float
    """Of which features are there: next to nothing beside the others."""
    on_images: float

    @property
    def counting(self) -> float:
        """Those that the time goes by."""
        return self.on_images or self.on_features


def passes(stages: Iterable[Stage], labelled: int, pool: int) -> Passes:
    """What a run with so many labelled and unlabelled images goes through, if no stage ends early."""
    sums = {True: 0.0, False: 0.0}
    for stage in stages:
        each = stage.images_an_epoch(stage.labelled_samples(labelled), pool)
        sums[stage.is_on_features()] += stage.epochs * each
    return Passes(on_features=sums[True], on_images=sums[False])


def plan(recipe: Recipe) -> tuple[Stage, ...]:
    """The stages of a run in order: [probe] fit, or [probe] teacher and each round's [probe] student.

    Where finished runs teach there is no teacher to train.
    """
    placed, epochs = [], 0
    for stage in _stages(recipe):
        placed.append(replace(stage, first_epoch=epochs))
        epochs += stage.epochs
    return tuple(placed)


def epochs_words(stages: Iterable[Stage]) -> str:
    """The epochs of a plan in a line: `3+20 ep + 3×20`, a probe, a teacher, three rounds."""
    rounds = itertools.groupby(stages, key=lambda stage: stage.round)
    each = [(number > 0, "+".join(str(stage.epochs) for stage in alike)) for number, alike in rounds]
    parts = []
    for (is_round, epochs), alike in itertools.groupby(each):
        inner = f"({epochs})" if "+" in epochs else epochs
        parts.append(f"{len(list(alike))}×{inner}" if is_round else f"{epochs} ep")
    return " + ".join(parts)


def _stages(recipe: Recipe) -> tuple[Stage, ...]:
    knobs = recipe.pseudo_label
    if knobs is None:
        return _with_probe(recipe, _stage(recipe, "fit", 0, recipe.training.epochs, fresh=True))
    by_runs = knobs.is_taught_by_runs
    stages: tuple[Stage, ...] = ()
    if not by_runs:
        stages = _with_probe(recipe, _stage(recipe, "teacher", 0, recipe.training.epochs, fresh=True))
    if isinstance(knobs, Online):
        return stages + _online(recipe, knobs)
    assert isinstance(knobs, Offline)  # the one other kind
    for number in range(1, knobs.labellings + 1):
        student = _student(recipe, knobs, number)
        if by_runs and number == 1:  # there is nothing yet to continue from
            student = replace(student, fresh=True)
        stages += _with_probe(recipe, student) if student.fresh else (student,)
    return stages


def _online(recipe: Recipe, knobs: Online) -> tuple[Stage, ...]:
    """The one student of an online strategy, and what follows it."""
    fresh = knobs.student == "fresh"
    stage = _stage(recipe, "student", 1, knobs.epochs_per_round, fresh=fresh)
    # Its loss is its own.
    student = replace(stage, online=knobs, ema=knobs.student_ema(recipe.training.ema), saliency_weight=0.0)
    stages = _with_probe(recipe, student) if fresh else (student,)
    if not knobs.last_epochs:
        return stages
    last = _stage(recipe, "fit", 1, knobs.last_epochs, fresh=False)
    return *stages, replace(last, falls_back=True)


def _with_probe(recipe: Recipe, stage: Stage) -> tuple[Stage, ...]:
    if not recipe.finetune.probe_epochs:
        return (stage,)
    probe = replace(
        stage,
        name="probe",
        epochs=recipe.finetune.probe_epochs,
        fresh=True,
        finetune=Finetune(layers=("head",), batch_norm="frozen"),
        optimizer=Optimizer(
            name="adamw",
            learning_rate=recipe.finetune.probe_learning_rate,
            weight_decay=recipe.optimizer.weight_decay,
            schedule="cosine",
        ),
        # It looks at whole, plain images only.
        augmentation=PLAIN_VIEWS,
        augmented_copies=0,
        head_crops="off",
        dropout=0.0,
        stochastic_depth=0.0,
        ema=recipe.training.ema,
        falls_back=False,
        saliency_weight=0.0,
        online=None,
    )
    return probe, replace(stage, fresh=False, falls_back=True)


def _student(recipe: Recipe, knobs: Offline, number: int) -> Stage:
    noise = knobs.noise
    augmentation = recipe.augmentation
    if noise.policy is not None:
        augmentation = augmentation.model_copy(update={"policy": noise.policy})
    stage = _stage(recipe, "student", number, knobs.epochs_per_round, fresh=knobs.starts_fresh)
    share = knobs.pool_share(number)
    return replace(
        stage,
        augmentation=augmentation,
        dropout=stage.dropout if noise.dropout is None else noise.dropout,
        stochastic_depth=stage.stochastic_depth if noise.stochastic_depth is None else noise.stochastic_depth,
        # Of a share that nobody knows the guess is that it grows evenly to the whole pool.
        pool_share=number / knobs.labellings if share is None else share,
        share_is_known=share is not None,
    )


def _stage(recipe: Recipe, name: StageName, number: int, epochs: int, *, fresh: bool) -> Stage:
    return Stage(
        name=name,
        round=number,
        epochs=epochs,
        fresh=fresh,
        finetune=recipe.finetune,
        optimizer=recipe.optimizer,
        augmentation=recipe.augmentation,
        augmented_copies=recipe.data.augmented_copies,
        head_crops=recipe.data.head_crops,
        batch_size=recipe.training.batch_size,
        dropout=recipe.model.dropout,
        stochastic_depth=recipe.model.stochastic_depth,
        ema=recipe.training.ema,
        falls_back=False,
        saliency_weight=recipe.training.saliency_weight,
    )
