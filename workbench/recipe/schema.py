"""The whole recipe: its tables, and what must hold between them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from workbench.recipe.agreement import disagreements
from workbench.recipe.data import Data
from workbench.recipe.fields import Table, Tags, knob
from workbench.recipe.model import Finetune, Model, Optimizer
from workbench.recipe.offline import Offline
from workbench.recipe.online import Online
from workbench.recipe.pseudo_label import AnyPseudoLabel
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
        for problem in disagreements(self):
            raise problem
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
