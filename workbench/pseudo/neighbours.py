"""The nearest neighbours of every row among all rows: exact, or of very many by cells, the recall told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float32]
Ints = NDArray[np.int64]

EXACT_UP_TO = 50_000
"""Rows up to which nothing is left out: 20 seconds on two cores at 256 columns; ten times as many are 100
times as long. Whoever looks at every pair of images, or at every image over and over, is exact up to here."""
EXACT_ON_DEVICE = 1_000_000
"""The same for neighbours on a device with memory of its own, which computes a thousand times as fast."""
LEAST_RECALL = 0.95
"""Share of the true neighbours that a search by cells finds at least."""
_AIM = 0.97
"""What it aims at on the rows that it tries, so that chance among them does not bring it below."""
TRIED = 1000
"""Rows whose true neighbours are looked up to learn how many cells to search: of 10,000 neighbours a share of
0.97 has a standard error of 0.002 or, where those of a row stand and fall together, 0.005."""
_ROWS_A_CENTRE = 40
_STEPS = 6
"""Of k-means: cells only have to be compact. 39 rows a centre are what faiss calls enough."""
_MOST_PAIRS = 0.5
"""Of all pairs of rows: a search by cells that would look at more saves nothing."""

_CHUNK = 1024
"""Rows of similarities held at once where there are few: 1,024 · N · 4 bytes."""
_BLOCK = 2**26
"""Similarities held at once where there are many, 256 MB; never fewer rows than one."""


@dataclass(frozen=True, slots=True, eq=False)
class Near:
    """Each row's k nearest others by cosine, in no order."""

    rows: Ints
    """(N, k) int64."""
    cosines: Features
    """(N, k) float32."""
    recall: float = 1.0
    """Share of the true neighbours that are among them; below 1 estimated, on `TRIED` rows."""


class Search(Protocol):
    """Finds neighbours, on whatever device."""

    def __call__(self, unit: Features, k: int) -> Near:
        """The k nearest others of each of (N, D) rows of length 1, 1 ≤ k < N."""


