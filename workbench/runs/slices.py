"""Slices: parts of a split, such as its darkest quarter, of which a model may be wrong more often."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from workbench.runs.intervals import SIGNIFICANT, Interval, holm, wilson
from workbench.runs.opinion_columns import Opinion
from workbench.support.clean import clean
from workbench.support.errors import UserError, nearest

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Mark = Literal["worse", "better"]

BINS = 4
"""Numbers are cut into so many parts of as many images each."""
SMALLEST = 10
"""Images of a slice; of fewer an accuracy says next to nothing."""
CLASS, SAID, CLUSTER = "class", "said", "cluster"
SIGNS: Mapping[Mark | None, str] = {"worse": "▼", "better": "▲", None: ""}
PAIR = " + "
"""Between the keys of a pair."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Images that have a thing in common, and how often the model was right of them."""

    key: str
    """`brightness:1`, its darkest part; `class:Bengal`; of a pair both, with ` + ` between."""
    words: str
    """`brightness 12–71`."""
    images: int
    right: int
    accuracy: float
    interval: Interval
    """Of the accuracy, 95 % (Wilson)."""
    rest: float
    """Accuracy of all other images; of a pair, of the other images of its worse part."""
    p: float
    """That the two differ by chance: Fisher's exact test, adjusted for all slices tried (Holm)."""
    mark: Mark | None
    """Whether it differs from the rest beyond chance, and which way."""
    ids: tuple[str, ...] = ()
    """Its images."""


@dataclass(frozen=True, slots=True)
class Slices:
    """All that were tried, the worst first."""

    images: int
    """Of the split, those whose class is known."""
    accuracy: float
    found: tuple[Slice, ...]
    """Marked as worse first, then by accuracy."""
    tried: int
    """Of so many the chances are adjusted; slices of the same images count once."""
    smallest: int
    by: tuple[str, ...]
    """What the images were divided by."""

    @property
    def words(self) -> str:
        """What the order and the marks mean."""
        worse, better = (sum(one.mark == mark for one in self.found) for mark in ("worse", "better"))
        if not worse + better:
            return f"the worst first; none differs from the rest beyond chance (Holm over {self.tried})"
        counts = ((worse, f"{worse} worse (▼)"), (better, f"{better} better (▲)"))
        told = " and ".join(words for count, words in counts if count)
        sure = f"p < {SIGNIFICANT:g}, Holm over {self.tried}"
        return f"the worst first: {told} than the rest beyond chance ({sure})"

    def of_key(self, key: str) -> Slice:
        """The slice of a key.

        Raises:
            UserError: there is none, tells the nearest.
        """
        for one in self.found:
            if one.key == key:
                return one
        near = nearest(key, [one.key for one in self.found])
        raise UserError(
            f"no slice {clean(key, 80)!r}",
            where="--slice",
            allowed="the first column of petbench slices",
            hint=f"did you mean {clean(near, 80)}?" if near else "",
        )


@dataclass(frozen=True, eq=False)
class _Part:
    """A slice before anybody asked how right it is."""

    by: str
    key: str
    words: str
    rows: Bools
    """(N,) which images."""
    within: Bools | None = None
    """(N,) among which images it is held against the others; default: all."""


NumberWords = Callable[[str, float, float], str]
"""Says what lies between two values of a fact: (its name, lowest, highest)."""


def find_slices(
    rows: Sequence[Opinion],
    numbers: Mapping[str, Floats],
    names: Mapping[str, Sequence[str | None]],
    *,
    number_words: NumberWords,
    smallest: int = SMALLEST,
    by_class: bool = True,
    by_said: bool = True,
    pairs: bool = False,
) -> Slices:
    """Divide images by each fact, and tell of each part how often the model was right.

    Numbers are cut at quantiles of all images of the split, whatever the model said of them. Every part with
    at least `smallest` images, and as many beside it, is held against all other images by Fisher's exact test
    (two-sided); Holm 1979 keeps the chance of any false mark where it was for one slice, however many were
    tried and however they overlap. A pair is held against the other images of the worse of its parts: what is
    wrong with Bengals is not found again in dark Bengals, unless these are worse than the bright ones.

    Args:
        rows: N opinions; those whose true class is not known are left out.
        numbers: a fact -> (N,) float64, NaN where it is not known.
        names: a fact -> N names, None where there is none.
        pairs: also parts of two facts at once, unless one is the class and the other what was said.

    Raises:
        UserError: of no image the class is known.
    """
    known = np.array([row.wrong is not None for row in rows], dtype=np.bool_)
    judged = [row for row in rows if row.wrong is not None]
    if not judged:
        raise UserError("of none of these images the class is known, so there is no accuracy to divide")
    right = np.array([row.wrong is False for row in judged], dtype=np.bool_)
    named = {name: [cell for cell, is_known in zip(cells, known, strict=True) if is_known]
             for name, cells in names.items()}  # fmt: skip
    parts: list[_Part] = []
    by: list[str] = []
    for name, values in numbers.items():
        by.append(name)
        parts += _by_number(name, values, known, number_words)
    if by_class:
        named = {CLASS: [row.true for row in judged], **named}
    if by_said:
        named = {**named, SAID: [row.said for row in judged]}
    for name, cells in named.items():
        by.append(name)
        parts += _by_name(name, cells, [row.true for row in judged])
    parts = _worth_trying(parts, smallest)
    if pairs:
        parts = _worth_trying([*parts, *_pairs(parts, right)], smallest)
    found = _judged(parts, right, tuple(row.id for row in judged))
    found.sort(key=lambda one: (one.mark != "worse", one.accuracy, -one.images, one.key))
    return Slices(len(judged), float(right.mean()), tuple(found), len(parts), smallest, tuple(by))


