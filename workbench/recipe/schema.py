"""The whole recipe: its tables, and what must hold between them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from workbench.recipe.data import Data
from workbench.recipe.fields import Table, Tags, disagreement, knob
from workbench.recipe.model import Finetune, Model, Optimizer
from workbench.recipe.pseudo_label import AnyPseudoLabel, Ups
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
        return self
