"""Whether a recipe fits its backbone, found out before anything slow begins."""

from __future__ import annotations

from workbench.model.backbones import skeleton
from workbench.model.classifier import ImageClassifier, outputs_at
from workbench.model.finetune import layer_groups
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
