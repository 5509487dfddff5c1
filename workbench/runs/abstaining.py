"""When a model should rather not say: a threshold that keeps a promise, and sets of classes for the rest.

Both are read off the validation images (or, in folds, off what models say of labelled images that they did
not learn), and both hold for images that are exchangeable with these: other photographs of the same kind,
not those of another camera or of something else. They also chose the model's epoch, which makes them a
little too good.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from workbench.runs.calibration import believed_temperature, confidences, tempered
from workbench.runs.intervals import error_bound, share_words
from workbench.runs.predictions import Predictions
from workbench.support.errors import UserError
from workbench.support.units import given_percent

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

RISK = 0.05
"""The chance, over all validation sets that might have been drawn, that a promise does not hold."""
TRIED = 10
"""Thresholds: those that a tenth, two tenths … of the validation images reach."""
UNSURE = "unsure"


@dataclass(frozen=True, slots=True)
class Threshold:
    """A confidence, and what validation says of images that are at least so sure."""

    confidence: float
    images: int
    """Validation images that reach it."""
    of: int
    wrong: int
    """Of those that reach it."""
    promised: float
    """So many are right at least, but for `RISK` over all thresholds together."""

    def words(self, judged_by: str) -> str:
        """`612 of 736 validation images are at least 0.87 sure, 5 of them wrong: right 99.18 % (…)`.

        Args:
            judged_by: `Results.judged_by`.
        """
        right = share_words((self.images - self.wrong) / self.images, self.images)
        if not self.confidence:
            return f"of all {self.of:,} {judged_by} {self.wrong:,} are named wrongly: right {right}"
        return (
            f"{self.images:,} of {self.of:,} {judged_by} are at least {self.confidence:.4g} sure, "
            f"{self.wrong:,} of them wrong: right {right}"
        )


def thresholds_of(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> tuple[Threshold, ...]:
    """What is promised at each of `TRIED` thresholds, the fewest images first; all promises hold together.

    Selection with guaranteed risk (Geifman and El-Yaniv 2017), with the errors' one-sided Clopper-Pearson
    bound at `RISK` / `TRIED`: which thresholds are tried is settled by the number of images alone, before
    any error is seen, so that whichever one is taken keeps its promise.

    Args:
        confidence: (N,) of the validation images, N > 0.
        right: (N,) whether each is named rightly.
    """
    order = np.argsort(-confidence, kind="stable")
    sure, errors = confidence[order], np.cumsum(~right[order])
    found = {}
    for tenth in range(1, TRIED + 1):
        count = -(-len(sure) * tenth // TRIED)
        count = int(np.searchsorted(-sure, -sure[count - 1], side="right"))  # with all that are as sure
        # The least that the next one does not reach: given that one, these are a plain sample of all above
        # it.
        least = 0.0 if count == len(sure) else float(np.nextafter(sure[count], np.inf))
        wrong = int(errors[count - 1])
        promised = 1 - error_bound(wrong, count, RISK / TRIED)
        found[count] = Threshold(least, count, len(sure), wrong, promised)
    return tuple(found.values())


def smallest(tried: Sequence[Threshold], sure: float) -> Threshold | None:
    """The smallest threshold that promises `sure`; None: none does."""
    return max((one for one in tried if one.promised >= sure), key=lambda one: one.images, default=None)


def threshold_for(tried: Sequence[Threshold], sure: float, judged_by: str) -> Threshold:
    """The smallest threshold that promises `sure`.

    Args:
        judged_by: `Results.judged_by`.

    Raises:
        UserError: none does; it says what can be promised.
    """
    found = smallest(tried, sure)
    if found is not None:
        return found
    best = max(tried, key=lambda one: one.promised)
    told = math.floor(1000 * best.promised) / 1000
    comma = "," if "," in judged_by else ""
    raise UserError(
        f"{best.of:,} {judged_by}{comma} cannot promise {percent_words(sure)}: the best is "
        f"{percent_words(told)} ({best.words(judged_by)})",
        where=f"--sure {sure:g}",
        hint=f"--sure {told:g} promises that; more labelled images promise more"
        if told > 0
        else "label more images",
    )


PROMISES = (0.9, 0.95, 0.99)
"""Shares of right answers that an exported model is told with, where validation promises them."""


@dataclass(frozen=True, slots=True)
class Promise:
    """A share of right answers, and from which confidence on it is promised; None: from none."""

    sure: float
    threshold: Threshold | None


def promises_of(said: Predictions, temperature: float) -> tuple[Promise, ...]:
    """What validation images of known labels promise of `PROMISES`."""
    right = said.probabilities.argmax(axis=1) == said.labels
    tried = thresholds_of(confidences(tempered(said.probabilities, temperature)), right)
    return tuple(Promise(sure, smallest(tried, sure)) for sure in PROMISES)


def percent_words(share: float) -> str:
    """`99 %`, `99.5 %`: a share that is asked for or promised."""
    return f"{given_percent(share)} %"


@dataclass(frozen=True, eq=False)
class Sets:
    """Split conformal sets of classes: as many as it takes for the true one to be among them that often.

    Scores of adaptive prediction sets (Romano et al. 2020) without randomisation: the mass of all classes
    that the model finds more probable. So a set is never empty, an image always has the same one, and the
    true class is in it at least as often as promised.
    """

    promised: float
    """Chance that a set has the true class: as asked, or less where there are too few images for that."""
    images: int
    """That the quantiles are of."""
    quantiles: NDArray[np.float64]
    """(C,) the highest score of each class that still belongs to a set."""
    by_class: bool
    """Whether every class has its own quantile, and keeps the promise by itself."""

    @classmethod
    def fitted(cls, probabilities: Floats, labels: Ints, level: float) -> Sets:
        """Sets that have the true class with chance `level`, fitted to N > 0 images.

        The quantile is the ⌈(n + 1)·level⌉-th smallest score; of fewer images than that takes, the largest
        score, which promises n / (n + 1). By class where each has enough images for `level`.

        Args:
            probabilities: (N, C), as they will be told.
            labels: (N,) true classes.
        """
        classes = probabilities.shape[1]
        scores = _mass_before(probabilities)[np.arange(len(labels)), labels]
        counts = np.bincount(labels, minlength=classes)
        if all(_rank(count, level) <= count for count in counts.tolist()):
            each = [_quantile(scores[labels == one], level) for one in range(classes)]
            return cls(level, len(labels), np.array(each), True)
        promised = min(level, len(labels) / (len(labels) + 1))
        return cls(promised, len(labels), np.full(classes, _quantile(scores, promised)), False)

    def of(self, probabilities: Floats) -> list[tuple[int, ...]]:
        """The set of each of (N, C) probabilities, the most probable class first, which is always in it."""
        order = np.argsort(-probabilities, axis=1, kind="stable")
        inside = _mass_before(probabilities) <= self.quantiles + 1e-9  # rounding
        return [
            tuple(one for place, one in enumerate(row) if not place or kept[one])
            for row, kept in zip(order.tolist(), inside.tolist(), strict=True)
        ]


def _mass_before(probabilities: Floats) -> NDArray[np.float64]:
    """(N, C) float64: of each class the mass of the more probable ones; of equals the first goes first."""
    order = np.argsort(-probabilities, axis=1, kind="stable")
    ranked = np.take_along_axis(probabilities.astype(np.float64), order, axis=1)
    before = np.cumsum(ranked, axis=1) - ranked
    mass = np.empty_like(before)
    np.put_along_axis(mass, order, before, axis=1)
    return mass


def _rank(images: int, level: float) -> int:
    """⌈(n + 1)·level⌉, of the level as it is written: 0.95 of 20 is 19."""
    return math.ceil((images + 1) * Fraction(level).limit_denominator(10**9))


def _quantile(scores: NDArray[np.float64], level: float) -> float:
    rank = min(len(scores), _rank(len(scores), level))
    return float(np.sort(scores)[rank - 1])


@dataclass(frozen=True, slots=True)
class Said:
    """What a model says of an image, and whether that is to be believed."""

    best: int
    """The most probable class, which no temperature changes."""
    confidence: float
    is_sure: bool
    among: tuple[int, ...]
    """Where it is not sure: the classes that it may be, the most probable first."""
    probabilities: Floats
    """(C,) at the temperature."""


@dataclass(frozen=True, eq=False)
class Judgement:
    """How a model's word is told: at which temperature, from which confidence on, and what of the rest."""

    temperature: float
    sure: float | None = None
    """The share of right answers that is promised above the threshold."""
    threshold: Threshold | None = None
    sets: Sets | None = None
    """None where all images are sure, or nothing is promised."""

    @classmethod
    def from_validation(
        cls,
        said: Predictions,
        *,
        temperature: float | None = None,
        sure: float | None = None,
        judged_by: str = "validation images",
    ) -> Judgement:
        """What validation images, some of whose labels are known, say of it.

        Sets are fitted to those images alone that are below the threshold, as they are told of such.

        Args:
            temperature: None is fitted.
            sure: None promises nothing.
            judged_by: `Results.judged_by`, for what is said where they cannot.

        Raises:
            UserError: they cannot promise that much.
        """
        known = said.of_known_label()
        if not known.ids:
            raise UserError(f"none of the {judged_by} has a label", where="--sure")
        if temperature is None:
            temperature = believed_temperature(known.probabilities, known.labels)
        if sure is None:
            return cls(temperature)
        shares = tempered(known.probabilities, temperature)
        confidence = confidences(shares)
        right = known.probabilities.argmax(axis=1) == known.labels
        threshold = threshold_for(thresholds_of(confidence, right), sure, judged_by)
        rest = confidence < threshold.confidence
        sets = Sets.fitted(shares[rest], known.labels[rest], sure) if rest.any() else None
        return cls(temperature, sure, threshold, sets)

    def of(self, probabilities: Floats) -> list[Said]:
        """What to say of each of (N, C) probabilities, as the model gives them."""
        best = probabilities.argmax(axis=1).tolist()
        shares = tempered(probabilities, self.temperature)
        confidence = confidences(shares).tolist()
        least = 0.0 if self.threshold is None else self.threshold.confidence
        among = [() for _ in best] if self.sets is None else self.sets.of(shares)
        return [
            Said(one, sure, sure >= least, () if sure >= least else few, row)
            for one, sure, few, row in zip(best, confidence, among, shares, strict=True)
        ]

    def words(self, judged_by: str) -> list[str]:
        """For people: the threshold with what it rests on, and what the sets promise.

        Args:
            judged_by: `Results.judged_by`.
        """
        told = [f"confidences at temperature {self.temperature:.3f}, as {judged_by} have it"]
        if self.threshold is None or self.sure is None:
            return told
        told.append(
            f"{self.threshold.words(judged_by)}; so {percent_words(self.sure)} is promised, with "
            f"{percent_words(1 - RISK)} confidence over the {TRIED} thresholds tried"
        )
        if self.sets is None:
            told.append("every picture is sure enough")
        else:
            told += self._set_words(self.sets, self.sure)
        told.append("this holds for pictures like those, not for another camera's or of something else")
        return told

    @staticmethod
    def _set_words(sets: Sets, sure: float) -> Iterator[str]:
        yield (
            f"the others are {UNSURE}, each with classes that have the true one among them "
            f"{percent_words(sets.promised)} of the time"
            + (", whichever it is" if sets.by_class else " on average")
            + f" (by the {sets.images:,} below the threshold)"
        )
        if sets.promised < sure:
            yield f"these {sets.images:,} are too few for sets that promise {percent_words(sure)}"
