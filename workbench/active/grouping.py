"""Images that look alike, before anybody has said a word: clusters of features, the typical ones first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.pseudo.neighbours import unit_rows
from workbench.pseudo.typical import k_means

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

_IMAGES_A_CLUSTER = 24
"""What a large screen shows. In a simulation on twelve breeds groups of 24 won early and, where the ones that
do not fit are followed up, later."""
_MOST_CLUSTERS = 400
_DIRECTIONS = 64
"""Principal directions that clusters are told apart by: more cost time and change little."""
_RESTARTS = 3
_NEAREST = 5
"""Images of a cluster that are held against the labelled ones."""


class Groups:
    """Clusters of a folder's images.

    Args:
        features: (N, D) float32, compared by direction alone.
    """

    def __init__(self, features: Floats) -> None:
        self.unit: Floats = unit_rows(features)
        """(N, D) of length 1."""
        count = min(_MOST_CLUSTERS, max(1, round(len(features) / _IMAGES_A_CLUSTER)))
        reduced = _principal(self.unit, min(_DIRECTIONS, *features.shape)) if len(features) else self.unit
        self.of: Ints = (
            k_means(reduced, count, 0, restarts=_RESTARTS)[0]
            if len(features)
            else np.empty(0, dtype=np.int64)
        )
        """(N,) the cluster of each image."""

    def typical(self, free: NDArray[np.bool_], labelled: Ints, used: set[int]) -> tuple[int, Ints]:
        """(cluster, its free rows) to label next: tight, and unlike what is labelled; the most typical first.

        Args:
            free: (N,) which images may be offered.
            used: clusters that were offered before; where there is no other, they are again.

        Returns:
            rows: empty where nothing is free.
        """
        found = [(number, rows) for number, rows in self._free_clusters(free) if number not in used]
        found = found or list(self._free_clusters(free))
        if not found:
            return -1, np.empty(0, dtype=np.int64)
        ordered = [(number, *self._by_typicality(rows)) for number, rows in found]
        worth = np.array([tight for _, _, tight in ordered])
        if len(labelled):
            known = self.unit[labelled].T
            worth -= [
                float((self.unit[rows[:_NEAREST]] @ known).max(axis=1).mean()) for _, rows, _ in ordered
            ]
        number, rows, _ = ordered[int(worth.argmax())]
        return number, rows

    def alike(self, rows: Ints, others: Ints) -> Ints:
        """Of these rows a part that looks like one thing: those more like its centre than like the `others`.

        The centre comes first, then the most alike.
        """
        inner = self.unit[rows] @ self.unit[rows].T
        centre = int(inner.sum(axis=1).argmax())
        near = inner[centre]
        if len(others):
            near = np.where(near >= (self.unit[rows] @ self.unit[others].T).mean(axis=1), near, -1)
        near[centre] = 2
        order = np.argsort(-near, kind="stable")
        kept: Ints = rows[order[near[order] > -1]]
        return kept

    def nearest(self, row: int, free: NDArray[np.bool_]) -> Ints:
        """Free rows, the most alike first."""
        rows = np.flatnonzero(free)
        found: Ints = rows[np.argsort(-(self.unit[rows] @ self.unit[row]), kind="stable")]
        return found

    def _free_clusters(self, free: NDArray[np.bool_]) -> list[tuple[int, Ints]]:
        rows = np.flatnonzero(free)
        order = rows[np.argsort(self.of[rows], kind="stable")]
        numbers, starts = np.unique(self.of[order], return_index=True)
        return list(zip(numbers.tolist(), np.split(order, starts[1:]), strict=True)) if len(rows) else []

    def _by_typicality(self, rows: Ints) -> tuple[Ints, float]:
        """The rows, those most like the others first, and how alike they are on average."""
        likeness = self.unit[rows] @ self.unit[rows].mean(axis=0)
        return rows[np.argsort(-likeness, kind="stable")], float(likeness.mean())


def _principal(unit: Floats, count: int) -> Floats:
    """(N, count) float32: the rows along the directions in which they differ most."""
    centred = unit - unit.mean(axis=0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    reduced: Floats = (centred @ directions[:, -count:]).astype(np.float32)
    return reduced