def unit_rows(features: Features) -> Features:
    """(N, D) float32 rows of length 1; a row of zeros stays one."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    scaled: Features = (features / np.maximum(lengths, 1e-12)).astype(np.float32)
    return scaled


def nearest_others(unit: Features, k: int) -> Near:
    """The k nearest others of each row: exact up to `EXACT_UP_TO` rows, beyond that by cells.

    A function of the rows alone: cells are drawn by a fixed seed. Where rows form no cells, so that
    `LEAST_RECALL` takes half of all pairs, it is exact whatever that costs.
    """
    if len(unit) <= EXACT_UP_TO:
        return exactly_nearest(unit, k)
    cells = Cells.of(unit, np.random.default_rng(0))
    searched, recall = cells.reach(k)
    if cells.pairs(searched) > _MOST_PAIRS * len(unit) ** 2:
        return exactly_nearest(unit, k)
    return cells.nearest(k, searched, recall)


def exactly_nearest(unit: Features, k: int) -> Near:
    """By the product of all pairs, in blocks of rows. Of equals at the k-th place partition chooses."""
    count = len(unit)
    found = Near(np.empty((count, k), dtype=np.int64), np.empty((count, k), dtype=np.float32))
    # The last bits of a product may hang on its shape; few rows keep the one that they always had.
    height = _CHUNK if count <= EXACT_UP_TO else max(1, _BLOCK // count)
    for first in range(0, count, height):
        cosines = unit[first : first + height] @ unit.T
        here = np.arange(len(cosines))
        cosines[here, first + here] = -np.inf
        chosen = highest_columns(cosines, k)
        found.rows[first : first + height] = chosen
        found.cosines[first : first + height] = np.take_along_axis(cosines, chosen, 1)
    return found


def highest_columns(values: Features, k: int) -> Ints:
    """(B, k) int64: the columns with the k highest of each row, the set that `np.argpartition` finds.

    Of many columns all but few are passed over by the highest of each group of columns: whatever is among the
    k highest lies in a group whose highest is, too.
    """
    rows, columns = values.shape
    groups = round((k * columns) ** 0.5)
    width = columns // max(1, groups)
    if width < 8 or columns < 2048:
        return np.argpartition(-values, k - 1, axis=1)[:, :k]
    grouped = groups * width
    heads = values[:, :grouped].reshape(rows, width, groups).max(axis=1)  # (B, G)
    best = np.argpartition(-heads, k - 1, axis=1)[:, :k]  # (B, k)
    least = np.take_along_axis(heads, best, 1).min(axis=1)  # (B,) of the k-th group
    inside = (best[:, None, :] + groups * np.arange(width)[:, None]).reshape(rows, -1)
    rest = np.broadcast_to(np.arange(grouped, columns), (rows, columns - grouped))
    candidates = np.concatenate([inside, rest], axis=1)
    known = np.take_along_axis(values, candidates, 1)
    order = np.argpartition(-known, k - 1, axis=1)[:, :k]
    chosen = np.take_along_axis(candidates, order, 1)
    # Where another column, or another group, is as high as the last one taken, which of them counts is
    # partition's choice among all columns.
    last = np.take_along_axis(known, order, 1).min(axis=1, keepdims=True)
    tied = np.flatnonzero(
        (np.count_nonzero(known >= last, axis=1) > k)
        | (np.count_nonzero(heads >= least[:, None], axis=1) > k)
    )
    if len(tied):
        chosen[tied] = np.argpartition(-values[tied], k - 1, axis=1)[:, :k]
    return chosen


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Rows grouped around centres, so that near ones share a cell or are in one nearby (inverted file)."""

    unit: Features
    """(N, D) rows of length 1, cell after cell."""
    order: Ints
    """(N,) which row each of them is."""
    starts: Ints
    """(K + 1,) where each cell's rows start."""
    nearby: Ints
    """(K, K) cells from each cell's centre outward, itself first."""

    @classmethod
    def of(cls, unit: Features, random: np.random.Generator) -> Cells:
        """2·√N cells by k-means on the sphere (Dhillon and Modha 2001), fitted to a sample of the rows."""
        centres = _centres(unit, 2 * round(len(unit) ** 0.5), random)
        cell_of = _nearest_centre(unit, centres)
        kept, cell_of = np.unique(cell_of, return_inverse=True)  # a cell that nothing is in is none
        order = np.argsort(cell_of, kind="stable")
        likeness = centres[kept] @ centres[kept].T
        np.fill_diagonal(likeness, np.inf)
        starts = np.searchsorted(cell_of[order], np.arange(len(kept) + 1))
        return cls(unit[order], order, starts, np.argsort(-likeness, axis=1, kind="stable"))

    @property
    def sizes(self) -> Ints:
        """(K,) rows of each cell."""
        return np.diff(self.starts)

    def pairs(self, searched: Ints) -> int:
        """How many pairs of rows a search looks at.

        Args:
            searched: (K,) how many cells nearby are searched for the neighbours of a cell's rows.
        """
        within = np.cumsum(self.sizes[self.nearby], axis=1)
        return int((self.sizes * within[np.arange(len(within)), searched - 1]).sum())

    def reach(self, k: int) -> tuple[Ints, float]:
        """(K,) how many cells to search for each cell's rows, and the recall on the rows that were tried.

        As few for all as find `_AIM` of the true neighbours of those rows; more where they hold too few rows.
        """
        count, cells = len(self.unit), len(self.nearby)
        tried = np.sort(np.random.default_rng(1).choice(count, min(TRIED, count), replace=False))
        cell_of = np.repeat(np.arange(cells), self.sizes)
        places = np.empty((cells, cells), dtype=np.int64)
        np.put_along_axis(places, self.nearby, np.broadcast_to(np.arange(cells), places.shape), 1)
        needed = []
        for rows in _blocks(tried, count):
            cosines = self.unit[rows] @ self.unit.T
            cosines[np.arange(len(rows)), rows] = -np.inf
            true = highest_columns(cosines, k)
            needed.append(places[cell_of[rows][:, None], cell_of[true]] + 1)
        of_tried = np.concatenate(needed)  # (T, k) cells to search until each true neighbour is found
        for_all = int(np.quantile(of_tried, _AIM, method="higher"))
        filled = (np.cumsum(self.sizes[self.nearby], axis=1) > k).argmax(axis=1) + 1
        searched = np.maximum(filled, for_all)
        return searched, float((of_tried <= searched[cell_of[tried]][:, None]).mean())

    def nearest(self, k: int, searched: Ints, recall: float) -> Near:
        """Each row's k nearest among the cells that `reach` told."""
        count = len(self.unit)
        rows, cosines = np.empty((count, k), dtype=np.int64), np.empty((count, k), dtype=np.float32)
        for cell, (first, end) in enumerate(zip(self.starts[:-1], self.starts[1:], strict=True)):
            among = self.nearby[cell, : searched[cell]]
            places = np.concatenate([np.arange(self.starts[c], self.starts[c + 1]) for c in among])
            others = self.unit[places].T
            for part in _blocks(np.arange(first, end), len(places)):
                found = self.unit[part] @ others
                # The cell itself is searched first, so its rows are the first columns.
                found[np.arange(len(part)), part - first] = -np.inf
                chosen = highest_columns(found, k)
                rows[self.order[part]] = self.order[places[chosen]]
                cosines[self.order[part]] = np.take_along_axis(found, chosen, 1)
        return Near(rows, cosines, recall)


def _centres(unit: Features, count: int, random: np.random.Generator) -> Features:
    """(K, D) float32 of length 1."""
    drawn = np.sort(random.choice(len(unit), min(len(unit), _ROWS_A_CENTRE * count), replace=False))
    sample = unit[drawn]
    centres = sample[np.sort(random.choice(len(sample), count, replace=False))]
    for _ in range(_STEPS):
        cell_of = _nearest_centre(sample, centres)
        order = np.argsort(cell_of, kind="stable")
        kept, starts = np.unique(cell_of[order], return_index=True)
        centres[kept] = unit_rows(np.add.reduceat(sample[order], starts, axis=0))
    return centres


def _nearest_centre(unit: Features, centres: Features) -> Ints:
    """(N,) int64."""
    parts = [(unit[rows] @ centres.T).argmax(axis=1) for rows in _blocks(np.arange(len(unit)), len(centres))]
    return np.concatenate(parts)


def _blocks(rows: Ints, columns: int) -> Iterator[Ints]:
    """The rows in parts whose similarities with so many columns are a `_BLOCK` at most."""
    height = max(1, _BLOCK // 4 // columns)
    for first in range(0, len(rows), height):
        yield rows[first : first + height]
