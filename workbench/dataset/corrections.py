"""A review laid over a split: what a run trains on changes, what it is measured by does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from workbench.dataset.catalogue import Catalogue
from workbench.dataset.review import Correction, Review, Verdict
from workbench.dataset.split import Positions, Split
from workbench.support.clean import clean
from workbench.support.errors import UserError, nearest

MOVED = "the data set has changed, or the review was made on another one"


@dataclass(frozen=True, eq=False)
class Corrected:
    """A split after corrections, the classes to train with, and what was done."""

    split: Split
    taught: Positions
    """(N,) int64 classes by catalogue position as training is told them: a person's word, else the truth."""
    labelled: int = 0
    """Training images that a person accepted or relabelled."""
    from_pool: int = 0
    """Those of them whose labels were hidden before."""
    excluded: int = 0
    """Images taken out of training."""
    left_alone: int = 0
    """Corrections of images that do not train: what measures a run is never tuned."""


def apply_corrections(
    review: Review, catalogue: Catalogue, split: Split, target: Literal["breed", "species"], *, where: Path
) -> Corrected:
    """Train as a person said: accepted and relabelled images get that label, excluded ones are dropped.

    Only images of the split's labelled part and pool change. An image of the pool with a label leaves the
    pool.

    Args:
        where: the review's file, for messages.

    Raises:
        UserError: a correction of an image or with a class that the data set does not have.
    """
    truth, classes = catalogue.labels(target), catalogue.classes(target)
    if not review.corrections:
        return Corrected(split, truth)
    positions = _known_positions(review, catalogue, where)
    numbers = _known_classes(review, classes, where)
    trains = set(split.labelled.tolist()) | set(split.unlabelled.tolist())
    taught, moved, dropped = truth.copy(), [], []
    for correction in review.corrections:
        position = positions[correction.id]
        if position is None or position not in trains:
            continue
        if correction.verdict is Verdict.EXCLUDE:
            dropped.append(position)
        else:
            taught[position] = numbers[correction.label]
            moved.append(position)
    labelled = np.setdiff1d(np.union1d(split.labelled, _positions(moved)), _positions(dropped))
    unlabelled = np.setdiff1d(split.unlabelled, _positions(moved + dropped))
    return Corrected(
        split=replace(split, labelled=labelled, unlabelled=unlabelled),
        taught=taught,
        labelled=len(moved),
        from_pool=int(np.isin(_positions(moved), split.unlabelled).sum()),
        excluded=len(dropped),
        left_alone=len(review.corrections) - len(moved) - len(dropped),
    )


def _positions(values: Sequence[int]) -> Positions:
    return np.array(values, dtype=np.int64)


def _known_positions(review: Review, catalogue: Catalogue, where: Path) -> dict[str, int | None]:
    """Id -> position of every image in the data set; None for one that is there but cannot be used."""
    known: dict[str, int | None] = {image.id: None for image in catalogue.left_out}
    known |= {record.id: position for position, record in enumerate(catalogue.records)}
    strange = [correction for correction in review.corrections if correction.id not in known]
    if strange:
        raise _unknown("the data set has no image of this name", strange, strange[0].id, known, where)
    return known


def _known_classes(review: Review, classes: Sequence[str], where: Path) -> dict[str, int]:
    """Class name -> number."""
    known = {name: number for number, name in enumerate(classes)}
    strange = [c for c in review.corrections if c.verdict is not Verdict.EXCLUDE and c.label not in known]
    if strange:
        label = strange[0].label
        raise _unknown(f"the data set has no class '{clean(label, 80)}'", strange, label, known, where)
    return known


def _unknown(
    what: str,
    strange: Sequence[Correction],
    word: str,
    known: dict[str, int | None] | dict[str, int],
    where: Path,
) -> UserError:
    more = f" (and {len(strange) - 1} more such)" if len(strange) > 1 else ""
    near = nearest(word, known)
    return UserError(
        f"correction of {clean(strange[0].id, 80)}: {what}{more}",
        where=clean(where),
        hint=f"did you mean {clean(near, 80)}?" if near else MOVED,
    )
