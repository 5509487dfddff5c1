"""Rows of numbers that grow as a run goes, thinned evenly once they are many: memory has a bound."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MOST_ROWS = 32_768
"""Rows that are kept whole: a hundred for every column of dots that the widest terminal shows."""


class CurveTable:
    """Rows in order of time, each a tuple of `columns` numbers.

    Beyond `most` rows, neighbours are merged: of every `group` rows the two with the least and the greatest
    value in the column `extremes_of` stay, so that a curve drawn of them has the same outline. The group
    doubles whenever the table is full again; the newest rows, up to one group, are always whole.
    """

    def __init__(self, columns: int, *, extremes_of: int, most: int = MOST_ROWS) -> None:
        self._rows = np.empty((1024, columns), dtype=np.float64)
        self._count = 0
        self._merged = 0
        self._group = 2
        self._by = extremes_of
        self._most = most

    def __len__(self) -> int:
        return self._count

    @property
    def rows(self) -> NDArray[np.float64]:
        """(N, columns) float64: the live rows, a view that the next change may alter."""
        return self._rows[: self._count]

    def extend(self, rows: Sequence[Sequence[float]] | NDArray[np.float64]) -> None:
        """Append rows."""
        if not len(rows):
            return
        self._reserve(len(rows))
        self._rows[self._count : self._count + len(rows)] = rows
        self._count += len(rows)
        self._merge_new()
        while self._merged > self._most:
            self._merge_again()

    def truncate(self, count: int) -> None:
        """Keep the first `count` rows."""
        self._count = min(self._count, count)
        self._merged = min(self._merged, self._count)

    def _reserve(self, more: int) -> None:
        needed = self._count + more
        if needed > len(self._rows):
            larger = np.empty((max(needed, 2 * len(self._rows)), self._rows.shape[1]), dtype=np.float64)
            larger[: self._count] = self.rows
            self._rows = larger

    def _merge_new(self) -> None:
        """Bring whole groups of new rows to the density of the old ones."""
        new = self._count - self._merged
        whole = new // self._group * self._group
        pairs = _extremes(self._rows[self._merged : self._merged + whole], self._group, self._by)
        rest = self._rows[self._merged + whole : self._count].copy()
        self._merged += len(pairs)
        self._rows[self._merged - len(pairs) : self._merged] = pairs
        self._count = self._merged + len(rest)
        self._rows[self._merged : self._count] = rest

    def _merge_again(self) -> None:
        """Halve the density of everything."""
        self._group *= 2
        whole = self._merged // 4 * 4
        kept = [_extremes(self._rows[:whole], 4, self._by), self._rows[whole : self._count].copy()]
        self._merged -= whole // 2
        self._count -= whole // 2
        np.concatenate(kept, out=self._rows[: self._count])


def _extremes(rows: NDArray[np.float64], group: int, column: int) -> NDArray[np.float64]:
    """Of every `group` rows the two with the least and the greatest value, in their order; a copy.

    A value that is NaN counts as none; a group of equal values keeps its first and its last row.
    """
    if group <= 2 or not len(rows):
        return rows.copy()
    values = rows[:, column].reshape(-1, group)
    least = np.argmin(np.where(np.isnan(values), np.inf, values), axis=1)
    most = group - 1 - np.argmax(np.where(np.isnan(values), -np.inf, values)[:, ::-1], axis=1)
    first, second = np.minimum(least, most), np.maximum(least, most)
    same = first == second
    second = np.where(same & (first == 0), group - 1, second)
    first = np.where(same & (first > 0), 0, first)
    starts = np.arange(len(values)) * group
    picked = np.stack([starts + first, starts + second], axis=1).reshape(-1)
    chosen: NDArray[np.float64] = rows[picked]
    return chosen
