"""The pool of unlabelled images as the teacher sees it, and what a rule selects from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict

from workbench.pseudo.neighbours import Search, nearest_others
from workbench.recipe.offline import Taught
from workbench.runs.calibration import tempered

Voter = Literal["propagation", "prototypes"]
"""Who may vote beside the teacher, by the knob that says its share."""


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
        unheard: who has no vote in this run, whatever share the knobs say.
        search: finds neighbours among features.
        recall: share of the true neighbours that what is believed of the pool went by.
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
    unheard: tuple[Voter, ...] = ()
    search: Search = nearest_others
    recall: float = 1.0

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
        class_weights: (C,) float64, what an image of each class weighs besides: in `weights` already, of a
            labelled image in place of the recipe's class weights; None: those.
        unheard: who has no vote, from the first round on.
        recall: as the pool's.
    """

    __pydantic_config__ = ConfigDict(arbitrary_types_allowed=True)

    rows: NDArray[np.int64]
    targets: NDArray[np.float32]
    weights: NDArray[np.float32]
    labelled_weight: float = 1.0
    marginal: NDArray[np.float64] | None = None
    prior: NDArray[np.float64] | None = None
    class_weights: NDArray[np.float64] | None = None
    unheard: tuple[Voter, ...] = ()
    recall: float = 1.0

    @property
    def positive(self) -> NDArray[np.bool_]:
        """(K,) bool, the rows that say what an image is, not what it is not."""
        says: NDArray[np.bool_] = self.targets.max(axis=1, initial=0.0) > 0
        return says


def hard_targets(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """(K, C) one-hot float32 of each row's first choice."""
    targets: NDArray[np.float32] = np.eye(probabilities.shape[1], dtype=np.float32)[
        probabilities.argmax(axis=1)
    ]
    return targets


def soft_targets(probabilities: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """(K, C) float32 targets: the teacher's word at a temperature (Hinton et al. 2015)."""
    return tempered(probabilities, temperature)


def certainty(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """(K,) float32 1 − H(p)/log C: 1 for one sure class, 0 for all alike (Iscen et al. 2019, eq. 11)."""
    p = probabilities.astype(np.float64)
    entropy = -(p * np.log(np.maximum(p, 1e-30))).sum(axis=1)
    sure: NDArray[np.float32] = np.clip(1 - entropy / np.log(p.shape[1]), 0, 1).astype(np.float32)
    return sure


def inverse_frequency(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """(C,) float64 ζ ∝ 1/counts, 1 on an average of the images counted; 1 for a class without any."""
    present = counts > 0
    weights: NDArray[np.float64] = np.where(
        present, counts.sum() / (max(1, present.sum()) * np.maximum(counts, 1)), 1.0
    )
    return weights


def selection_of(
    pool: Pool,
    rows: NDArray[np.int64],
    knobs: Taught,
    *,
    labelled_weight: float = 1.0,
    weights: NDArray[np.float32] | None = None,
) -> Selection:
    """The selection of `rows` with the targets and weights that `knobs` asks for.

    Args:
        weights: (U,) float32, what each image of the pool weighs beside `pseudo_weight`; None: 1.
    """
    rows = np.sort(rows)
    chosen = pool.probabilities[rows]
    targets = soft_targets(chosen, knobs.temperature) if knobs.targets == "soft" else hard_targets(chosen)
    each = np.full(len(rows), knobs.pseudo_weight, dtype=np.float32)
    if weights is not None:
        each *= weights[rows]
    return Selection(rows=rows, targets=targets, weights=each, labelled_weight=labelled_weight)
