"""Images that belong together (of a patient, a burst, a video) stay together when data are divided."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def group_numbers(names: Sequence[str]) -> Ints:
    """(N,) int64, equal for images of one group; an image without one is a group by itself."""
    known: dict[str, int] = {}
    numbers = [known.setdefault(name or f"\0{place}", len(known)) for place, name in enumerate(names)]
    return np.array(numbers, dtype=np.int64)


def held_out_groups(groups: Ints, classes: Ints, ranks: Ints, wanted: Ints) -> NDArray[np.bool_]:
    """(N,) bool: whole groups whose images come as near to `wanted` of each class as groups allow.

    In the order of their ranks, first groups that leave every class at or below what is wanted, then those
    that bring it nearer although they overshoot. No class loses all its images: one that has a single group
    keeps it.

    Args:
        groups: (N,) int64, equal for images of one group.
        classes: (N,) int64 from 0.
        ranks: (N,) int64, the place of each image in a drawn order.
        wanted: (C,) int64 images to hold out of each class.
    """
    counts = np.bincount(classes, minlength=len(wanted))
    held = np.zeros(len(wanted), dtype=np.int64)
    chosen = np.zeros(len(groups), dtype=np.bool_)
    members = list(_members(groups, ranks))
    for may_overshoot in (False, True):
        for images in members:
            if chosen[images[0]]:
                continue
            named, many = np.unique(classes[images], return_counts=True)
            missing = wanted[named] - held[named]
            left = counts[named] - held[named] - many
            gain = int((missing**2 - (missing - many) ** 2).sum())
            if (left < 1).any() or gain <= 0 or (not may_overshoot and (many > missing).any()):
                continue
            held[named] += many
            chosen[images] = True
    return chosen


def group_folds(groups: Ints, classes: Ints, ranks: Ints, folds: int) -> Ints:
    """(N,) int64 in [0, folds): each group lies in one fold, and classes are as even as groups allow.

    The largest groups are dealt first, each to the fold that lacks its classes most, as scikit-learn's
    StratifiedGroupKFold does; groups of one size by their ranks. Arguments as for `held_out_groups`.
    """
    counts = np.bincount(classes)
    dealt = np.zeros((folds, len(counts)), dtype=np.int64)
    parts = np.zeros(len(groups), dtype=np.int64)
    for images in sorted(_members(groups, ranks), key=len, reverse=True):
        named, many = np.unique(classes[images], return_counts=True)
        before = dealt[:, named]
        cost = ((2 * before * many + many**2) / counts[named]).sum(axis=1)  # (folds,)
        fold = int(np.lexsort((dealt.sum(axis=1), cost))[0])
        dealt[fold, named] += many
        parts[images] = fold
    return parts


def _members(groups: Ints, ranks: Ints) -> Iterator[Ints]:
    """Positions of each group's images, by the best rank among them."""
    order = np.lexsort((ranks, groups))
    starts = np.flatnonzero(np.diff(groups[order], prepend=groups[order[:1]] - 1))
    found = np.split(order, starts[1:])
    yield from sorted(found, key=lambda images: int(ranks[images[0]])) if len(order) else ()
