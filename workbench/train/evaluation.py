"""What a network is worth: the numbers of `results.toml`, and validation while it trains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from workbench.dataset.run_data import named_shares
from workbench.loader import Samples
from workbench.pseudo import Selection, logit_offsets, shrunk_shares
from workbench.recipe.offline import Offline
from workbench.runs.results import Evaluation
from workbench.train.network import Network
from workbench.train.out_of_fold import choosing_labels
from workbench.train.setup import Setup

Shares = NDArray[np.float64]
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


def evaluate_probabilities(probabilities: Floats, labels: Ints) -> Evaluation:
    """Every headline number of one split.

    Args:
        probabilities: (N, C) float32, rows sum to 1, N > 0.
        labels: (N,) int64 true classes.
    """
    predicted = probabilities.argmax(axis=1)
    confusion = confusion_matrix(predicted, labels, probabilities.shape[1])
    return Evaluation(
        images=len(labels),
        accuracy=float((predicted == labels).mean()),
        loss=negative_log_likelihood(probabilities, labels),
        macro_f1=macro_f1(confusion),
        top5=top_k_accuracy(probabilities, labels, 5),
        calibration_error=expected_calibration_error(probabilities, labels),
        recall=class_recall(confusion),
        confusion=tuple(tuple(int(n) for n in row) for row in confusion),
    )


def confusion_matrix(predicted: Ints, labels: Ints, classes: int) -> Ints:
    """(C, C) int64 counts; rows are true classes, columns predictions."""
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def class_recall(confusion: Ints) -> tuple[float | None, ...]:
    """Share of each true class that was recognised; None for a class with no image."""
    return tuple(
        float(right / total) if total else None
        for right, total in zip(np.diagonal(confusion), confusion.sum(axis=1), strict=True)
    )


def macro_f1(confusion: Ints) -> float:
    """Mean over classes of 2TP / (2TP + FP + FN); classes neither present nor predicted are left out."""
    true_positive = np.diagonal(confusion).astype(np.float64)
    involved = confusion.sum(axis=0) + confusion.sum(axis=1)  # 2TP + FP + FN
    seen = involved > 0
    return float((2 * true_positive[seen] / involved[seen]).mean())


def top_k_accuracy(probabilities: Floats, labels: Ints, k: int) -> float:
    """Share of images whose true class is among the k most probable; 1.0 when there are at most k classes."""
    if probabilities.shape[1] <= k:
        return 1.0
    best = np.argpartition(-probabilities, k - 1, axis=1)[:, :k]
    return float((best == labels[:, None]).any(axis=1).mean())


def expected_calibration_error(probabilities: Floats, labels: Ints, bins: int = 15) -> float:
    """Mean over equal-width bins of |accuracy - confidence|, by bin size (Guo et al. 2017, Eq. 3)."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    # Bins are (low, high], so a confidence of exactly 1 falls into the last one.
    index = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    counts = np.bincount(index, minlength=bins)
    gaps = np.bincount(index, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / counts.sum())


def negative_log_likelihood(
    probabilities: Floats, labels: Ints, weights: NDArray[np.float64] | None = None
) -> float:
    """Mean −log p(true class), in nats, by weights that sum to 1; probabilities are floored at 1e-12."""
    of_truth = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    losses = -np.log(np.maximum(of_truth, 1e-12))
    return float(losses.mean() if weights is None else weights @ losses)


@dataclass(frozen=True, slots=True)
class Validation:
    """What the validation images say of a network."""

    loss: float
    accuracy: float
    confusion: list[list[int]]
    """Images of each true class (rows) by prediction (columns)."""
    images: int
    """That the accuracy is of; where they are weighted, of as many equal ones (1/Σw², Kish 1965)."""
    probabilities: NDArray[np.float32]
    """(V, C) of the images."""


