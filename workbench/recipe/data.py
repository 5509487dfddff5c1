"""[data]: which images, what is predicted, how they are divided."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, overload

from pydantic import AfterValidator, Field, model_validator

from workbench.recipe.fields import Described, EvaluationViews, Fraction, OneOf, Table, disagreement, knob
from workbench.support.plugins import Registry
from workbench.support.toml_text import toml_literal


@dataclass(frozen=True, slots=True)
class DatasetKind:
    """What a recipe's checks and people must know of a data set before it is opened."""

    about: str
    """A few words: class sub-folders."""
    root: str = ""
    """What `data.root` must name, such as "the directory that holds the class sub-folders"; empty: it may be
    left out."""
    is_own: bool = True
    """A data set of one's own: a listing of images by class, in which parts for validation and test may be
    missing and are then held out."""
    has_species: bool = False
    """Whether it tells cats from dogs beside its classes."""
    has_heads: bool = False
    """Whether it has head boxes."""
    is_drawn: bool = False
    """Whether petbench draws it where it is not there: small pictures, made up."""


DATASETS: Registry[DatasetKind] = Registry("data set", [], "petbench.datasets")
DATASETS.add(
    "oxford-iiit-pet",
    DatasetKind("the Oxford set in its official layout", is_own=False, has_species=True, has_heads=True),
)
DATASETS.add(
    "sample",
    DatasetKind(
        "the built-in procedural sample", is_own=False, has_species=True, has_heads=True, is_drawn=True
    ),
)
DATASETS.add("folder", DatasetKind("class sub-folders", "the directory that holds the class sub-folders"))
DATASETS.add(
    "table",
    DatasetKind("a table of images: CSV, TSV, JSON lines or Parquet", "the table or its folder"),
)


class DatasetNames(Sequence[str]):
    """The names of the data sets of which something holds, as they are when they are asked for."""

    def __init__(self, holds: Callable[[DatasetKind], bool]) -> None:
        self._holds = holds

    def __iter__(self) -> Iterator[str]:
        return (name for name, kind in DATASETS.items() if self._holds(kind))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        return tuple(self)[index]


OWN = DatasetNames(lambda kind: kind.is_own)
"""Data sets of one's own."""


Column = Annotated[str, Field(max_length=200)]
PathPattern = Annotated[
    str,
    Field(pattern=r"^[^{}]*\{(name)?\}[^{}]*$", max_length=400),
    Described("text with {} or {name} once in it"),
]


def _known(name: str) -> str:
    if name not in DATASETS:
        raise ValueError("no such data set")
    return name


DatasetName = Annotated[str, AfterValidator(_known), OneOf(DATASETS)]


