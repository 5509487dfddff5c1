"""What to run: the recipe's schema, its TOML, and everything said about it. No torch here."""

from workbench.recipe.data import Data
from workbench.recipe.model import Finetune, Model, Optimizer
from workbench.recipe.pseudo_label import STRATEGIES, ClassBalanced, Iterative, OneShot, PseudoLabel
from workbench.recipe.schema import Recipe
from workbench.recipe.training import Augmentation, Training

__all__ = [
    "STRATEGIES",
    "Augmentation",
    "ClassBalanced",
    "Data",
    "Finetune",
    "Iterative",
    "Model",
    "OneShot",
    "Optimizer",
    "PseudoLabel",
    "Recipe",
    "Training",
]
