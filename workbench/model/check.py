"""Whether a recipe fits its backbone, found out before anything slow begins."""

from __future__ import annotations

from workbench.model.backbones import skeleton
from workbench.model.classifier import ImageClassifier, outputs_at
from workbench.model.finetune import layer_groups, tune
from workbench.recipe import Recipe
from workbench.recipe.layer_groups import LayerGroups, rates_of
from workbench.support.errors import UserError


def check_network(recipe: Recipe) -> None:
    """Refuse names and sizes that the recipe's backbone does not have; loads no weights.

    Raises:
        UserError: as `look_at_network`, or an unknown layer group, norms that it lacks, rates for groups that
            never learn.
    """
    rates_of(look_at_network(recipe), recipe.optimizer, recipe.finetune)


def look_at_network(recipe: Recipe) -> LayerGroups:
    """The layer groups of the recipe's network, built without weights.

    Raises:
        UserError: unknown backbone or weights name, an image size it cannot take, residual blocks that it
            lacks, views that grow though it is built for one size.
    """
    classifier = skeleton(recipe.model, classes=2, image_size=recipe.data.image_size)
    _check_progressive(classifier, recipe)
    return layer_groups(classifier)


def check_batch(recipe: Recipe, labelled: int) -> None:
    """Refuse batches of one image for a network whose batch norms would see a single value a channel.

    Args:
        labelled: how many images the first stage trains on.

    Raises:
        UserError: there is such a norm.
    """
    if recipe.training.batch_of(labelled) > 1:
        return  # and the last batch of an epoch is never a single image
    classifier = skeleton(recipe.model, classes=2, image_size=recipe.data.image_size)
    if tune(classifier, recipe.finetune).trunk_fixed:
        return
    for side in sorted(recipe.view_sides):
        try:
            outputs_at(classifier, side, training=True)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise UserError(
                f"one image of {side} pixels a side leaves batch norms of {classifier.backbone} a single "
                "value a channel, whose spread nobody can tell",
                where="training.batch_size" if labelled > 1 else "[pseudo_label]",
                allowed="2 or more" if labelled > 1 else "two or more labelled images",
                hint='or finetune.batch_norm_statistics = "frozen", or a larger data.image_size',
            ) from error


def _check_progressive(classifier: ImageClassifier, recipe: Recipe) -> None:
    if not recipe.training.progressive:
        return
    for side in sorted(recipe.view_sides):
        try:
            outputs_at(classifier, side)
        except (RuntimeError, AssertionError, ValueError) as error:
            size = recipe.data.image_size
            raise UserError(
                f"{classifier.backbone}, built for {size} pixels a side, cannot take views of {side}",
                where="training.progressive",
                hint="raise training.progressive, or leave it off: not every network takes views of any size",
            ) from error