def _by_number(name: str, values: Floats, known: Bools, words: NumberWords) -> list[_Part]:
    """Quarters of a fact, of which equal values never lie in two; images without a value are a part too."""
    there = np.isfinite(values)
    if not there.any():
        return []
    edges = np.unique(np.quantile(values[there], np.arange(1, BINS) / BINS))
    bins = np.where(there, np.searchsorted(edges, values, side="left"), -1)  # (N,)
    parts = []
    for place, number in enumerate(np.unique(bins[there]).tolist(), 1):
        inside = bins == number
        told = words(name, float(values[inside].min()), float(values[inside].max()))
        parts.append(_Part(name, f"{name}:{place}", f"{_title(name)} {told}", inside[known]))
    if not there.all():
        parts.append(_Part(name, f"{name}:", f"{_title(name)} empty", ~there[known]))
    return parts if len(parts) > 1 else []


def _by_name(name: str, cells: Sequence[str | None], true: Sequence[str | None]) -> list[_Part]:
    """The images of each name."""
    places: dict[str | None, list[int]] = {}
    for place, cell in enumerate(cells):
        places.setdefault(cell, []).append(place)
    parts = []
    for cell, inside in sorted(places.items(), key=lambda item: item[0] or ""):
        rows = np.zeros(len(cells), dtype=np.bool_)
        rows[inside] = True
        told = "empty" if cell is None else cell
        if name == CLUSTER:
            most = Counter(true[place] for place in inside).most_common(2)
            told += ": " + ", ".join(str(one) for one, _ in most)
        parts.append(_Part(name, f"{name}:{cell or ''}", f"{_title(name)} {told}", rows))
    return parts


def _title(name: str) -> str:
    """How a fact is called before its value."""
    return "file of" if name == "bytes" else name


def _worth_trying(parts: Sequence[_Part], smallest: int) -> list[_Part]:
    """Those with enough images, and enough beside them; of several with the same images the first."""
    found: dict[bytes, _Part] = {}
    for part in parts:
        inside = int(part.rows.sum())
        beside = (len(part.rows) if part.within is None else int(part.within.sum())) - inside
        if inside >= smallest and beside >= smallest:
            found.setdefault(np.packbits(part.rows).tobytes(), part)
    return list(found.values())


def _pairs(parts: Sequence[_Part], right: Bools) -> list[_Part]:
    """What two parts by different facts have in common, where it is worse than either."""
    if not parts:
        return []
    rows = np.stack([part.rows for part in parts]).astype(np.float32)  # (P, N)
    counts, hits = rows @ rows.T, (rows * right) @ rows.T  # (P, P)
    shares = hits / np.maximum(counts, 1)
    own = np.diag(shares)
    found = []
    for one, other in combinations(range(len(parts)), 2):
        first, second = parts[one], parts[other]
        if first.by == second.by or {first.by, second.by} == {CLASS, SAID}:
            continue  # class and what was said are a cell of the confusion: all right or all wrong
        if counts[one, other] and shares[one, other] < min(own[one], own[other]):
            within = first.rows if own[one] <= own[other] else second.rows
            key, words = f"{first.key}{PAIR}{second.key}", f"{first.words}{PAIR}{second.words}"
            found.append(_Part("pair", key, words, first.rows & second.rows, within))
    return found


def _judged(parts: Sequence[_Part], right: Bools, ids: Sequence[str]) -> list[Slice]:
    log_factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, len(right) + 1)))])
    counts: list[tuple[int, int, int, int]] = []
    """Images and right ones, of the slice and of all that it is held against."""
    for part in parts:
        among = np.ones_like(part.rows) if part.within is None else part.within
        groups = (part.rows, part.rows & right, among, among & right)
        n, k, total, hits = (int(rows.sum()) for rows in groups)
        counts.append((n, k, total, hits))
    chances = [fisher(k, n, hits, total, log_factorials) for n, k, total, hits in counts]
    found = []
    for part, (n, k, total, hits), p in zip(parts, counts, holm(chances), strict=True):
        rest = (hits - k) / (total - n)
        mark: Mark | None = None
        if p is not None and p < SIGNIFICANT:
            mark = "worse" if k / n < rest else "better"
        inside = tuple(ids[place] for place in np.flatnonzero(part.rows).tolist())
        found.append(
            Slice(
                part.key, part.words, n, k, k / n, wilson(k, n), rest, 1.0 if p is None else p, mark, inside
            )
        )
    return found


def fisher(
    right: int, images: int, all_right: int, all_images: int, log_factorials: Floats | None = None
) -> float:
    """Two-sided p of Fisher's exact test: are `images` with `right` among them drawn as all were.

    The chance of a table at most as probable as this one, of those with the same margins (Fisher 1935).

    Args:
        log_factorials: (all_images + 1,) ln k!, where it is there already.
    """
    if log_factorials is None:
        log_factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, all_images + 1)))])
    log = log_factorials
    lowest, highest = max(0, images + all_right - all_images), min(images, all_right)
    k = np.arange(lowest, highest + 1)
    wrong = all_images - all_right
    chances = (
        log[all_right] - log[k] - log[all_right - k]
        + log[wrong] - log[images - k] - log[wrong - images + k]
        - (log[all_images] - log[images] - log[all_images - images])
    )  # fmt: skip
    own = chances[right - lowest]
    # Tables as probable as this one differ from it by rounding alone.
    return min(1.0, math.fsum(np.exp(chances[chances <= own + 1e-7]).tolist()))
