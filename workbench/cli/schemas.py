"""What `--json` prints, command by command: the one source of the JSON Schema files in docs/schemas.

Every command prints one object whose `schema` names its shape and the shape's version, such as
`petbench/runs-ls/1`. A key may be added to a version; one that goes or changes its meaning makes a new one.
Times are ISO 8601 with the zone's offset. Numbers that are not finite are null.
"""

from __future__ import annotations

import functools
from typing import Annotated, Any, Literal, NotRequired, get_type_hints

import typer
from pydantic import Field, TypeAdapter, create_model
from typing_extensions import TypedDict

from workbench.cli.console import print_text
from workbench.cli.health import Finding
from workbench.dataset.check import ClassImages
from workbench.dataset.check_layout import Problem as DataProblem
from workbench.dataset.review import Correction
from workbench.recipe import Explained, Problem
from workbench.recipe.diff import Difference
from workbench.runs.compare_seeds import SeedTest
from workbench.runs.events import RoundLabelled
from workbench.runs.export import json_text, schema_name
from workbench.runs.issue_file import Duplicate
from workbench.runs.opinions import Opinion
from workbench.runs.paired import NotPaired, PairedTest
from workbench.runs.profile import Profile
from workbench.runs.results import Confusion, Results
from workbench.runs.seeds import Spread
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.nearest import nearest

Time = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d$")]
Share = Annotated[float, Field(ge=0, le=1)]


class Progress(TypedDict):
    stage: str
    round: int
    rounds: int
    epoch: int
    epochs: int


class Run(TypedDict):
    """A run; its recipe and its metrics by dotted keys."""

    id: str
    path: str
    name: str
    status: str
    created: Time
    ended: Time | None
    reason: str
    tags: list[str]
    note: str
    archived: bool
    queue_position: int | None
    progress: Progress | None
    metrics: dict[str, float]
    recipe: dict[str, Any]
    problem: str


class RunPage(Run):
    """A run in full; `results` is null until it has finished."""

    results: Results | None
    most_confused: list[Confusion]
    rounds: list[RoundLabelled]
    warnings: list[str]
    provenance: dict[str, Any]
    profile: Profile | None


class Runs(TypedDict):
    runs: list[Run]


class Trash(Runs):
    deleted: int
    """Runs that --empty deleted for good."""


class Leftover(TypedDict):
    path: str
    kind: str
    bytes: int
    why: str
    stayed: str


class Tidied(TypedDict):
    removed: bool
    """Whether anything was to go; false for --dry-run."""
    bytes: int
    leftovers: list[Leftover]


class RunLines(TypedDict):
    run: str
    lines: list[str]


class LaunchedRun(TypedDict):
    id: str
    path: str
    queue_position: int


class Launched(TypedDict):
    runs: list[LaunchedRun]


class AskedRun(TypedDict):
    id: str
    path: str
    status: str
    promise: str


class Asked(TypedDict):
    runs: list[AskedRun]


class ComparedRun(TypedDict):
    id: str
    name: str
    status: str
    seed: str


class NumberRow(TypedDict):
    values: list[float | None]
    deltas: list[float | None]


class SpreadRow(TypedDict):
    spreads: list[Spread | None]
    deltas: list[float | None]


class ConfusionChange(TypedDict):
    run: str
    true: str
    predicted: str
    baseline: int
    count: int
    delta: int


class ComparedGroup(TypedDict):
    name: str
    runs: list[str]
    counted: list[str]
    seeds: list[str]


class ComparedGroups(TypedDict):
    groups: list[ComparedGroup]
    baseline: int
    recipe: dict[str, list[Any]]
    metrics: dict[str, SpreadRow]
    left_out: list[str]
    tests: list[SeedTest | NotPaired | None]


class CurvePoints(TypedDict):
    run: str
    x: list[float]
    y: list[float | None]


class Curve(TypedDict):
    metric: str
    axis: str
    runs: list[CurvePoints]


class Comparison(TypedDict):
    """Lists follow the order of `runs`."""

    runs: list[ComparedRun]
    baseline: str
    warnings: list[str]
    recipe: dict[str, list[Any]]
    metrics: dict[str, NumberRow]
    paired: list[PairedTest | NotPaired | None]
    recall: dict[str, NumberRow]
    confusion: list[ConfusionChange]
    groups: NotRequired[ComparedGroups]
    curve: NotRequired[Curve]


class LeftOutRun(TypedDict):
    id: str
    reason: str


RunGroup = TypedDict(
    "RunGroup",
    {
        "name": str,
        "by": dict[str, Any],
        "runs": list[str],
        "counted": list[str],
        "left_out": list[LeftOutRun],
        "seeds": list[str],
        "val.accuracy": Spread | None,
        "test.accuracy": Spread | None,
        "teacher.test.accuracy": Spread | None,
    },
)


class Groups(TypedDict):
    groups: list[RunGroup]


class Device(TypedDict):
    name: str
    label: str
    run: str | None


class Waiting(TypedDict):
    position: int
    id: str
    path: str
    device: str
    since: Time


class Queue(TypedDict):
    devices: list[Device]
    waiting: list[Waiting]


class PointRun(TypedDict):
    repeat: str
    id: str | None
    status: str
    val_accuracy: Share | None
    test_accuracy: Share | None


class Point(TypedDict):
    point: str
    settings: dict[str, Any]
    best: bool
    pruned: bool
    val: Spread | None
    test: Spread | None
    runs: list[PointRun]


