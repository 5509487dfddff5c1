"""Do two models differ by more than chance? Exact paired tests on the images that both were tested on.

`mcnemar` is for one pair of models (McNemar 1947, Psychometrika 12:153; its exact form is the sign test of
the discordant pairs). `sign_flip` carries the same idea to several pairs tested on the same images, such as
the seeds of two recipes, where an image counts once however many seeds saw it. Both are exact at any size, so
the chi-square approximations (Edwards 1948; for clusters Durkalski et al. 2003, Stat. Med. 22:279) are needed
only by the tests of this file.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

SIGNIFICANT = 0.01
"""Below it a difference is marked. No correction is made for the number of runs: of 19 equals held against
one baseline, some run gets a mark by chance about one time in six."""


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


def p_words(p: float | None) -> str:
    """A p as people read it: `.034`, `<.001`, a dash for none."""
    if p is None:
        return "–"
    if p < 0.001:
        return "<.001"
    return "1.00" if p >= 0.9995 else f"{p:.3f}"[1:]


def _fair_coin(tosses: int) -> NDArray[np.float64]:
    """The chance of 0 … `tosses` heads: (tosses + 1,) float64."""
    log_half = tosses * math.log(0.5)
    whole = math.lgamma(tosses + 1)
    heads = range(tosses + 1)
    logs = [whole - math.lgamma(k + 1) - math.lgamma(tosses - k + 1) + log_half for k in heads]
    return np.exp(np.array(logs, np.float64)).astype(np.float64)
