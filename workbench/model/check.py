"""Whether a recipe fits its backbone, found out before anything slow begins."""

from __future__ import annotations

from workbench.model.backbones import skeleton
from workbench.model.finetune import check_finetune
from workbench.model.rates import group_rates
from workbench.recipe import Recipe


def check_network(recipe: Recipe) -> None:
    """Refuse names and sizes that the recipe's backbone does not have; loads no weights.

    Raises:
        UserError: unknown backbone, layer group or weights name, an image size it cannot take, norms or
            residual blocks that it lacks, rates for groups that never learn.
    """
    classifier = skeleton(recipe.model, classes=2, image_size=recipe.data.image_size)
    check_finetune(classifier, recipe.finetune)
    group_rates(classifier, recipe.optimizer, recipe.finetune)
