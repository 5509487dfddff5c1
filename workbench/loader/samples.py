"""Samples: what an epoch goes through. An image may be there whole, as its head crop, and in fixed copies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from workbench.dataset.catalogue import Catalogue
from workbench.loader.geometry import WHOLE
from workbench.loader.targets import Targets
from workbench.support.errors import UserError

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
    records = [catalogue.records[position] for position in positions.tolist()]
    heads = [record.head.within(record.size) if record.head else None for record in records]
    rows = [
        (np.nan,) * 4 if head is None else (head.left, head.top, head.right, head.bottom) for head in heads
    ]
    return np.array(rows, dtype=np.float32).reshape(-1, 4)
