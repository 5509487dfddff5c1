"""What to run: the recipe's schema, its TOML, and everything said about it. No torch here."""

from workbench.recipe.by_confidence import ClassBalanced, Iterative, OneShot
from workbench.recipe.data import Data
from workbench.recipe.diff import Difference, diff_recipes
from workbench.recipe.dump import dump_recipe, flat, recipe_fingerprint
from workbench.recipe.explain import Explained, explain, summary
from workbench.recipe.grid import GridPoint, expand_grid, expand_grid_text, parse_grid
from workbench.recipe.knobs import Knob, allowed_values, knobs_of
from workbench.recipe.labels import PseudoLabel
from workbench.recipe.load import load_recipe, parse_recipe
from workbench.recipe.model import Finetune, Model, Optimizer
from workbench.recipe.problems import Problem, RecipeError
from workbench.recipe.pseudo_label import STRATEGIES
from workbench.recipe.scaffold import new_recipe_text
from workbench.recipe.schema import Recipe
from workbench.recipe.training import Augmentation, Training
from workbench.support.flat import flatten

__all__ = [
    "STRATEGIES",
    "Augmentation",
    "ClassBalanced",
    "Data",
    "Difference",
    "Explained",
    "Finetune",
    "GridPoint",
    "Iterative",
    "Knob",
    "Model",
    "OneShot",
    "Optimizer",
    "Problem",
    "PseudoLabel",
    "Recipe",
    "RecipeError",
    "Training",
    "allowed_values",
    "diff_recipes",
    "dump_recipe",
    "expand_grid",
    "expand_grid_text",
    "explain",
    "flat",
    "flatten",
    "knobs_of",
    "load_recipe",
    "new_recipe_text",
    "parse_grid",
    "parse_recipe",
    "recipe_fingerprint",
    "summary",
]