class Sweep(TypedDict):
    name: str
    points: list[Point]


class RangeTest(TypedDict):
    recipe: str
    fingerprint: str
    optimizer: str
    batch_size: int
    suggestion: float
    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    steepest: float
    least_tenth: float
    diverged: bool
    on_features: bool
    file: str


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
    cells: list[TableCell]
    files: list[str]


class DrawnFigure(TypedDict):
    figure: str
    title: str
    lines: int
    file: str


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
    errors: int


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
    source: Literal["torchvision", "pip", "timm"]
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


class IssueSearch(TypedDict):
    folds: int
    seed: int
    trunk: str
    trunk_learned: bool
    least_similarity: float
    images: int
    issues: int
    estimated: float
    duplicates: int


class LabelIssues(IssueSearch):
    run: str


_judged: dict[str, Any] = {name: (hint, ...) for name, hint in get_type_hints(Opinion).items()}
_JudgedImage: Any = create_model("JudgedImage", **_judged, wrong=(bool | None, ...))
"""An opinion, and whether it is wrong; null where the true class is not known."""


class Inspected(TypedDict):
    run: str
    of: str
    order: str
    surest_first: bool
    images: int
    fitting: int
    rows: list[_JudgedImage]
    exported: list[str]
    search: NotRequired[IssueSearch]
    duplicates: NotRequired[list[Duplicate]]


class ConfusedPairs(TypedDict):
    run: str
    of: str
    pairs: list[Confusion]
    count: int


class Review(TypedDict):
    file: str
    counts: dict[str, int]
    undone: Correction | None
    corrections: list[Correction]
    recipe_line: str
    relaunch: str


class PreviewedImage(TypedDict):
    id: str
    label: str
    plain: str
    views: list[str]


class Preview(TypedDict):
    images: list[PreviewedImage]


SeenImage = TypedDict(
    "SeenImage",
    {
        "id": str,
        "error": NotRequired[str],
        "said": NotRequired[str],
        "confidence": NotRequired[Share],
        "method": NotRequired[str],
        "class": NotRequired[str | None],
        "top": NotRequired[list[tuple[str, float]]],
        "overlay": NotRequired[str],
        "plain": NotRequired[str],
        "map": NotRequired[str],
    },
)


class Saliency(TypedDict):
    images: list[SeenImage]


class Neighbour(TypedDict):
    id: str
    label: str
    similarity: float


class NearImage(TypedDict):
    id: str
    neighbours: list[Neighbour]


class Neighbours(TypedDict):
    images: list[NearImage]


SaidClass = TypedDict("SaidClass", {"class": str, "probability": Share})


class PredictedImage(TypedDict):
    image: str
    top: NotRequired[list[SaidClass]]
    error: NotRequired[str]


class Predicted(TypedDict):
    images: list[PredictedImage]


class Doctor(TypedDict):
    errors: int
    findings: list[Finding]


SHAPES: dict[str, Any] = {
    "run": RunPage,
    "launch": Launched,
    "stop": Asked,
    "queue": Queue,
    "sweep": Sweep,
    "lr-find": RangeTest,
    "paper-table1": Table1,
    "paper-figures": Figures,
    "paper-recipes": PaperRecipes,
    "runs": Runs,
    "runs-show": RunPage,
    "runs-compare": Comparison,
    "runs-group": Groups,
    "runs-log": RunLines,
    "runs-trash": Trash,
    "runs-tidy": Tidied,
    "recipe-ls": ShippedRecipes,
    "recipe-check": CheckedRecipes,
    "recipe-show": ShownRecipe,
    "recipe-diff": Differences,
    "recipe-file": Written,
    "data-check": DataReport,
    "data-set": DataSet,
    "model-show": Model,
    "backbones": Backbones,
    "strategies": Strategies,
    "inspect": Inspected,
    "inspect-confused": ConfusedPairs,
    "review": Review,
    "preview": Preview,
    "saliency": Saliency,
    "neighbours": Neighbours,
    "label-issues": LabelIssues,
    "predict": Predicted,
    "doctor": Doctor,
}
"""The name in `schema` -> what stands beside it."""


@functools.cache
def schema_of(shape: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a shape."""
    schema = _nullable(TypeAdapter(SHAPES[shape]).json_schema(mode="serialization"))
    properties = {"schema": {"const": schema_name(shape)}, **schema.pop("properties")}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": schema_name(shape),
        **schema,
        "properties": properties,
        "required": ["schema", *schema["required"]],
    }


def _nullable(schema: Any) -> Any:
    """With null for every number, since JSON has no NaN."""
    if isinstance(schema, list):
        return [_nullable(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "number":
        return {**schema, "type": ["number", "null"]}
    return {key: _nullable(one) for key, one in schema.items()}


def schema(
    shape: Annotated[
        str | None,
        typer.Argument(metavar="[SHAPE]", help="Between the strokes of what --json calls its schema."),
    ] = None,
) -> None:
    """Print the JSON Schema of what --json prints (docs/schemas holds them all); alone, list the shapes."""
    if shape is None:
        print_text("".join(f"{name}\n" for name in SHAPES))
    elif shape in SHAPES:
        print_text(json_text(schema_of(shape)))
    else:
        near = nearest(shape, SHAPES)
        raise UserError(
            f"no shape {clean(shape, 60)!r}",
            allowed=list(SHAPES),
            hint=f"did you mean {near}?" if near else "",
        )
