"""The pool of unlabelled images as the teacher sees it, and what a rule selects from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Pool:
    """What a rule may know. No true label of the pool is in it.

    Attributes:
        probabilities: (U, C) float32, the teacher's softmax output, rows sum to 1.
        labelled_counts: (C,) int64, labelled images a class, for priors.
    """

    probabilities: NDArray[np.float32]
    labelled_counts: NDArray[np.int64]

    @property
    def confidence(self) -> NDArray[np.float32]:
        """(U,) float32, the highest probability of each image."""
        highest: NDArray[np.float32] = self.probabilities.max(axis=1)
        return highest

    @property
    def predicted(self) -> NDArray[np.int64]:
        """(U,) int64, the class with the highest probability; ties take the lower class."""
        first: NDArray[np.int64] = self.probabilities.argmax(axis=1)
        return first


@dataclass(frozen=True, slots=True)
class Selection:
    """Which images of the pool train the student in a round, with what targets.

    Attributes:
        rows: (K,) int64 ascending rows of the pool.
        targets: (K, C) float32, rows sum to 1.
        weights: (K,) float32, weight of each image in the loss.
        labelled_weight: weight of every labelled image beside them.
    """

    rows: NDArray[np.int64]
    targets: NDArray[np.float32]
    weights: NDArray[np.float32]
    labelled_weight: float = 1.0
