"""What `--json` prints of recipes, the paper, data, networks and strategies."""

from __future__ import annotations

from typing import Any, NotRequired

from typing_extensions import TypedDict

from workbench.cli.run_shapes import Share
from workbench.dataset.check import ClassImages
from workbench.dataset.check import Problem as DataProblem
from workbench.recipe import Explained, Problem
from workbench.recipe.dump import Difference
from workbench.runs.seed_groups import Spread


class TableCell(TypedDict):
    fraction: float
    column: str
    paper: float | None
    ours: Spread | None
    wanted: int
    below_teacher: int
    covered: Spread | None
    difference: float | None


class Table1(TypedDict):
    backbone: str
    labels: str
    changes: list[str]
    """What --set and --unset change that the other keys do not tell."""
    cells: list[TableCell]
    files: list[str]


class DrawnFigure(TypedDict):
    figure: str
    title: str
    lines: int
    files: list[str]


class Figures(TypedDict):
    figures: list[DrawnFigure]


class PaperRecipe(TypedDict):
    name: str
    file: str
    runs: int
    points: list[str]


class PaperRecipes(TypedDict):
    recipes: list[PaperRecipe]


class ShippedRecipe(TypedDict):
    name: str
    file: str
    description: str
    runs: int
    needs: str


class ShippedRecipes(TypedDict):
    recipes: list[ShippedRecipe]


class CheckedRecipe(TypedDict):
    file: str
    valid: bool
    message: NotRequired[str]
    problems: NotRequired[list[Problem]]
    summary: NotRequired[str]
    fingerprint: NotRequired[str]
    extra_labelled: NotRequired[int]
    extra_unlabelled: NotRequired[int]
    images: NotRequired[dict[str, int] | None]
    """By what a run does with them; null where they were not looked at."""
    batch_size: NotRequired[int]
    student: NotRequired[dict[str, float] | None]
    """An online strategy's: how many `steps` it takes, and the knobs that follow from that; else null."""
    understood: NotRequired[list[str]]
    """Which folder or column of the data set was taken for what."""
    warnings: NotRequired[list[str]]
    """Which files of the data set a run would not use, and why."""


class CheckedRecipes(TypedDict):
    recipes: list[CheckedRecipe]


class ShownRecipe(TypedDict):
    fingerprint: str
    recipe: dict[str, Any]
    knobs: list[Explained]


class Differences(TypedDict):
    same_run: bool
    differences: list[Difference]


class Written(TypedDict):
    file: str


class DataReport(TypedDict):
    dataset: str
    root: str
    classes: list[ClassImages]
    head_boxes: int
    problems: list[DataProblem]
    extra_unlabelled: int
    unlabelled: int
    """Images of the data set's own whose class nobody has said."""
    understood: list[str]
    """Which folder or column was taken for what."""
    errors: int


class StartClass(TypedDict):
    name: str
    train: int
    validation: int
    test: int


class ShortSides(TypedDict):
    least: int
    median: int
    greatest: int


class StartImages(TypedDict):
    labelled: int
    unlabelled: int
    validation: int
    test: int


class Started(TypedDict):
    dataset: str
    root: str
    classes: list[StartClass]
    unlabelled: int
    """Images whose class nobody has said."""
    has_test_part: bool
    short_sides: ShortSides
    long: int
    """Images longer than 3:1."""
    left_out: list[str]
    passed_over: list[str]
    looked_at: int
    """Images that were compared by look."""
    alike: list[list[str]]
    """Pairs of images of two parts or classes that look the same."""
    understood: list[str]
    reasons: list[str]
    images: StartImages
    """What the recipe does with them."""
    recipe: str
    file: str | None
    """Where the recipe lies; null with --dry-run."""


class DataSet(TypedDict):
    directory: str
    fresh: bool
    """Whether it was made by this very command."""
    train: int
    test: int
    left_out: list[str]


class LayerGroup(TypedDict):
    group: str
    parameters: int
    batch_norms: int
    layer_norms: int
    trainable: NotRequired[int]
    learns: NotRequired[bool]
    batch_norm_learns: NotRequired[bool]
    statistics_update: NotRequired[bool]
    layer_norm_learns: NotRequired[bool]
    learning_rate: NotRequired[float | None]


class Model(TypedDict):
    backbone: str
    classes: int
    parameters: int
    feature_width: int
    native_size: int
    mean: list[float]
    std: list[float]
    trainable: NotRequired[int]
    trunk_fixed: NotRequired[bool]
    recipe: NotRequired[str]
    groups: list[LayerGroup]


class Backbone(TypedDict):
    name: str
    source: str
    parameters: int | None
    accuracy: Share | None
    giga_operations: float | None
    native_size: int | None
    weights: list[str]


class Backbones(TypedDict):
    backbones: list[Backbone]


class StrategyKnob(TypedDict):
    key: str
    default: Any
    help: str
    allowed: str
    unit: str
    source: str
    only_if: str
    unset: str


class Strategy(TypedDict):
    kind: str
    name: str
    about: str
    source: str
    recipe: str
    knobs: list[StrategyKnob]


class Strategies(TypedDict):
    strategies: list[Strategy]


RECIPE_SHAPES: dict[str, Any] = {
    "paper-table1": Table1,
    "paper-figures": Figures,
    "paper-recipes": PaperRecipes,
    "recipe-ls": ShippedRecipes,
    "recipe-check": CheckedRecipes,
    "start": Started,
    "recipe-show": ShownRecipe,
    "recipe-diff": Differences,
    "recipe-file": Written,
    "data-check": DataReport,
    "data-set": DataSet,
    "model-show": Model,
    "backbones": Backbones,
    "strategies": Strategies,
}
