"""[data]: which images, what is predicted, how they are divided."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from workbench.recipe.fields import EvaluationViews, Fraction, Table, disagreement, knob


class Data(Table):
    """Which images exist for the run, what is predicted of them, and how they are divided."""

    dataset: Literal["oxford-iiit-pet", "sample", "folder"] = knob(
        "oxford-iiit-pet",
        help="the Oxford set in its official layout, the built-in procedural sample, or class sub-folders",
    )
    root: str = knob(
        "",
        help="where the images lie, relative to the recipe's own directory; empty: the data home (folder "
        "data sets need a path)",
        max_length=1024,
    )
    target: Literal["breed", "species"] = knob(
        "breed", help="breed: every class; species: cat or dog (Oxford and sample only)"
    )
    image_size: int = knob(
        224, help="side of the square that the backbone sees", unit="pixels", ge=32, le=1024
    )
    evaluation_views: EvaluationViews = knob(
        ("centre",),
        help="in which views an image is evaluated, and a frozen trunk's features are taken: centre (the "
        "middle square of 7/8 of the short side), full (of all of it), close (of 3/4), squash (the whole "
        "image, pressed into a square); of several the outputs are averaged, at as many times the cost",
        source="averaging over views: Krizhevsky et al. 2012, Sec. 4.1",
    )
    validation_fraction: Fraction | None = knob(
        None,
        help="share of the training part held out to choose epochs and knobs",
        unset="0.2, or 1/folds",
    )
    validation: Literal["own", "train"] | None = knob(
        None,
        help="what becomes of a folder's own val/ part: own: it validates, and nothing is held out for that; "
        "train: its images join the training part",
        unset="a share of the training part; a folder that has a val/ must say",
        only_if=("dataset", ["folder"]),
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
        help="share held out for the test where a folder has no test part of its own",
        unset="0.2",
        only_if=("dataset", ["folder"]),
    )
    split_seed: int = knob(
        0, help="seed of every division of the data; apart from the run's seed", ge=0, lt=2**63
    )
    head_crops: Literal["off", "add", "only"] = knob(
        "off",
        help="head boxes from the XML files: add them as extra training views, or train on only them; "
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
        if len(set(self.evaluation_views)) < len(self.evaluation_views):
            raise disagreement("evaluation_views names a view twice", "evaluation_views")
        return self

    @model_validator(mode="after")
    def _one_way_to_validate(self) -> Data:
        if self.folds is not None and self.validation_fraction is not None:
            raise disagreement("set validation_fraction or folds, not both", "validation_fraction", "folds")
        if self.validation == "own" and (self.folds is not None or self.validation_fraction is not None):
            key = "folds" if self.folds is not None else "validation_fraction"
            raise disagreement(f'validation = "own" leaves nothing for {key} to hold out', "validation", key)
        if self.validation is not None and self.dataset != "folder":
            raise disagreement("only a folder has a validation part of its own", "validation", "dataset")
        if self.fold is not None and self.folds is None:
            raise disagreement("fold needs folds", "fold")
        if self.folds is not None and (self.fold or 0) >= self.folds:
            last = self.folds - 1
            raise disagreement(
                f"fold counts from 0, so with folds = {self.folds} it is at most {last}", "fold"
            )
        if self.dataset == "folder" and not self.root:
            raise disagreement(
                'dataset = "folder" needs root, the directory that holds the class sub-folders',
                "root",
                "dataset",
            )
        if self.dataset == "folder" and self.target == "species":
            raise disagreement(
                'a folder knows no species: target = "breed" stands for its class sub-folders', "target"
            )
        if self.extra_labelled and self.head_crops == "only":
            raise disagreement(
                'head_crops = "only" trains on head boxes alone, and extra images have none',
                "extra_labelled",
                "head_crops",
            )
        return self

    @property
    def held_out_fraction(self) -> float:
        """The share of the training part that validates, whichever way it was said."""
        if self.folds is not None:
            return 1 / self.folds
        return 0.2 if self.validation_fraction is None else self.validation_fraction
