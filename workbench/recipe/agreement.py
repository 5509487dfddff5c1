"""What must hold between a recipe's tables: knobs that are fine alone and not together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic_core import PydanticCustomError

from workbench.recipe.by_confidence import Ups
from workbench.recipe.fields import disagreement

if TYPE_CHECKING:
    from workbench.recipe.schema import Recipe


def disagreements(recipe: Recipe) -> Iterator[PydanticCustomError]:
    """All there are; the one to tell of first comes first."""
    yield from _of_data(recipe)
    yield from _of_the_head_alone(recipe)
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


def _of_the_head_alone(recipe: Recipe) -> Iterator[PydanticCustomError]:
    if recipe.finetune.layers not in ("head", ("head",)):
        return
    for knob in ("gradual_unfreeze", "probe_epochs"):
        if getattr(recipe.finetune, knob):
            yield disagreement(
                f"finetune.{knob} has no effect while finetune.layers is the head alone", f"finetune.{knob}"
            )


def _of_blends_and_heads(recipe: Recipe) -> Iterator[PydanticCustomError]:
    if isinstance(recipe.pseudo_label, Ups) and recipe.augmentation.mixing != "none":
        yield disagreement(
            "augmentation.mixing does not go with ups: what an image is not cannot be blended",
            "augmentation.mixing",
            "pseudo_label.strategy",
        )
    if recipe.training.saliency_weight and recipe.augmentation.mixing != "none":
        yield disagreement(
            "training.saliency_weight does not go with augmentation.mixing: a blend has no one head box",
            "training.saliency_weight",
            "augmentation.mixing",
        )
    if recipe.training.saliency_weight and recipe.data.dataset == "folder":
        yield disagreement(
            "training.saliency_weight needs head boxes, which a folder of images does not have",
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