def validate(
    network: Network,
    module: nn.Module,
    positions: NDArray[np.int64],
    *,
    trunk_fixed: bool,
    task: str,
    met: NDArray[np.float64] | None = None,
) -> Validation:
    """Evaluate `module`, the network's classifier, an average of it, or a head.

    Args:
        positions: (V,) the images: the validation part, or a fold that is judged.
        task: what the reporter calls it.
        met: (C,) shares of the classes to weigh the images for; None: they count alike.
    """
    evaluated = network.evaluated(module, trunk_fixed=trunk_fixed)
    probabilities = network.probabilities(positions, evaluated, task=task)
    return validation_of(probabilities, network.setup.taught[positions], met)


def validation_of(
    probabilities: NDArray[np.float32], labels: NDArray[np.int64], met: NDArray[np.float64] | None
) -> Validation:
    """What (V, C) probabilities of images of these (V,) classes are worth; `met` as above."""
    predicted = probabilities.argmax(axis=1)
    right = predicted == labels
    confusion = confusion_matrix(predicted, labels, probabilities.shape[1]).tolist()
    if met is None:
        loss = negative_log_likelihood(probabilities, labels)
        return Validation(loss, float(right.mean()), confusion, len(labels), probabilities)
    weights = image_weights(labels, met)
    return Validation(
        loss=negative_log_likelihood(probabilities, labels, weights),
        accuracy=min(1.0, float(weights @ right)),
        confusion=confusion,
        images=round(1 / float(weights @ weights)),
        probabilities=probabilities,
    )


def image_weights(labels: NDArray[np.int64], met: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) weights that sum to 1 and give each class its share of `met`, among those that have an image.

    Args:
        labels: (N,) true classes, N > 0.
    """
    counts = np.bincount(labels, minlength=len(met))
    weights: NDArray[np.float64] = (met / np.maximum(counts, 1))[labels]
    total = float(weights.sum())
    return weights / total if total > 0 else np.full(len(labels), 1 / len(labels))


NO_OFFSET = 1e-4
"""Offsets up to here are rounding: the loss is left as it is."""


def shares_met(setup: Setup, selection: Selection | None) -> Shares | None:
    """(C,) `pseudo_label.target_prior`; None where nothing is said of it, or not yet.

    Args:
        selection: of the round, whose pool's expected mixture is what "pool" means.
    """
    knobs = setup.recipe.pseudo_label
    if not isinstance(knobs, Offline) or knobs.target_prior == "off":
        return None
    classes = len(setup.classes)
    match knobs.target_prior:
        case "uniform":
            return np.full(classes, 1 / classes)
        case "pool":
            if selection is None:
                return None
            return np.full(classes, 1 / classes) if selection.prior is None else selection.prior
        case "validation":
            return shrunk_shares(np.bincount(choosing_labels(setup), minlength=classes))
        case dict():
            return named_shares(knobs.target_prior, setup.classes, "pseudo_label.target_prior")


def shares_to_choose_by(setup: Setup, selection: Selection | None) -> Shares | None:
    """(C,) what the validation images are weighted for when models are chosen; None: they count alike."""
    knobs = setup.recipe.pseudo_label
    if not isinstance(knobs, Offline) or knobs.target_prior == "validation":
        return None
    return shares_met(setup, selection)


def loss_offsets(
    setup: Setup, selection: Selection, samples: Samples, labelled: int
) -> NDArray[np.float32] | None:
    """(C,) float32 what a student's loss adds to the logits, so that it learns for the mixture it will meet.

    Args:
        labelled: how many of the samples, the first ones, are labelled.

    Returns: None: nothing.
    """
    met = shares_met(setup, selection)
    if met is None:
        return None
    classes = len(setup.classes)
    taught = samples.targets.take(np.arange(labelled)).totals(samples.weights[:labelled])
    # Of the pool what it is expected to be: what a rule has chosen so far is the easy classes first. Rows
    # that only rule classes out teach no mixture.
    covered = taught > 0
    prior = (np.full(classes, 1 / classes) if selection.prior is None else selection.prior) * covered
    if selection.class_weights is not None:
        prior = prior * selection.class_weights
    taught += prior / prior.sum() * float(samples.weights[labelled:][selection.positive].sum())
    offsets = logit_offsets(taught, met)
    return None if np.abs(offsets).max() < NO_OFFSET else offsets
