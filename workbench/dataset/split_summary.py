"""What a split gives each class, and the accuracy that no model trained on it can pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from workbench.dataset.catalogue import Catalogue
from workbench.dataset.split import Positions, Split


@dataclass(frozen=True, slots=True)
class ClassCounts:
    """Images of a class (or of all images together, those of unknown class too) in each part."""

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
    extra_labelled: int = 0
    """Of the labelled images those that are not the data set's own."""
    extra_unlabelled: int = 0
    """Likewise of the pool."""

    @property
    def labelled_words(self) -> str:
        """The labelled images, extra ones apart: `294`, `294 + 60 extra`."""
        return counted_apart(self.total.labelled, self.extra_labelled)

    @property
    def unlabelled_words(self) -> str:
        """The pool likewise."""
        return counted_apart(self.total.unlabelled, self.extra_unlabelled)


def counted_apart(images: int, extra: int) -> str:
    """`294` images of which none is extra; `294 + 60 extra` of 354."""
    return f"{images - extra:,} + {extra:,} extra" if extra else f"{images:,}"


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
        known = labels[positions]
        return np.bincount(known[known >= 0], minlength=len(names))

    positions = (split.labelled, split.unlabelled, split.validation, split.test)
    parts = [count(truth if taught is None else taught, split.labelled)]
    parts += [count(truth, part) for part in positions[1:]]
    labelled, test = parts[0], parts[3]
    rows = zip(names, *(part.tolist() for part in parts), strict=True)
    return SplitSummary(
        classes=tuple(ClassCounts(*row) for row in rows),
        total=ClassCounts("all", *map(len, positions)),
        covered=int((labelled > 0).sum()),
        ceiling=float(test[labelled > 0].sum() / max(1, test.sum())),
        extra_labelled=int(catalogue.is_extra[split.labelled].sum()),
        extra_unlabelled=int(catalogue.is_extra[split.unlabelled].sum()),
    )
