"""What `--json` prints of images: inspected, doubted, judged, drawn, named; and of models for elsewhere."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, get_type_hints

from pydantic import create_model
from typing_extensions import TypedDict

from workbench.cli.run_shapes import Share
from workbench.dataset.review import Correction
from workbench.generate.image_plan import Class as GeneratedClass
from workbench.runs.abstaining import Promise, Threshold
from workbench.runs.label_issues import Duplicate
from workbench.runs.opinion_columns import Opinion
from workbench.runs.results import Confusion


class IssueSearch(TypedDict):
    folds: int
    seed: int
    trunk: str
    trunk_learned: bool
    least_similarity: float
    rule: str
    images: int
    classes: int
    judged_classes: int
    least_labels_a_class: int
    least_labels_in_all: int
    issues: int
    cannot_tell: int
    estimated: float
    duplicates: int


class LabelIssues(IssueSearch):
    run: str


class Generated(TypedDict):
    """What lies in a folder of generated images; of a dry run, what would be made."""

    folder: str
    dry_run: bool
    classes: list[GeneratedClass]
    made: int
    """Images that this call kept."""
    left: NotRequired[int]
    """Of a dry run: images that are to be made."""
    pipeline: NotRequired[str]
    revision: NotRequired[str]
    """The hub's commit; "" of a folder."""
    weights: NotRequired[str]
    lora: NotRequired[str]
    """SHA-256 of what tuning has learned; "" without."""


_judged: dict[str, Any] = {name: (hint, ...) for name, hint in get_type_hints(Opinion).items()}


_JudgedImage: Any = create_model("JudgedImage", **_judged, wrong=(bool | None, ...))
"""An opinion, and whether it is wrong; null where the true class is not known."""


class FoundSlice(TypedDict):
    key: str
    words: str
    images: int
    right: int
    accuracy: Share
    interval: tuple[float, float]
    rest: Share
    """Accuracy of all other images."""
    p: Share
    """Fisher's exact test against them, adjusted for all slices tried."""
    mark: Literal["worse", "better"] | None
    ids: NotRequired[list[str]]


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


class Slices(TypedDict):
    """How right a run is of parts of a split, the worst first."""

    run: str
    of: str
    images: int
    """Those whose class is known."""
    accuracy: Share
    tried: int
    smallest: int
    by: list[str]
    marked: int
    slices: list[FoundSlice]


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


PredictedImage = TypedDict(
    "PredictedImage",
    {
        "image": str,
        "top": NotRequired[list[SaidClass]],
        "error": NotRequired[str],
        "class": NotRequired[str],
        "set": NotRequired[list[str]],
    },
)
"""`class` and `set` with --sure: the class or `unsure`, and then the classes that it may be."""


class ConformalSets(TypedDict):
    """What the sets of unsure pictures promise, and by how many validation images."""

    promised: Share
    images: int
    by_class: bool


class JudgementShape(TypedDict):
    """How the model's word was told."""

    temperature: float
    sure: Share | None
    threshold: Threshold | None
    sets: ConformalSets | None


class PredictionCounts(TypedDict):
    sure: int
    unsure: int
    unreadable: int
    before: int
    """That had a row in the file already."""


class ExportedFile(TypedDict):
    """A format and what its file answered."""

    format: str
    from_pixels: bool
    files: list[str]
    bytes: int
    difference: float
    from_run: float
    same_class: int


class Quantised(TypedDict):
    """The eight-bit file and what it costs."""

    file: str
    bytes: int
    images: int
    accuracy: Share
    accuracy_before: Share
    same_class: int
    calibrated_on: int


class Exported(TypedDict):
    """A folder with a run's model."""

    folder: str
    model: Literal["model", "teacher", "student"]
    weights_sha256: str
    checked: list[ExportedFile]
    images: int
    of_validation: bool
    images_are: str
    temperature: float | None
    int8: Quantised | None
    promises: list[Promise]
    """From which confidence on it is right how often, as far as validation promises it."""


class Predicted(TypedDict):
    judgement: JudgementShape
    counts: PredictionCounts
    images: list[PredictedImage]
    """Empty where rows went into a file."""


class LabelledClass(TypedDict):
    name: str
    key: str | None
    images: int


class Labelling(TypedDict):
    folder: str
    file: str
    images: int
    labelled: int
    unlabelled: int
    not_usable: int
    cannot_tell: int
    classes: list[LabelledClass]
    changed: int
    remarks: list[str]


IMAGE_SHAPES: dict[str, Any] = {
    "label": Labelling,
    "inspect": Inspected,
    "inspect-confused": ConfusedPairs,
    "slices": Slices,
    "review": Review,
    "preview": Preview,
    "saliency": Saliency,
    "neighbours": Neighbours,
    "label-issues": LabelIssues,
    "generate": Generated,
    "predict": Predicted,
    "export": Exported,
}
