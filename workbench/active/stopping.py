"""When to stop: how right the model is by the images that chance drew, and what more labels would bring."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workbench.active.head import Labels, fit_balanced
from workbench.labels.protocol import DoubtedImage, Learned
from workbench.runs.intervals import of_share

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

_FOLDS = 5
_LEAST_SAMPLE = 10
"""Fewer random draws say next to nothing of an accuracy."""
_NEW_IMAGES = 200
"""The interval is that of the accuracy on so many other images: chance draws them, too."""
_LEAST_FOR_CURVE = 30
_SHARES = (0.25, 0.5, 1.0)
"""Of the labels: where the learning curve is measured."""
_SPEEDS = np.arange(0.1, 2.05, 0.1)
"""Exponents of the power law that are tried (Viering and Loog 2021 find 0.2 to 2)."""
_RESAMPLES = 200
_STEPS = 30
_FEW = 3
"""Labels of a class with which a model can hardly know it."""


def judge(inputs: Tensor, labels: Labels, sample: Ints) -> Learned:
    """The line that helps to decide when to stop.

    Images of the sample are predicted by heads that have not seen their labels, five folds of them; all other
    labels teach in every fold. How right they are is told of the sample alone, since labels that were chosen
    for doubt are a biased one.

    Args:
        inputs: (N, D) standardised features.
        sample: (M,) rows of a simple random sample of the folder, all with a class.
    """
    count, classes = len(labels.labelled), len(labels.names)
    lacking = tuple(name for name, n in zip(labels.names, labels.counts.tolist(), strict=True) if n < _FEW)
    told = f"{count} labelled · {classes} classes" if classes != 1 else f"{count} labelled · 1 class"
    if classes < 2 or len(sample) < _LEAST_SAMPLE:
        wanted = max(0, _LEAST_SAMPLE - len(sample))
        draws = "random draw tells" if wanted == 1 else "random draws tell"
        more = f" · {wanted} more {draws} how right the model is" if wanted else ""
        return Learned(count, classes, told + more, lacking=lacking)
    right = np.stack([_right(inputs, labels, sample, share) for share in _shares(len(sample))])  # (S, M)
    accuracy = float(right[-1].mean())
    alike = len(sample) * _NEW_IMAGES / (len(sample) + _NEW_IMAGES)
    low, high = of_share(accuracy, max(1.0, alike))
    text = f"{told} · {accuracy * 100:.0f} % ({low * 100:.0f}–{high * 100:.0f}) by cross-validation"
    text += f" on {len(sample)} random draws"
    extra: int | None = None
    gain: float | None = None
    if len(right) > 1:
        extra, gain = _gain(right, count)
        text += (
            f" · {extra} more ≈ +{gain * 100:.0f}" if gain >= 0.005 else f" · {extra} more add less than 1"
        )
    if lacking:
        text += f" · few of {', '.join(lacking[:3])}{' …' if len(lacking) > 3 else ''}"
    return Learned(count, classes, text, accuracy, low, high, extra, gain, lacking)


def doubted(inputs: Tensor, labels: Labels, paths: tuple[str, ...], most: int) -> tuple[DoubtedImage, ...]:
    """Labelled images that heads which have not seen their label take for another class, the surest first."""
    rows = labels.labelled
    if len(labels.names) < 2 or len(rows) < 2 * _FOLDS:
        return ()
    folds = _folds(rows, labels)
    shares = np.zeros((len(rows), len(labels.names)), dtype=np.float32)
    for fold in range(_FOLDS):
        shares[folds == fold] = _shares_of(inputs, labels, rows[folds != fold], rows[folds == fold])
    guesses = shares.argmax(axis=1)
    wrong = np.flatnonzero(guesses != labels.of[rows])
    order = wrong[np.argsort(-shares[wrong, guesses[wrong]], kind="stable")][:most]
    return tuple(
        DoubtedImage(
            paths[rows[place]],
            labels.names[labels.of[rows[place]]],
            labels.names[guesses[place]],
            round(float(shares[place, guesses[place]]), 4),
        )
        for place in order.tolist()
    )


def _shares(sample: int) -> tuple[float, ...]:
    return _SHARES if sample >= _LEAST_FOR_CURVE else _SHARES[-1:]


def _right(inputs: Tensor, labels: Labels, sample: Ints, share: float) -> Bools:
    """(M,) whether each image of the sample is predicted rightly from such a share of the other labels."""
    folds = _folds(sample, labels)
    right = np.zeros(len(sample), dtype=np.bool_)
    random = np.random.default_rng(0)
    for fold in range(_FOLDS):
        asked = sample[folds == fold]
        if not len(asked):
            continue
        others = np.setdiff1d(labels.labelled, asked)
        taught = np.sort(random.permutation(others)[: max(2, round(share * len(others)))])
        right[folds == fold] = _shares_of(inputs, labels, taught, asked).argmax(axis=1) == labels.of[asked]
    return right


def _folds(rows: Ints, labels: Labels) -> Ints:
    """(K,) the fold of each row; folds share a class to within one image."""
    places = np.empty(len(rows), dtype=np.int64)
    shuffled = np.random.default_rng(0).permutation(len(rows))
    places[np.lexsort((shuffled, labels.of[rows]))] = np.arange(len(rows))
    return places % _FOLDS


def _shares_of(inputs: Tensor, labels: Labels, taught: Ints, asked: Ints) -> Floats:
    """(K, C) probabilities of the asked rows; 0 of a class that was not taught."""
    names, targets = np.unique(labels.of[taught], return_inverse=True)
    shares = np.zeros((len(asked), len(labels.names)), dtype=np.float32)
    if len(names) == 1:
        shares[:, names[0]] = 1
        return shares
    head = fit_balanced(inputs[torch.from_numpy(taught)], targets.astype(np.int64), len(names), steps=_STEPS)
    logits = head.logits(inputs[torch.from_numpy(asked)])
    shares[:, names] = torch.softmax(logits, dim=1).numpy()
    return shares


def _gain(right: Bools, labels: int) -> tuple[int, float]:
    """(so many labels more, accuracy gained): the median over resampled images of the power law's answer.

    Args:
        right: (S, M) of each share of the labels, whether each image was predicted rightly.
    """
    more = _rounded(max(20, labels // 3))
    sizes = np.array(_SHARES[-len(right) :]) * labels
    random = np.random.default_rng(0)
    gains = []
    for _ in range(_RESAMPLES):
        drawn = random.integers(right.shape[1], size=right.shape[1])
        gains.append(extrapolated(sizes, right[:, drawn].mean(axis=1), labels + more))
    return more, float(np.median(gains))


def extrapolated(sizes: NDArray[np.float64], accuracies: NDArray[np.float64], size: float) -> float:
    """How much higher than the last accuracy a - b·n^-c is at `size` (Hestness et al. 2017), never below 0.

    The curve goes through the last point; b and c are those that fit the others best, with a at most 1.
    """
    n, now = sizes[-1], float(accuracies[-1])
    best, gain = np.inf, 0.0
    for speed in _SPEEDS:
        steps = sizes[:-1] ** -speed - n**-speed  # > 0
        slope = max(0.0, float(steps @ (now - accuracies[:-1])) / float(steps @ steps))
        slope = min(slope, (1 - now) / n**-speed)
        miss = float(np.square(now - slope * steps - accuracies[:-1]).sum())
        if miss < best:
            best, gain = miss, slope * (n**-speed - size**-speed)
    return gain


def _rounded(count: int) -> int:
    """To one digit, or two from 100 on: 87 labels more is said too exactly."""
    step = 10 if count < 100 else 10 ** (len(str(count)) - 2)
    return max(step, round(count / step) * step)
