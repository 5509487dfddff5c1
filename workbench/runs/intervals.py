"""How sure a number is: 95 % intervals, and p values where several models meet one baseline. No numpy.

An accuracy is k right of n (Wilson 1927); what is promised of one is bounded exactly (Clopper and Pearson
1934). Two models on the same images differ by what each alone got right (Newcombe 1998, Stat. Med. 17:2635,
method 10, which takes their correlation into account). A mean over seeds has Student's t interval. Holm
1979 (Scand. J. Stat. 6:65) keeps the chance of any false alarm among m tests where it was for one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

from workbench.support.units import in_percent, interval_words

Interval = tuple[float, float]

LEVEL = 0.95
SIGNIFICANT = 0.01
"""Below it a difference is marked, by its p as adjusted for all runs that are held against the baseline
(`holm`): of so many equals some gets a mark by chance one time in a hundred."""

_Z = NormalDist().inv_cdf((1 + LEVEL) / 2)


def wilson(right: float, images: int) -> Interval:
    """Of a share `right` / `images`; all that is possible where there is no image.

    Raises:
        ValueError: more right than there are, or fewer than none.
    """
    if not 0 <= right <= images:
        raise ValueError(f"{right:g} of {images} images is no share")
    if not images:
        return 0.0, 1.0
    share, z2 = right / images, _Z * _Z
    centre = (share + z2 / (2 * images)) / (1 + z2 / images)
    half = _Z / (1 + z2 / images) * math.sqrt(share * (1 - share) / images + z2 / (4 * images * images))
    # At either end the formula meets it but for rounding.
    return (0.0 if right == 0 else max(0.0, centre - half)), (1.0 if right == images else centre + half)


def of_share(share: float, images: float) -> Interval:
    """As `wilson`, of an accuracy as it is recorded; one of no known number of images may be anything."""
    count = int(images)
    return wilson(min(count, max(0, round(share * count))), count)


def error_bound(wrong: int, images: int, risk: float) -> float:
    """What a share of errors is at most, but for a chance of `risk`: one-sided, exact.

    Clopper and Pearson 1934 (Biometrika 26:404): the share at which `wrong` or fewer of `images` are as
    rare as `risk`. By halving, to the last bits that matter.

    Raises:
        ValueError: more wrong than there are, or fewer than none.
    """
    if not 0 <= wrong <= images:
        raise ValueError(f"{wrong} of {images} images is no share")
    if wrong == images:
        return 1.0
    low, high = wrong / images, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        rare = at_most_wrong(wrong, images, middle) < risk
        low, high = (low, middle) if rare else (middle, high)
    return high


def at_most_wrong(wrong: int, images: int, share: float) -> float:
    """The chance of `wrong` < `images` errors or fewer, where each image has this chance of one.

    The regularised incomplete beta function I(1 − share; images − wrong, wrong + 1), by Lentz's continued
    fraction (Press et al. 2007, Numerical Recipes, 6.4).
    """
    a, b, x = images - wrong, wrong + 1, 1 - share
    if not 0 < x < 1:
        return float(x > 0)
    if x > (a + 1) / (a + b + 2):  # the fraction of the other tail is the one that converges
        return 1 - _beta_tail(b, a, 1 - x)
    return _beta_tail(a, b, x)


def _beta_tail(a: int, b: int, x: float) -> float:
    """I(x; a, b) for x up to about its mean."""
    tiny, steps = 1e-300, 10_000
    log = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    c, d = 1.0, 1 - (a + b) * x / (a + 1)
    d = 1 / (d if abs(d) > tiny else tiny)
    found = d
    for m in range(1, steps):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d, c = 1 + term * d, 1 + term / c
            d = 1 / (d if abs(d) > tiny else tiny)
            c = c if abs(c) > tiny else tiny
            found *= d * c
        if abs(d * c - 1) < 1e-15:
            break
    return min(1.0, math.exp(log) / a * found)


def paired_difference(both: int, only_first: int, only_second: int, neither: int) -> Interval:
    """Of the second model's accuracy less the first's, by how many images each got right.

    Raises:
        ValueError: no image.
    """
    images = both + only_first + only_second + neither
    if not images:
        raise ValueError("no image to compare two models by")
    first, second = both + only_first, both + only_second
    share_1, share_2 = first / images, second / images
    (low_1, high_1), (low_2, high_2) = wilson(first, images), wilson(second, images)
    margins = first * second * (images - first) * (images - second)
    correlation = 0.0
    if margins:
        together: float = both * neither - only_first * only_second
        if together > 0:
            together = max(together - images / 2, 0)
        correlation = together / math.sqrt(margins)
    difference = share_2 - share_1
    below = _combined(share_2 - low_2, high_1 - share_1, correlation)
    above = _combined(high_2 - share_2, share_1 - low_1, correlation)
    return max(-1.0, difference - below), min(1.0, difference + above)


def _combined(one: float, other: float, correlation: float) -> float:
    return math.sqrt(max(0.0, one * one - 2 * correlation * one * other + other * other))


def student(mean: float, deviation: float, count: int) -> Interval:
    """Of a mean of `count` normal values with this sample standard deviation; at least two of them."""
    half = t_quantile(count - 1) * deviation / math.sqrt(count)
    return mean - half, mean + half


def t_within(t: float, freedom: int) -> float:
    """The chance that Student's t lies within ±t: Abramowitz & Stegun 1964, 26.7.3 and 26.7.4."""
    angle = math.atan(abs(t) / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term = total = 1.0
    for k in range(2 + odd, freedom, 2):  # (1·3·…)/(2·4·…)·cos^k for even freedom, (2·4·…)/(3·5·…) for odd
        term *= (k - 1) / k * cosine * cosine
        total += term
    within = sine * total
    if odd:
        within = 2 / math.pi * (angle + (within * cosine if freedom > 1 else 0.0))
    return min(1.0, within)


def t_quantile(freedom: int) -> float:
    """The t within ± which Student's t lies with chance `LEVEL`: by halving, to the last bits that matter."""
    low, high = 0.0, 1.0
    while t_within(high, freedom) < LEVEL:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if t_within(middle, freedom) < LEVEL else (low, middle)
    return high


def holm(chances: Sequence[float | None]) -> list[float | None]:
    """The p values of tests against one baseline, adjusted for how many there are; None is no test."""
    known = sorted((p, place) for place, p in enumerate(chances) if p is not None)
    adjusted: list[float | None] = [None] * len(chances)
    least = 0.0
    for rank, (p, place) in enumerate(known):
        least = max(least, min(1.0, (len(known) - rank) * p))
        adjusted[place] = least
    return adjusted


def overlap(one: Interval, other: Interval) -> bool:
    """Whether the two have a value in common."""
    return one[0] <= other[1] and other[0] <= one[1]


def share_words(share: float, images: float) -> str:
    """`91.24 % (89.8–92.4)`: an accuracy with its interval; alone where the number of images is not known."""
    told = in_percent(share)
    return f"{told} ({interval_words(of_share(share, images))})" if images else told
