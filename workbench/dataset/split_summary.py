"""What a split gives each class, and the accuracy that no model trained on it can pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from workbench.dataset.catalogue import Catalogue
from workbench.dataset.split import Positions, Split


@dataclass(frozen=True, slots=True)
class ClassCounts:
    """Images of a class (or of all classes together) in each part."""

    name: str
    labelled: int
    unlabelled: int
    validation: int
    test: int


@dataclass(frozen=True, slots=True)
class SplitSummary:
    """Counts of a split."""

    classes: tuple[ClassCounts, ...]
    total: ClassCounts
    covered: int
    """Classes that have a labelled image."""
    ceiling: float
    """Share of the test images whose class has a labelled image: no model can name a class it never saw."""


def split_summary(
    catalogue: Catalogue,
    split: Split,
    target: Literal["breed", "species"],
    taught: Positions | None = None,
) -> SplitSummary:
    """Count a split's images by class.

    Args:
        taught: (N,) int64 classes by catalogue position that training is told, by which the labelled images
            count (`Corrected.taught`); None: their true ones.
    """
    truth, names = catalogue.labels(target), catalogue.classes(target)

    def count(labels: Positions, positions: Positions) -> Positions:
        return np.bincount(labels[positions], minlength=len(names))

    parts = [count(truth if taught is None else taught, split.labelled)]
    parts += [count(truth, part) for part in (split.unlabelled, split.validation, split.test)]
    labelled, test = parts[0], parts[3]
    rows = zip(names, *(part.tolist() for part in parts), strict=True)
    return SplitSummary(
        classes=tuple(ClassCounts(*row) for row in rows),
        total=ClassCounts("all", *(int(part.sum()) for part in parts)),
        covered=int((labelled > 0).sum()),
        ceiling=float(test[labelled > 0].sum() / max(1, test.sum())),
    )
