"""The model that learns along: a head on kept features, fitted anew in a moment as labels come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workbench.labels.journal import NO_CLASS, NO_CLASSES, Journal
from workbench.train.ridge_head import RidgeHead, fit_head, standard_of

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
UNLABELLED, SET_ASIDE = -1, -2
"""In place of a class: nobody has said anything; somebody said that it has none."""
_WARM_STEPS = 12
"""Of LBFGS from the head of a few labels ago; from zeros it takes `ridge_head.STEPS`."""


@dataclass(frozen=True, eq=False)
class Labels:
    """A journal laid over the images of a folder."""

    names: tuple[str, ...]
    """C classes that have images, in the order in which they were first said."""
    of: Ints
    """(N,) a class's number, UNLABELLED or SET_ASIDE, by image."""

    @property
    def labelled(self) -> Ints:
        """(L,) ascending rows of the images that have a class."""
        return np.flatnonzero(self.of >= 0)

    @property
    def free(self) -> NDArray[np.bool_]:
        """(N,) whether nobody has said anything of an image."""
        found: NDArray[np.bool_] = self.of == UNLABELLED
        return found

    @property
    def counts(self) -> Ints:
        """(C,) images of each class."""
        return np.bincount(self.of[self.of >= 0], minlength=len(self.names))


def labels_of(journal: Journal, paths: Sequence[str]) -> Labels:
    """What the journal says of these images; what it says of others teaches nothing."""
    said = [journal.current[path].class_name if path in journal.current else NO_CLASS for path in paths]
    having = set(said) - NO_CLASSES
    names = tuple(name for name in journal.classes if name in having)
    numbers = {name: number for number, name in enumerate(names)} | {NO_CLASS: UNLABELLED}
    return Labels(names, np.array([numbers.get(name, SET_ASIDE) for name in said], dtype=np.int64))


class Learner:
    """The head of the labels so far, and what it says of every image.

    Args:
        features: (N, D) float32.
    """

    def __init__(self, features: Floats) -> None:
        table = torch.from_numpy(features)
        self.inputs: Tensor = standard_of(table)(table)
        """(N, D) of the folder's own mean and spread, whatever is labelled."""
        self._head: RidgeHead | None = None
        self._names: tuple[str, ...] = ()
        self.probabilities: Floats | None = None
        """(N, C) float32 by the names of the labels that were learned last; None before two classes."""

    @property
    def names(self) -> tuple[str, ...]:
        """The classes that the head knows."""
        return self._names if self.probabilities is not None else ()

    def learn(self, labels: Labels) -> None:
        """Fit the head to these labels, from what it was where the classes are the same."""
        if len(labels.names) < 2:
            self._head, self._names, self.probabilities = None, (), None
            return
        known = self._head is not None and self._names == labels.names
        rows = labels.labelled
        self._head = fit_balanced(
            self.inputs[torch.from_numpy(rows)],
            labels.of[rows],
            len(labels.names),
            start=self._head if known else None,
            steps=_WARM_STEPS if known else None,
        )
        self._names = labels.names
        self.probabilities = torch.softmax(self._head.logits(self.inputs), dim=1).numpy()


def fit_balanced(
    inputs: Tensor, targets: Ints, classes: int, *, start: RidgeHead | None = None, steps: int | None = None
) -> RidgeHead:
    """A head for which all classes count alike: how often one was labelled is no sign of how often it is.

    Args:
        inputs: (L, D) standardised.
        targets: (L,) in 0 … C - 1.
    """
    counts = np.bincount(targets, minlength=classes)
    weights = 1 / counts[targets]
    scaled = torch.from_numpy((weights / weights.mean()).astype(np.float32))
    return fit_head(
        inputs,
        torch.from_numpy(targets),
        classes,
        weights=scaled,
        start=start,
        **({} if steps is None else {"steps": steps}),
    )
