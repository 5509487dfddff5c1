"""What samples are taught: rows of class probabilities, of which certain ones are kept as a number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Targets:
    """K rows of (C,) float32 that sum to 1; or that are −1/n at each of n classes that are ruled out.

    A row that is one certain class takes 8 bytes, not 4 C: 100,000 images of 1,000 classes 1 MB, not 400.
    """

    places: Ints
    """(K,) the class of a certain row, or −1 − s where row s of `soft` is meant."""
    soft: NDArray[np.float32]
    """(S, C) the others."""

    def __post_init__(self) -> None:
        if self.soft.ndim != 2 or self.places.ndim != 1:
            raise ValueError(f"targets have shapes {self.places.shape} and {self.soft.shape}")
        rows, classes = self.soft.shape
        if len(self.places) and not -rows <= self.places.min() <= self.places.max() < classes:
            raise ValueError(f"labels must be in 0 … {classes - 1}")
        sums = np.where(self._soft_negative, -1, 1) * self.soft.sum(axis=1)
        mixed = (self.soft < 0).any(axis=1) & (self.soft > 0).any(axis=1)
        if mixed.any() or not np.allclose(sums, 1, atol=1e-3):
            raise ValueError("targets must be probabilities whose rows sum to 1, or all of their negatives")

    def __len__(self) -> int:
        return len(self.places)

    @classmethod
    def certain(cls, labels: Ints, classes: int) -> Targets:
        """One class each: labels (K,) in 0 … classes - 1."""
        if len(labels) and labels.min() < 0:
            raise ValueError(f"labels must be in 0 … {classes - 1}")
        return cls(labels.astype(np.int64), np.zeros((0, classes), dtype=np.float32))

    @classmethod
    def of(cls, rows: NDArray[np.float32]) -> Targets:
        """Any rows (K, C)."""
        if rows.ndim != 2:
            raise ValueError(f"targets has shape {rows.shape}, not (samples, classes)")
        is_certain = (np.count_nonzero(rows, axis=1) == 1) & (rows.max(axis=1, initial=-1.0) == 1)
        places = np.empty(len(rows), dtype=np.int64)
        places[is_certain] = rows[is_certain].argmax(axis=1)
        places[~is_certain] = -1 - np.arange(np.count_nonzero(~is_certain))
        return cls(places, rows[~is_certain].astype(np.float32, copy=False))

    @classmethod
    def concatenate(cls, parts: Sequence[Targets]) -> Targets:
        """All rows of `parts`, at least one, in order."""
        places, before = [], 0
        for part in parts:
            places.append(np.where(part.places < 0, part.places - before, part.places))
            before += len(part.soft)
        return cls(np.concatenate(places), np.concatenate([part.soft for part in parts]))

    @property
    def classes(self) -> int:
        """C."""
        return int(self.soft.shape[1])

    @property
    def rules_out(self) -> NDArray[np.bool_]:
        """(K,) whether each row says what a sample is not (negative labels), rather than what it is."""
        negative = np.zeros(len(self), dtype=np.bool_)
        is_soft = self.places < 0
        negative[is_soft] = self._soft_negative[-1 - self.places[is_soft]]
        return negative

    def take(self, rows: Ints) -> Targets:
        """These rows, which may repeat."""
        places = self.places[rows]
        is_soft = places < 0
        used, numbers = np.unique(-1 - places[is_soft], return_inverse=True)
        places[is_soft] = -1 - numbers
        return Targets(places, self.soft[used])

    def dense(self, rows: Ints | None = None) -> NDArray[np.float32]:
        """(B, C) float32 of these rows, or of all."""
        places = self.places if rows is None else self.places[rows]
        targets = np.zeros((len(places), self.classes), dtype=np.float32)
        is_soft = places < 0
        certain = np.flatnonzero(~is_soft)
        targets[certain, places[certain]] = 1
        if len(certain) < len(places):
            targets[is_soft] = self.soft[-1 - places[is_soft]]
        return targets

    @property
    def _soft_negative(self) -> NDArray[np.bool_]:
        negative: NDArray[np.bool_] = np.any(self.soft < 0, axis=1)
        return negative
