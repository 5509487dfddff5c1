"""How far a model's confidence can be believed: temperature, calibration error, reliability diagram.

One number is fitted on the validation images, the temperature (Guo et al. 2017): logits are divided by it, so
that of images named with 80 % confidence 80 % are right. It never changes which class is the most probable.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.runs.layout import RunDirectory
from workbench.runs.predictions import Predictions, load_predictions
from workbench.runs.results import Calibration, Evaluated, Results
from workbench.support.errors import UserError

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

BINS = 15
"""Of a reliability diagram, as many as Guo et al. 2017 have; of equal mass, so that none is nearly empty."""
_LEAST_IMAGES = 10
"""In a bin: the accuracy of fewer says nothing, and there are fewer bins instead."""
_COLDEST, _HOTTEST = 0.05, 20.0
_MOST = 8_000_000
"""Probabilities that a temperature is fitted to, for one number: 8,000 images of a thousand classes."""


@dataclass(frozen=True, slots=True)
class Bin:
    """Images of like confidence, and how many of them are named rightly."""

    low: float
    """The least confidence among them."""
    high: float
    images: int
    confidence: float
    """The mean over them."""
    accuracy: float

    def bar(self, width: int) -> str:
        """The accuracy as a bar of `width` cells, with a stroke where the confidence is."""
        cells = list("█" * round(self.accuracy * width)) + [" "] * width
        cells[min(width - 1, round(self.confidence * width))] = "│"
        return "".join(cells[:width])


@dataclass(frozen=True, slots=True)
class Reliability:
    """The reliability diagram of a model on its validation images, as it is believed with its temperature."""

    calibration: Calibration
    bins: tuple[Bin, ...]


def tempered(probabilities: Floats, temperature: float) -> Floats:
    """(K, C) float32 proportional to p^(1/T): softer above T = 1, sharper below."""
    logits = np.log(np.maximum(probabilities.astype(np.float64), 1e-30)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    targets: Floats = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return targets


def fit_temperature(probabilities: Floats, labels: Ints) -> float:
    """The T in [0.05, 20] at which p^(1/T), made to sum to 1, has the least negative log-likelihood.

    Temperature scaling (Guo et al. 2017), for validation images only. The likelihood is convex in 1/T, so a
    golden-section search over it finds the one minimum, to within 0.1 %.

    Args:
        probabilities: (V, C) float32.
        labels: (V,) int64 true classes.
    """

    def loss(inverse: float) -> float:
        shares = tempered(probabilities, 1 / inverse)[np.arange(len(labels)), labels]
        return float(-np.log(np.maximum(shares.astype(np.float64), 1e-30)).mean())

    golden = (np.sqrt(5) - 1) / 2
    low, high = 1 / _HOTTEST, 1 / _COLDEST
    while high - low > 1e-3 * low:
        left, right = high - golden * (high - low), low + golden * (high - low)
        if loss(left) <= loss(right):
            high = right
        else:
            low = left
    return 2 / (low + high)


def believed_temperature(probabilities: Floats, labels: Ints) -> float:
    """The temperature that confidences are told with: the fitted one, or 1 where the images tell none.

    Where every one of them is named rightly, the colder the likelier without end.
    """
    if (probabilities.argmax(axis=1) == labels).all():
        return 1.0
    step = max(1, probabilities.size // _MOST)
    return fit_temperature(probabilities[::step], labels[::step])


def confidences(probabilities: Floats) -> NDArray[np.float64]:
    """(N,) float64 of the most probable class."""
    sure: NDArray[np.float64] = probabilities.max(axis=1).astype(np.float64)
    return sure


def bins_of(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> tuple[Bin, ...]:
    """At most `BINS` bins of as many images each, least sure first; fewer where there are few images.

    Args:
        confidence: (N,), N > 0.
        right: (N,) whether each is named rightly.
    """
    order = np.argsort(confidence, kind="stable")
    count = min(BINS, max(1, len(order) // _LEAST_IMAGES))
    parts = ((confidence[rows], right[rows]) for rows in np.array_split(order, count))
    return tuple(
        Bin(float(sure[0]), float(sure[-1]), len(sure), float(sure.mean()), float(good.mean()))
        for sure, good in parts
    )


def calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Expected calibration error over those bins: the mean of |accuracy − confidence| by their images."""
    bins = bins_of(confidence, right)
    return sum(one.images * abs(one.accuracy - one.confidence) for one in bins) / len(confidence)


def _error(said: Predictions, temperature: float) -> float:
    right = said.probabilities.argmax(axis=1) == said.labels
    return calibration_error(confidences(tempered(said.probabilities, temperature)), right)


def calibration_of(val: Predictions, test: Predictions | None) -> Calibration:
    """What validation images of known labels say of a model's confidence."""
    temperature = believed_temperature(val.probabilities, val.labels)
    return Calibration(
        temperature=temperature,
        images=len(val.ids),
        val_error_before=_error(val, 1.0),
        val_error=_error(val, temperature),
        test_error_before=None if test is None else _error(test, 1.0),
        test_error=None if test is None else _error(test, temperature),
    )


def calibration_from(run: RunDirectory, model: Evaluated | None = None) -> Calibration | None:
    """The calibration of one of a finished run's models, from its predictions; None where they are lost.

    Args:
        model: None is the final one.
    """
    names = [split if model is None else model.predictions(split) for split in ("val", "test")]
    val, test = (known_predictions(run, name) for name in names)
    return None if val is None else calibration_of(val, test)


def known_predictions(run: RunDirectory, name: str) -> Predictions | None:
    """What a run keeps of a split, of images whose truth is known; None where that is lost or damaged."""
    try:
        found = load_predictions(run.predictions(name)).of_known_label()
    except (FileNotFoundError, UserError):
        return None
    return found if found.ids else None


def reliability_of(run: RunDirectory, results: Results) -> Reliability | None:
    """The diagram of a finished run's final model; None where its validation predictions are lost."""
    val = known_predictions(run, "val")
    if val is None:
        return None
    calibration = results.calibration or calibration_of(val, known_predictions(run, "test"))
    return reliability_at(val, calibration)


def reliability_at(val: Predictions, calibration: Calibration) -> Reliability:
    """The diagram of validation images of known labels, at a temperature that is known."""
    right = val.probabilities.argmax(axis=1) == val.labels
    return Reliability(
        calibration, bins_of(confidences(tempered(val.probabilities, calibration.temperature)), right)
    )
