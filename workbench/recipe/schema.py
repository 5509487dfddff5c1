"""The whole recipe: its tables, and what must hold between them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from workbench.recipe.data import Data
from workbench.recipe.fields import Table, Tags, disagreement, knob
from workbench.recipe.model import Finetune, Model, Optimizer
from workbench.recipe.online import Online
from workbench.recipe.pseudo_label import AnyPseudoLabel, Offline, Ups
from workbench.recipe.training import Augmentation, Training

SCHEMA_VERSION = 1


def _whole_number(value: object) -> object:
    if type(value) is not int:
        raise ValueError("not a whole number")
    return value


class Recipe(Table):
    """Everything that decides a run's outcome. Two equal recipes on equal data give equal runs."""

    schema_version: Annotated[Literal[1], BeforeValidator(_whole_number)] = knob(
        1, alias="schema", help="version of this format"
    )
    name: str = knob(help="short name of the run", min_length=1, max_length=80)
    description: str = knob("", help="what the run is for", max_length=2000)
    tags: Tags = knob((), help="words to find the run by")
    seed: int = knob(0, help="seed of weights, order, augmentation and dropout", ge=0, lt=2**63)
    data: Data = Field(default_factory=Data)
    model: Model = Field(default_factory=Model)
    finetune: Finetune = Field(default_factory=Finetune)
    optimizer: Optimizer = Field(default_factory=Optimizer)
    augmentation: Augmentation = Field(default_factory=Augmentation)
    training: Training = Field(default_factory=Training)
    pseudo_label: AnyPseudoLabel | None = Field(
        None, description="leave the table out for supervised training"
    )

    @model_validator(mode="after")
    def _tables_agree(self) -> Recipe:
        if self.data.augmented_copies and not self.augmentation.changes_images:
            raise disagreement(
                "data.augmented_copies needs some augmentation: every copy would be the same image",
                "data.augmented_copies",
            )
        if self.data.extra_unlabelled and self.pseudo_label is None:
            raise disagreement(
                "data.extra_unlabelled has no effect without [pseudo_label]: no pool would hold its images",
                "data.extra_unlabelled",
            )
        if self.finetune.gradual_unfreeze and self.finetune.layers in ("head", ("head",)):
            raise disagreement(
                "finetune.gradual_unfreeze has no effect while finetune.layers is the head alone",
                "finetune.gradual_unfreeze",
            )
        if self.finetune.probe_epochs and self.finetune.layers in ("head", ("head",)):
            raise disagreement(
                "finetune.probe_epochs has no effect while finetune.layers is the head alone",
                "finetune.probe_epochs",
            )
        if isinstance(self.pseudo_label, Ups) and self.augmentation.mixing != "none":
            raise disagreement(
                "augmentation.mixing does not go with ups: what an image is not cannot be blended",
                "augmentation.mixing",
                "pseudo_label.strategy",
            )
        if self.training.saliency_weight and self.augmentation.mixing != "none":
            raise disagreement(
                "training.saliency_weight does not go with augmentation.mixing: a blend has no one head box",
                "training.saliency_weight",
                "augmentation.mixing",
            )
        if self.training.saliency_weight and self.data.dataset == "folder":
            raise disagreement(
                "training.saliency_weight needs head boxes, which a folder of images does not have",
                "training.saliency_weight",
                "data.dataset",
            )
        if self.optimizer.schedule == "one_cycle" and self.optimizer.warmup_epochs:
            raise disagreement(
                "optimizer.warmup_epochs has no effect with one_cycle, which warms up by itself",
                "optimizer.warmup_epochs",
            )
        if self.training.compile != "off" and self.training.saliency_weight:
            raise disagreement(
                "saliency_weight differentiates twice, which compiled steps cannot",
                "training.compile",
                "training.saliency_weight",
            )
        if self.training.compile == "on" and self.sees_fixed_features:
            raise disagreement(
                "training.compile has no effect: all training runs on a frozen trunk's features, which are "
                "computed once",
                "training.compile",
                "finetune.layers",
            )
        if self.training.progressive and self.sees_fixed_features:
            raise disagreement(
                "training.progressive has no effect: the trunk is frozen and sees an image the same way in "
                "every epoch, so that training runs on its features",
                "training.progressive",
                "finetune.layers",
            )
        if self.training.progressive and self.view_sides == {self.data.image_size}:
            raise disagreement(
                "training.progressive has no effect: in so few epochs, or with so small images, all views "
                "have full size",
                "training.progressive",
                "training.progressive_share",
            )
        return self

    @property
    def sees_fixed_features(self) -> bool:
        """Whether every stage trains on features computed once: a fixed trunk on views that stay the same."""
        knobs, tune = self.pseudo_label, self.finetune
        if self.training.saliency_weight:
            return False  # gradients are asked of images
        is_fixed = (
            tune.layers in ("head", ("head",))
            and tune.batch_norm in ("tuned", "frozen")
            and tune.batch_norm_statistics in ("same", "tuned", "frozen")
            and not self.model.stochastic_depth
        )
        is_plain = self.data.augmented_copies > 0 or not self.augmentation.changes_images
        if not is_fixed or not is_plain or self.augmentation.mixing != "none" or isinstance(knobs, Online):
            return False
        if not isinstance(knobs, Offline):
            return True
        noise = knobs.noise
        has_policy = noise.policy not in (None, "none") and not self.data.augmented_copies
        return not noise.stochastic_depth and not has_policy

    @property
    def view_sides(self) -> frozenset[int]:
        """Pixels a side of all views that training will show, whichever stage."""
        rounds = getattr(self.pseudo_label, "epochs_per_round", 0)
        last = getattr(self.pseudo_label, "finetune_epochs", 0)
        return frozenset(
            side
            for epochs in (self.training.epochs, rounds, last)
            if epochs
            for side in self.training.view_sides(self.data.image_size, epochs).values()
        )
