"""The whole recipe: its tables, and what must hold between them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from workbench.recipe.data import DATASETS, Data
from workbench.recipe.fields import ALL_VIEWS, EvaluationView, Table, Tags, disagreement, knob
from workbench.recipe.model import Finetune, Model, Optimizer
from workbench.recipe.offline import Offline
from workbench.recipe.plan import plan
from workbench.recipe.pseudo_label import AnyPseudoLabel
from workbench.recipe.sweep_table import SweepTable
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

    @model_validator(mode="after")
    def _views_by_cost(self) -> Recipe:
        """Write down what unset views are, so that a run keeps them whatever the default will be one day."""
        data = self.data.model_copy(update={"evaluation_views": self.evaluation_views})
        self.__dict__["data"] = data  # the recipe is frozen for all but its own making
        return self

    @property
    def evaluation_views(self) -> tuple[EvaluationView, ...]:
        """In which views an image is evaluated; of several the outputs are averaged."""
        return self.data.evaluation_views or self.usual_views

    @property
    def usual_views(self) -> tuple[EvaluationView, ...]:
        """What `data.evaluation_views` is where nobody sets it: four views if their features are kept."""
        data = self.data
        is_kept = self.sees_fixed_features and not data.augmented_copies and data.head_crops == "off"
        return ALL_VIEWS if is_kept else ("centre",)

    @property
    def sees_fixed_features(self) -> bool:
        """Whether every stage trains on features computed once: a fixed trunk on views that stay the same."""
        return all(stage.is_on_features() for stage in plan(self))

    @property
    def view_sides(self) -> frozenset[int]:
        """Pixels a side of all views that training will show, whichever stage."""
        size = self.data.image_size
        on_images = [stage.epochs for stage in plan(self) if not stage.is_on_features()]
        sides = (self.training.view_sides(size, epochs).values() for epochs in on_images)
        return frozenset(side for found in sides for side in found) or frozenset({size})


class RecipeFile(Recipe):
    """What a file may hold: a recipe, and what its runs vary; each run is a `Recipe`. Told, never made."""

    sweep: SweepTable | None = Field(
        None, description="leave the table out for one run; petbench sweep trains them all"
    )


def disagreements(recipe: Recipe) -> Iterator[PydanticCustomError]:
    """All there are; the one to tell of first comes first."""
    yield from _of_data(recipe)
    yield from _of_label_folds(recipe)
    yield from _of_the_head_alone(recipe)
    yield from _of_several_backbones(recipe)
    yield from _of_blends_and_heads(recipe)
    yield from _of_warmup(recipe)
    yield from _of_compiling(recipe)
    yield from _of_progressive(recipe)


def _of_data(recipe: Recipe) -> Iterator[PydanticCustomError]:
    if recipe.data.augmented_copies and not recipe.augmentation.changes_images:
        yield disagreement(
            "data.augmented_copies needs some augmentation: every copy would be the same image",
            "data.augmented_copies",
        )
    if recipe.data.extra_unlabelled and recipe.pseudo_label is None:
        yield disagreement(
            "data.extra_unlabelled has no effect without [pseudo_label]: no pool would hold its images",
            "data.extra_unlabelled",
        )


def _of_label_folds(recipe: Recipe) -> Iterator[PydanticCustomError]:
    if recipe.data.label_folds is None:
        return
    if not recipe.sees_fixed_features:
        yield disagreement(
            "data.label_folds trains everything anew in each fold, which is for a frozen trunk on views that "
            'stay the same: finetune.layers = "head", its norms tuned or frozen, and augmentation off or '
            "data.augmented_copies",
            "data.label_folds",
            "finetune.layers",
        )
    if getattr(recipe.pseudo_label, "calibrate", False):
        yield disagreement(
            "pseudo_label.calibrate needs validation images, and data.label_folds holds none out",
            "pseudo_label.calibrate",
            "data.label_folds",
        )
    if recipe.pseudo_label is not None and recipe.pseudo_label.is_taught_by_runs:
        yield disagreement(
            "pseudo_label.teacher does not go with data.label_folds: those runs learned what would be judged",
            "pseudo_label.teacher",
            "data.label_folds",
        )
    if getattr(recipe.pseudo_label, "prior", None) == "estimated":
        yield disagreement(
            'pseudo_label.prior = "estimated" needs validation images, and data.label_folds holds none out',
            "pseudo_label.prior",
            "data.label_folds",
        )


def _of_the_head_alone(recipe: Recipe) -> Iterator[PydanticCustomError]:
    if not recipe.finetune.names_head_alone:
        return
    for name in ("gradual_unfreeze", "probe_epochs"):
        if getattr(recipe.finetune, name):
            yield disagreement(
                f"finetune.{name} has no effect while finetune.layers is the head alone", f"finetune.{name}"
            )


def _of_several_backbones(recipe: Recipe) -> Iterator[PydanticCustomError]:
    if isinstance(recipe.model.backbone, str):
        return
    stays = "of several backbones, side by side, the head alone learns"
    if not recipe.finetune.names_head_alone:
        yield disagreement(
            f'{stays}: finetune.layers must be "head"; one backbone alone can be fine-tuned',
            "finetune.layers",
            "model.backbone",
        )
    elif not recipe.finetune.is_head_alone:
        allowed = ("same", "tuned", "frozen", ())
        knobs = ("batch_norm", "batch_norm_statistics", "layer_norm")
        knob = next(knob for knob in knobs if getattr(recipe.finetune, knob) not in allowed)
        yield disagreement(
            f'{stays}: finetune.{knob} must be "tuned" or "frozen"', f"finetune.{knob}", "model.backbone"
        )
    if isinstance(recipe.pseudo_label, Offline) and recipe.pseudo_label.noise.stochastic_depth:
        yield disagreement(
            f"{stays}: pseudo_label.noise.stochastic_depth must be 0",
            "pseudo_label.noise.stochastic_depth",
            "model.backbone",
        )


def _of_blends_and_heads(recipe: Recipe) -> Iterator[PydanticCustomError]:
    knobs = recipe.pseudo_label
    negative = isinstance(knobs, Offline) and knobs.gives_negative_labels
    if knobs is not None and negative and recipe.augmentation.mixing != "none":
        yield disagreement(
            f"augmentation.mixing does not go with {knobs.strategy}: what an image is not cannot be blended",
            "augmentation.mixing",
            "pseudo_label.strategy",
        )
    if recipe.training.saliency_weight and recipe.augmentation.mixing != "none":
        yield disagreement(
            "training.saliency_weight does not go with augmentation.mixing: a blend has no one head box",
            "training.saliency_weight",
            "augmentation.mixing",
        )
    if recipe.training.saliency_weight and not DATASETS[recipe.data.dataset].has_heads:
        yield disagreement(
            f"training.saliency_weight needs head boxes, which a {recipe.data.dataset} does not have",
            "training.saliency_weight",
            "data.dataset",
        )


def _of_warmup(recipe: Recipe) -> Iterator[PydanticCustomError]:
    if recipe.optimizer.schedule == "one_cycle" and recipe.optimizer.warmup_epochs:
        yield disagreement(
            "optimizer.warmup_epochs has no effect with one_cycle, which warms up by itself",
            "optimizer.warmup_epochs",
        )


def _of_compiling(recipe: Recipe) -> Iterator[PydanticCustomError]:
    if recipe.training.compile != "off" and recipe.training.saliency_weight:
        yield disagreement(
            "saliency_weight differentiates twice, which compiled steps cannot",
            "training.compile",
            "training.saliency_weight",
        )
    if recipe.training.compile == "on" and recipe.sees_fixed_features:
        yield disagreement(
            "training.compile has no effect: all training runs on a frozen trunk's features, which are "
            "computed once",
            "training.compile",
            "finetune.layers",
        )


def _of_progressive(recipe: Recipe) -> Iterator[PydanticCustomError]:
    if recipe.training.progressive and recipe.sees_fixed_features:
        yield disagreement(
            "training.progressive has no effect: the trunk is frozen and sees an image the same way in "
            "every epoch, so that training runs on its features",
            "training.progressive",
            "finetune.layers",
        )
    if recipe.training.progressive and recipe.view_sides == {recipe.data.image_size}:
        yield disagreement(
            "training.progressive has no effect: in so few epochs, or with so small images, all views "
            "have full size",
            "training.progressive",
            "training.progressive_share",
        )