@dataclass(frozen=True, slots=True)
class FolderLevels:
    """A class is the names of these folders above an image, counted from the data set's or its part's."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class NamePattern:
    """A class is what the pattern's one group finds in a file's name without its ending, else with it."""

    pattern: re.Pattern[str]


ClassSource = FolderLevels | NamePattern


def class_source(text: str) -> ClassSource:
    """What a text such as `folder:1`, `folder:1-2` or `name:^(.+)_\\d+$` means.

    Raises:
        ValueError: it is no such text; says why.
    """
    kind, _, rest = text.partition(":")
    if kind == "folder" and (levels := re.fullmatch(r"([1-9])(?:-([1-9]))?", rest)):
        first, last = int(levels[1]), int(levels[2] or levels[1])
        if first > last:
            raise ValueError(f"level {first} lies below level {last}")
        return FolderLevels(first, last)
    if kind == "folder":
        raise ValueError("folders are counted from 1 to 9, as in folder:1 or folder:1-2")
    if kind != "name":
        raise ValueError("it begins with folder: or name:")
    try:
        pattern = re.compile(rest)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from None
    if pattern.groups != 1:
        raise ValueError(f"a pattern with {pattern.groups} groups in parentheses, not one that is the class")
    return NamePattern(pattern)


def _class_source_text(value: str) -> str:
    try:
        class_source(value)
    except ValueError as error:
        raise disagreement(f"class_from = {toml_literal(value)}: {error}", "class_from") from None
    return value


ClassFrom = Annotated[
    str,
    Field(max_length=200),
    AfterValidator(_class_source_text),
    Described('"folder:1", "folder:1-2" and the like, or "name:" and a regular expression with one group'),
]


class Data(Table):
    """Which images exist for the run, what is predicted of them, and how they are divided."""

    dataset: DatasetName = knob(
        "oxford-iiit-pet",
        help="the Oxford set in its official layout, the built-in procedural sample, class sub-folders, or a "
        "table of images: CSV, TSV, JSON lines or Parquet",
    )
    root: str = knob(
        "",
        help="where the images lie, relative to the recipe's own directory: for a table its file, or the "
        "folder that it lies in; empty: the data home (folders and tables need a path)",
        max_length=1024,
    )
    class_from: ClassFrom | None = knob(
        None,
        help="where a folder's classes are written: folder:1 is the first folder below the data set or its "
        "part, folder:1-2 the first and second together, as in cats/birman; name:^(.+)_\\d+$ what the group "
        "finds in a file's name without its ending",
        unset="folder:1",
        only_if=("dataset", ["folder"]),
    )
    path_column: Column | None = knob(
        None,
        help="the table's column of image files, as paths from the table's folder",
        unset="path, file_name, image and the like",
        only_if=("dataset", ["table"]),
    )
    path_pattern: PathPattern | None = knob(
        None,
        help="what of that column becomes a path, where it holds less than one: images/{}.jpg; or a path of "
        "another machine, of which the file's name counts: images/{name}",
        unset="{}",
        only_if=("dataset", ["table"]),
    )
    label_column: Column | None = knob(
        None,
        help="the table's column of classes; images where it is empty are the pool",
        unset="label, class, category and the like",
        only_if=("dataset", ["table"]),
    )
    split_column: Column | None = knob(
        None,
        help="the table's column of parts: train, validation, test, unlabelled; empty: there is none",
        unset="split, part or subset, if there is one",
        only_if=("dataset", ["table"]),
    )
    group_column: Column | None = knob(
        None,
        help="the table's column of what belongs together (a patient, a burst, a video): all images of a "
        "group train, or all validate, or all test; empty: there is none",
        unset="group, patient, burst or video, if there is one",
        only_if=("dataset", ["table"]),
    )
    target: Literal["breed", "species"] = knob(
        "breed", help="breed: every class; species: cat or dog (Oxford and sample only)"
    )
    image_size: int = knob(
        224, help="side of the square that the backbone sees", unit="pixels", ge=32, le=1024
    )
    evaluation_views: EvaluationViews | None = knob(
        None,
        help="in which views an image is evaluated, and a frozen trunk's features are taken: centre (the "
        "middle square of 7/8 of the short side), full (of all of it), close (of 3/4), squash (the whole "
        "image, pressed into a square); of several the outputs are averaged, at as many times the cost",
        unset="all four if a frozen trunk's features are kept; else centre",
        source="averaging over views: Krizhevsky et al. 2012, Sec. 4.1",
    )
    store_scale: float | None = knob(
        None,
        help="at how many times image_size images are decoded and kept; above 2 is presizing: crops and "
        "turns are cut from more pixels than a view has. Disk and memory grow with its square",
        unit="times image_size",
        unset="8/7, such as 256 for 224",
        source="presizing: Howard and Gugger 2020, fastai",
        ge=1.0,
        le=4.0,
    )
    validation_fraction: Fraction | None = knob(
        None,
        help="share of the training part held out to choose epochs and knobs",
        unset="0.2, or 1/folds",
    )
    validation_images: int | None = knob(
        None,
        help="so many images of the training part held out instead of a share: with few labels the labels "
        "that choose cost as much as those that teach, and about 40 choose well enough",
        unset="see validation_fraction",
        unit="images",
        ge=1,
        le=1_000_000,
    )
    label_folds: int | None = knob(
        None,
        help="hold nothing out: in so many folds the labelled images choose, each judged by models that it "
        "did not teach, and the final models learn from all of them; needs a frozen trunk on views that stay "
        "the same, and two labels of every class that has one",
        unset="held-out images choose",
        source="cross-validation, Stone 1974",
        ge=2,
        le=20,
    )
    validation: Literal["own", "train"] | None = knob(
        None,
        help="what becomes of a validation part of the data set's own, such as val/: own: it validates, and "
        "nothing is held out for that; train: its images join the training part",
        unset="a share of the training part; a folder or table with a validation part must say",
        only_if=("dataset", OWN),
    )
    folds: int | None = knob(
        None, help="k-fold cross-validation instead of a fraction", unset="no folds", ge=2, le=20
    )
    fold: int | None = knob(
        None, help="which fold validates, from 0 (with folds)", unset="0, the first", ge=0, le=19
    )
    stratified_validation: bool = knob(
        True, help="hold out the same share of every class; false: a plain shuffle, as in the paper"
    )
    test_fraction: Fraction | None = knob(
        None,
        help="share held out for the test where a folder or table has no test part of its own",
        unset="0.2",
        only_if=("dataset", OWN),
    )
    split_seed: int = knob(
        0, help="seed of every division of the data; apart from the run's seed", ge=0, lt=2**63
    )
    head_crops: Literal["off", "add", "only"] = knob(
        "off",
        help="head boxes from the XML files, cut from the files' own pixels: add them as extra training "
        "views, or train on only them; "
        "validation and test always see whole images",
    )
    augmented_copies: int = knob(
        0,
        help="fixed augmented copies of each labelled image, drawn once and kept beside the plain image "
        "(the paper's extra augmented data); 0: fresh augmentation every epoch",
        ge=0,
        le=20,
    )
    corrections: str = knob(
        "",
        help="a review file made in Inspect or by petbench review: training images to relabel or to leave "
        "out; relative to the recipe's own directory; empty: none",
        max_length=1024,
    )
    extra_labelled: str = knob(
        "",
        help="a folder of more images, such as a generative model's, in sub-folders named as the data set's "
        "classes: they join the labelled training images, never validation or test; relative to the "
        "recipe's own directory; empty: none",
        max_length=1024,
    )
    extra_unlabelled: str = knob(
        "",
        help="a folder of more images of unknown class, at any depth: they join the unlabelled pool and "
        "score nothing (with [pseudo_label]); relative to the recipe's own directory; empty: none",
        max_length=1024,
    )

    @model_validator(mode="after")
    def _each_view_once(self) -> Data:
        views = self.evaluation_views or ()
        if len(set(views)) < len(views):
            raise disagreement("evaluation_views names a view twice", "evaluation_views")
        return self

    @model_validator(mode="after")
    def _one_way_to_validate(self) -> Data:
        ways = ("validation_fraction", "validation_images", "folds", "label_folds")
        said = [key for key in ways if getattr(self, key) is not None]
        if len(said) > 1:
            raise disagreement(f"set {said[0]} or {said[1]}, not both", *said)
        if self.validation == "own" and said:
            raise disagreement(
                f'validation = "own" leaves nothing for {said[0]} to hold out', "validation", said[0]
            )
        if self.validation is not None and not DATASETS[self.dataset].is_own:
            raise disagreement(
                "only a folder or a table has a validation part of its own", "validation", "dataset"
            )
        if self.fold is not None and self.folds is None:
            raise disagreement("fold needs folds", "fold")
        if self.folds is not None and (self.fold or 0) >= self.folds:
            last = self.folds - 1
            raise disagreement(
                f"fold counts from 0, so with folds = {self.folds} it is at most {last}", "fold"
            )
        kind = DATASETS[self.dataset]
        if kind.root and not self.root:
            raise disagreement(f'dataset = "{self.dataset}" needs root, {kind.root}', "root", "dataset")
        if self.target == "species" and not kind.has_species:
            raise disagreement(
                f'a {self.dataset} knows no species: target = "breed" stands for its classes', "target"
            )
        if self.extra_labelled and self.head_crops == "only":
            raise disagreement(
                'head_crops = "only" trains on head boxes alone, and extra images have none',
                "extra_labelled",
                "head_crops",
            )
        return self

    @property
    def class_source(self) -> ClassSource:
        """Where a folder's classes are written."""
        return class_source(self.class_from or "folder:1")

    def held_out_fraction(self, training_images: int) -> float:
        """The share of a training part of so many images that validates, whichever way it was said."""
        if self.validation_images is not None:
            return self.validation_images / training_images
        if self.folds is not None:
            return 1 / self.folds
        return 0.2 if self.validation_fraction is None else self.validation_fraction
