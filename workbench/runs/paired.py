"""The same test images under two models: which of them each got right, matched by image and true class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.runs.mcnemar import mcnemar, sign_flip
from workbench.runs.predictions import Predictions


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
    only_baseline, only_run = int((first & ~second).sum()), int((second & ~first).sum())
    return PairedTest(
        images=len(here),
        left_out=left_out,
        both_right=int((first & second).sum()),
        only_baseline=only_baseline,
        only_run=only_run,
        p=mcnemar(only_baseline, only_run),
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
