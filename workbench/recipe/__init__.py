"""What to run: the recipe's schema, its TOML, and everything said about it. No torch here."""

from workbench.recipe.data import Data
from workbench.recipe.dump import Difference, diff_recipes, dump_recipe, flat, recipe_fingerprint
from workbench.recipe.explain import Explained, explain, new_recipe_text, summary
from workbench.recipe.knobs import Knob, allowed_values, knobs_of
from workbench.recipe.load import load_recipe, parse_recipe
from workbench.recipe.model import Finetune, Model, Optimizer
from workbench.recipe.problems import Problem, RecipeError
from workbench.recipe.pseudo_label import STRATEGIES, PseudoLabel
from workbench.recipe.schema import Recipe
from workbench.recipe.training import Augmentation, Training
from workbench.support.toml_text import flatten

__all__ = [
    "STRATEGIES",
    "Augmentation",
    "Data",
    "Difference",
    "Explained",
    "Finetune",
    "Knob",
    "Model",
    "Optimizer",
    "Problem",
    "PseudoLabel",
    "Recipe",
    "RecipeError",
    "Training",
    "allowed_values",
    "diff_recipes",
    "dump_recipe",
    "explain",
    "flat",
    "flatten",
    "knobs_of",
    "load_recipe",
    "new_recipe_text",
    "parse_recipe",
    "recipe_fingerprint",
    "summary",
]
