"""The same test images under two models: which of them each got right, matched by image and true class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.runs.intervals import Interval, paired_difference
from workbench.runs.predictions import Predictions


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided p of McNemar's exact test.

    Args:
        only_first: images that the first model alone got right.
        only_second: images that the second model alone got right.

    Returns: the chance that a fair coin divides the discordant images at least as unevenly; 1 without any.

    Raises:
        ValueError: a count below nought.
    """
    if only_first < 0 or only_second < 0:
        raise ValueError(f"counts of images cannot be {only_first} and {only_second}")
    discordant = only_first + only_second
    tail = _fair_coin(discordant)[: min(only_first, only_second) + 1]
    return min(1.0, 2.0 * math.fsum(tail.tolist()))


def sign_flip(differences: NDArray[np.int64]) -> float:
    """Two-sided p of the exact randomisation test on the sum of paired differences (Fisher 1935, §21).

    If neither model is better, an image's difference is as likely to be d as −d. The sum's distribution over
    all 2^N signs is a convolution of one binomial a size of difference. For differences of −1, 0 and 1 this
    is `mcnemar`.

    Args:
        differences: (N,) int64, an image's right answers of the second models less those of the first.
    """
    sizes, counts = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    chances = np.ones(1)  # of the sum of the positive differences, over 0 … total
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        spaced = np.zeros(size * count + 1)
        spaced[::size] = _fair_coin(count)
        chances = np.convolve(chances, spaced)
    total = len(chances) - 1
    sums = 2 * np.arange(total + 1) - total
    return min(1.0, math.fsum(chances[np.abs(sums) >= abs(int(differences.sum()))].tolist()))


def _fair_coin(tosses: int) -> NDArray[np.float64]:
    """The chance of 0 … `tosses` heads: (tosses + 1,) float64."""
    log_half = tosses * math.log(0.5)
    whole = math.lgamma(tosses + 1)
    heads = range(tosses + 1)
    logs = [whole - math.lgamma(k + 1) - math.lgamma(tosses - k + 1) + log_half for k in heads]
    return np.exp(np.array(logs, np.float64)).astype(np.float64)


@dataclass(frozen=True, eq=False)
class Answers:
    """What a run's final model said of the test images whose truth is known, by ascending image id."""

    ids: NDArray[np.str_]
    """(N,), each once."""
    true: NDArray[np.str_]
    """(N,) names of classes."""
    said: NDArray[np.str_]
    """(N,) names of classes."""
    classes: frozenset[str]

    @property
    def right(self) -> NDArray[np.bool_]:
        """(N,): whether each was said to be what it is."""
        return np.equal(self.true, self.said)


def answers_of(predictions: Predictions, classes: Sequence[str]) -> Answers:
    """The test predictions of a run by the names of its classes.

    Raises:
        ValueError: the predictions are not of these classes.
    """
    labels, width = predictions.labels, predictions.probabilities.shape[1]
    if width != len(classes) or (len(labels) and labels.max() >= width):
        raise ValueError(f"predictions of {width} classes for {len(classes)} names")
    names = np.array(classes, dtype=np.str_)
    known = np.flatnonzero(labels >= 0)
    ids, first = np.unique(np.array(predictions.ids, dtype=np.str_)[known], return_index=True)
    kept = known[first]
    said = predictions.probabilities[kept].argmax(axis=1)
    return Answers(ids, names[labels[kept]], names[said], frozenset(classes))


@dataclass(frozen=True, slots=True)
class Pair:
    """Two models on the same images, by how many each got right."""

    both: int
    only_first: int
    only_second: int
    neither: int

    @classmethod
    def of(cls, first: NDArray[np.bool_], second: NDArray[np.bool_]) -> Pair:
        """Of (N,) whether each image came out right."""
        counts = np.bincount(2 * first.astype(np.int64) + second, minlength=4).tolist()
        neither, only_second, only_first, both = counts
        return cls(both, only_first, only_second, neither)

    @property
    def p(self) -> float:
        """McNemar's exact two-sided test."""
        return mcnemar(self.only_first, self.only_second)

    @property
    def interval(self) -> Interval:
        """Of the second's accuracy less the first's."""
        return paired_difference(self.both, self.only_first, self.only_second, self.neither)


@dataclass(frozen=True, slots=True)
class PairedTest:
    """One model against another on the images that both were tested on."""

    images: int
    """Answers by both, with the same true class."""
    left_out: int
    """Answers by one only, or with another truth."""
    both_right: int
    only_baseline: int
    """Images that the baseline alone got right."""
    only_run: int
    """Images that the run alone got right."""
    p: float
    """McNemar's exact two-sided test."""
    interval: Interval
    """Of the run's accuracy less the baseline's: 95 %, paired (Newcombe's method 10)."""
    p_holm: float
    """`p` adjusted for all runs that are tested against the baseline (`intervals.holm`)."""

    @property
    def difference(self) -> float:
        """The run's accuracy less the baseline's, on these images."""
        return (self.only_run - self.only_baseline) / self.images


@dataclass(frozen=True, slots=True)
class NotPaired:
    """Why two models cannot be tested against each other."""

    reason: str


def paired_test(baseline: Answers, run: Answers) -> PairedTest | NotPaired:
    """McNemar's test of `run` against `baseline`."""
    if baseline.classes != run.classes:
        return NotPaired("they tell different classes apart")
    here, there, left_out = _shared(baseline, run)
    if not len(here):
        return NotPaired("they share no test image")
    first, second = baseline.right[here], run.right[there]
    pair = Pair.of(first, second)
    return PairedTest(
        images=len(here),
        left_out=left_out,
        both_right=pair.both,
        only_baseline=pair.only_first,
        only_run=pair.only_second,
        p=pair.p,
        p_holm=pair.p,
        interval=pair.interval,
    )


def paired_over_seeds(pairs: Sequence[tuple[Answers, Answers]]) -> float | None:
    """Two-sided p over all (baseline, run) pairs of matching seeds, each image counted once.

    None where a pair tells different classes apart or no image was tested by all.
    """
    if not pairs or any(baseline.classes != run.classes for baseline, run in pairs):
        return None
    by_seed: list[tuple[NDArray[np.str_], NDArray[np.int64]]] = []
    for baseline, run in pairs:
        here, there, _ = _shared(baseline, run)
        gain = run.right[there].astype(np.int64) - baseline.right[here].astype(np.int64)
        by_seed.append((baseline.ids[here], gain))
    everywhere = by_seed[0][0]
    for ids, _ in by_seed[1:]:
        everywhere = np.intersect1d(everywhere, ids, assume_unique=True)
    if not len(everywhere):
        return None
    total = np.zeros(len(everywhere), np.int64)
    for ids, gain in by_seed:
        total += gain[np.searchsorted(ids, everywhere)]
    return sign_flip(total)


def _shared(baseline: Answers, run: Answers) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Places in each of the images of both with one truth; how many are in one only or contested."""
    both, here, there = np.intersect1d(baseline.ids, run.ids, assume_unique=True, return_indices=True)
    agreed = baseline.true[here] == run.true[there]
    either = len(baseline.ids) + len(run.ids) - len(both)
    return here[agreed], there[agreed], either - int(agreed.sum())
