"""Choosing without validation images: each labelled image is judged by models that it did not teach.

The whole plan is trained once a fold on a frozen trunk's features, which takes seconds, and says after every
epoch what it makes of the images of its fold. The run itself then trains on all labels and looks up there
what each epoch is worth. In a fold nothing may be chosen by the images that are to be judged: they are in no
part of its split, a stage keeps its last epoch, and the latest student teaches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict

from workbench.dataset.split import label_folds, without_fold
from workbench.train.setup import Setup

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class OutOfFold:
    """What the models of the other folds say of each labelled image; extra ones never choose."""

    __pydantic_config__ = ConfigDict(arbitrary_types_allowed=True)

    said: dict[str, Floats]
    """A stage's label -> (E, L, C) float32 probabilities after each of its epochs; rows sum to 1."""

    def after(self, stage: str, epoch: int) -> Floats:
        """(L, C) float32, of an epoch counted from 1."""
        found: Floats = self.said[stage][epoch - 1]
        return found


def choosing_labels(setup: Setup) -> Ints:
    """(V,) classes of the images that choose: the validation part, or the labelled ones themselves.

    Within a fold, of the labelled images that teach there: those that it is to judge are not known.
    """
    if setup.recipe.data.label_folds is None:
        validation: Ints = setup.labels[setup.split.validation]
        return validation
    own: Ints = setup.taught[setup.own_labelled]
    return own


def choosing_images(setup: Setup) -> int:
    """How many images choose."""
    return len(choosing_labels(setup))


@dataclass(frozen=True, slots=True)
class Fold:
    """Labelled images that are kept from a training to be judged by it; their labels decide nothing there."""

    positions: Ints
    """(K,) of the catalogue."""
    hear: Callable[[str, int, Floats], None]
    """Takes a stage's label, an epoch, and what it makes of the images, (K, C) float32."""


def judge_by_folds(
    setup: Setup, train: Callable[[Setup, Fold], None], done: Callable[[int], None]
) -> OutOfFold:
    """Train the plan in every fold and gather what it says of the images that it did not learn.

    Args:
        train: trains the whole plan on a setup without the images of a fold, and tells of each epoch.
        done: is told how many folds are.
    """
    folds = setup.recipe.data.label_folds
    assert folds is not None  # whoever asks has looked
    judged = setup.own_labelled
    parts = label_folds(setup.catalogue, judged, setup.taught[judged], setup.recipe.data)
    stages: dict[str, dict[int, Floats]] = {}
    for fold in range(folds):
        here = parts == fold
        if not here.any():
            continue

        def take(stage: str, epoch: int, probabilities: Floats, here: NDArray[np.bool_] = here) -> None:
            whole = stages.setdefault(stage, {}).setdefault(
                epoch, np.zeros((len(judged), probabilities.shape[1]), np.float32)
            )
            whole[here] = probabilities

        within = without_fold(setup.catalogue, setup.split, judged[here])
        train(replace(setup, split=within), Fold(judged[here], take))
        done(fold + 1)
    return OutOfFold({name: np.stack([said[e] for e in sorted(said)]) for name, said in stages.items()})
