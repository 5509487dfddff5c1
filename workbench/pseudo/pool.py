"""The pool of unlabelled images as the teacher sees it, and what a rule selects from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Passes:
    """Mean and standard deviation over noisy passes of the teacher (MC dropout, Gal and Ghahramani 2016).

    Attributes:
        mean, spread: (U, C) float32 of the probabilities.
        tempered_mean, tempered_spread: (U, C) float32 likewise, at the negative labels' temperature.
    """

    mean: NDArray[np.float32]
    spread: NDArray[np.float32]
    tempered_mean: NDArray[np.float32]
    tempered_spread: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Pool:
    """What a rule may know. No true label of the pool is in it.

    Attributes:
        probabilities: (U, C) float32, what is believed of each image, rows sum to 1: the teacher's softmax
            output, or what `judge` made of it.
        labelled_counts: (C,) int64, labelled images a class, for priors.
        features: (U, D) float32 of the teacher's trunk, where the rule needs them.
        labelled_features: (L, D) float32, likewise.
        labels: (L,) int64 classes of the labelled images, likewise.
        passes: the teacher's noisy passes, where the rule needs them.
        reached: (U,) bool, the images of which `probabilities` says anything; None: all.
        marginal: (C,) float64, the average class share that distribution alignment keeps between rounds.
        prior: (C,) float64, the expected share of each class; None: all alike.
    """

    probabilities: NDArray[np.float32]
    labelled_counts: NDArray[np.int64]
    features: NDArray[np.float32] | None = None
    labelled_features: NDArray[np.float32] | None = None
    labels: NDArray[np.int64] | None = None
    passes: Passes | None = None
    reached: NDArray[np.bool_] | None = None
    marginal: NDArray[np.float64] | None = None
    prior: NDArray[np.float64] | None = None

    @property
    def class_prior(self) -> NDArray[np.float64]:
        """(C,) float64, the expected share of each class; they sum to 1."""
        classes = self.probabilities.shape[1]
        uniform: NDArray[np.float64] = np.full(classes, 1 / classes)
        return uniform if self.prior is None else self.prior

    @property
    def labelled_prior(self) -> NDArray[np.float64]:
        """The same among classes with a label; 0 for one without, as nothing tells what it looks like.

        Without any label at all every class has its share.
        """
        known = self.labelled_counts > 0
        if not known.any():
            return self.class_prior
        among = self.class_prior * known
        shares: NDArray[np.float64] = among / among.sum()
        return shares

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
    """Which images of the pool train the student in a round, with what targets; the rules' state.

    Attributes:
        rows: (K,) int64 ascending rows of the pool; a row may repeat.
        targets: (K, C) float32. A row of probabilities sums to 1. A row that rules classes out holds
            −1/n for each of its n negative labels, else 0, and sums to −1.
        weights: (K,) float32, weight of each image in the loss.
        labelled_weight: weight of every labelled image beside them.
        marginal: (C,) float64, kept for the next round's distribution alignment; None without it.
        prior: (C,) float64, the pool's class shares that the rule expected; None where it expected none.
    """

    rows: NDArray[np.int64]
    targets: NDArray[np.float32]
    weights: NDArray[np.float32]
    labelled_weight: float = 1.0
    marginal: NDArray[np.float64] | None = None
    prior: NDArray[np.float64] | None = None

    @property
    def positive(self) -> NDArray[np.bool_]:
        """(K,) bool, the rows that say what an image is, not what it is not."""
        says: NDArray[np.bool_] = self.targets.max(axis=1, initial=0.0) > 0
        return says
