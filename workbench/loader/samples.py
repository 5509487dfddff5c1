"""Samples: what an epoch goes through. An image may be there whole, as its head crop, and in fixed copies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from workbench.dataset.catalogue import Catalogue, heads_of
from workbench.loader.geometry import WHOLE
from workbench.support.errors import UserError

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

    def totals(self, weights: NDArray[np.float32]) -> NDArray[np.float64]:
        """(C,) float64: the sum of all rows, each times its weight of (K,)."""
        certain = self.places >= 0
        totals = np.bincount(self.places[certain], weights[certain], self.classes)
        soft = self.soft[-1 - self.places[~certain]] * weights[~certain, None]
        found: NDArray[np.float64] = totals + soft.sum(axis=0, dtype=np.float64)
        return found

    @property
    def _soft_negative(self) -> NDArray[np.bool_]:
        negative: NDArray[np.bool_] = np.any(self.soft < 0, axis=1)
        return negative


FRESH = -1
"""In `Samples.copies`: a view drawn anew every epoch."""
PLAIN = 0
"""In `Samples.copies`: the image itself, never augmented; 1 and up number fixed augmented copies."""


@dataclass(frozen=True, eq=False)
class Samples:
    """K samples; row k of every array is sample k."""

    positions: NDArray[np.int64]
    """(K,) positions of the images in the catalogue and the store."""
    boxes: NDArray[np.float32]
    """(K, 4) left, top, right, bottom as fractions: the part of the image that counts."""
    copies: NDArray[np.int64]
    """(K,) FRESH, PLAIN, or the number of a fixed augmented copy."""
    targets: Targets
    """What each is taught."""
    weights: NDArray[np.float32]
    """(K,) factors of the samples' losses, at least 0."""

    def __post_init__(self) -> None:
        count = len(self.positions)
        shapes = {"positions": (count,), "boxes": (count, 4), "copies": (count,), "weights": (count,)}
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} has shape {getattr(self, name).shape}, not {shape}")
        if len(self.targets) != count:
            raise ValueError(f"targets has {len(self.targets)} rows, not {count}")
        low, high = self.boxes[:, :2], self.boxes[:, 2:]
        if not ((low >= 0) & (low < high) & (high <= 1)).all():
            raise ValueError("a box must have 0 <= left < right <= 1, likewise down")
        if not (np.isfinite(self.weights) & (self.weights >= 0)).all():
            raise ValueError("weights must be finite and at least 0")
        if (self.positions < 0).any() or (self.copies < FRESH).any():
            raise ValueError("positions count from 0, copies from -1")

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def mean_weight(self) -> float:
        """The average weight of a sample; 1 where all weigh nothing."""
        return float(self.weights.mean(dtype=np.float64)) or 1.0

    @property
    def is_whole(self) -> NDArray[np.bool_]:
        """(K,) whether each sample is its whole image."""
        whole: NDArray[np.bool_] = (self.boxes == np.array(WHOLE, dtype=np.float32)).all(axis=1)
        return whole

    @property
    def rules_out(self) -> NDArray[np.bool_]:
        """(K,) whether each sample says what it is not (negative labels), rather than what it is."""
        return self.targets.rules_out

    @property
    def classes(self) -> int:
        """C, the width of the targets."""
        return self.targets.classes

    @classmethod
    def of(
        cls,
        positions: NDArray[np.int64],
        labels: NDArray[np.int64],
        classes: int,
        weights: NDArray[np.float32] | None = None,
    ) -> Samples:
        """Whole images with one certain class each: positions (K,), labels (K,) in 0 … classes - 1."""
        return cls._whole(positions, Targets.certain(labels, classes), weights)

    @classmethod
    def soft(
        cls,
        positions: NDArray[np.int64],
        targets: NDArray[np.float32],
        weights: NDArray[np.float32] | None = None,
    ) -> Samples:
        """Whole images with class probabilities: positions (K,), targets (K, C) as in `Targets`."""
        return cls._whole(positions, Targets.of(targets), weights)

    @classmethod
    def _whole(
        cls, positions: NDArray[np.int64], targets: Targets, weights: NDArray[np.float32] | None
    ) -> Samples:
        count = len(positions)
        return cls(
            positions=positions,
            boxes=np.tile(np.array(WHOLE, dtype=np.float32), (count, 1)),
            copies=np.full(count, FRESH, dtype=np.int64),
            targets=targets,
            weights=np.ones(count, dtype=np.float32)
            if weights is None
            else weights.astype(np.float32, copy=False),
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Samples]) -> Samples:
        """All samples of `parts`, at least one, in order."""
        return cls(
            positions=np.concatenate([part.positions for part in parts]),
            boxes=np.concatenate([part.boxes for part in parts]),
            copies=np.concatenate([part.copies for part in parts]),
            targets=Targets.concatenate([part.targets for part in parts]),
            weights=np.concatenate([part.weights for part in parts]),
        )

    def take(self, rows: NDArray[np.int64]) -> Samples:
        """The samples of these rows, which may repeat."""
        return Samples(
            positions=self.positions[rows],
            boxes=self.boxes[rows],
            copies=self.copies[rows],
            targets=self.targets.take(rows),
            weights=self.weights[rows],
        )

    def with_head_crops(self, catalogue: Catalogue, mode: Literal["off", "add", "only"]) -> Samples:
        """`[data] head_crops`: add a sample for every head box, or keep just those.

        Raises:
            UserError: with "only", when no image has a box.
        """
        if mode == "off":
            return self
        boxes = head_boxes(catalogue, self.positions)
        rows = np.flatnonzero(~np.isnan(boxes[:, 0]))
        if not len(rows):
            if mode == "add":
                return self
            raise UserError(
                f"none of the {len(self)} training images has a head box",
                where="data.head_crops",
                allowed='"only" needs the XML files of annotations/xmls; "off" and "add" do not',
            )
        crops = replace(self.take(rows), boxes=boxes[rows])
        return crops if mode == "only" else Samples.concatenate([self, crops])

    def with_copies(self, count: int) -> Samples:
        """`[data] augmented_copies`: each sample plain and in `count` fixed augmented views; 0: as before."""
        if count == 0:
            return self
        copies = [replace(self, copies=np.full(len(self), copy, dtype=np.int64)) for copy in range(count + 1)]
        return Samples.concatenate(copies)


def head_boxes(catalogue: Catalogue, positions: NDArray[np.int64]) -> NDArray[np.float32]:
    """(K, 4) left, top, right, bottom of each image's head box as fractions of what is kept of the image; NaN
    where it has none.
    """
    boxes = np.full((len(positions), 4), np.nan, dtype=np.float32)
    for row, head in heads_of([catalogue.records[position] for position in positions.tolist()]).items():
        boxes[row] = astuple(head)
    return boxes
