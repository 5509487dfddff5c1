"""The unlabelled pool: two views of each image, for objectives that compare them. No label is in here."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from workbench.loader.batches import Batch, BatchOrder, ImageBatches
from workbench.loader.geometry import WHOLE
from workbench.loader.randomness import combine
from workbench.loader.store import ImageStore
from workbench.loader.transfer import to_device
from workbench.loader.views import ViewFormat, augmented_views
from workbench.recipe.training import Augmentation

_WEAK, _STRONG = 1, 2


@dataclass(frozen=True, slots=True)
class PoolBatch:
    """U images of the pool, each seen twice."""

    weak: Tensor
    """(U, 3, side, side) float32 channels-last, on the device."""
    strong: Tensor
    """Likewise, another view of each."""
    rows: Tensor
    """(U,) int64 of the images in the pool, on the device."""
    positions: NDArray[np.int64]
    """(U,) of the images in the catalogue, on the host."""


class PoolBatches:
    """An epoch goes once through the pool. Like `ImageBatches` it is a function of (seed, epoch).

    Args:
        positions: (P,) of the pool's images in the catalogue.
        weak, strong: how either view is drawn; they share no randomness. Images are never mixed.
        batch_size: images a step.
    """

    def __init__(
        self,
        store: ImageStore,
        positions: NDArray[np.int64],
        weak: Augmentation,
        strong: Augmentation,
        form: ViewFormat,
        batch_size: int,
        seed: int,
    ) -> None:
        self._store = store
        self._positions = positions
        self._views = ((weak, _WEAK), (strong, _STRONG))
        self._form = form
        self._order = BatchOrder(len(positions), batch_size, seed)
        self._seed = seed

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        return self._order.steps

    def at(self, side: int) -> PoolBatches:
        """The same batches in views of another side."""
        batches = copy(self)
        batches._form = replace(self._form, side=side)
        return batches

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[PoolBatch]:
        """The epoch's batches from `first_step` on, the same as if the epoch had run from its start."""
        order = self._order.shuffled(epoch)
        for step in self._order.slices(first_step):
            rows = order[step]
            weak, strong = (self._view(epoch, rows, *view) for view in self._views)
            yield PoolBatch(weak, strong, to_device(rows, self._form.device), self._positions[rows])

    def _view(self, epoch: int, rows: NDArray[np.int64], augmentation: Augmentation, which: int) -> Tensor:
        count = len(rows)
        keys = combine(np.full(count, epoch), rows, np.full(count, which))
        boxes = np.tile(np.array(WHOLE, dtype=np.float32), (count, 1))
        return augmented_views(
            self._store, self._positions[rows], boxes, keys, augmentation, self._form, self._seed
        )


def paired(
    labelled: ImageBatches, pool: PoolBatches, epoch: int, first_step: int = 0
) -> Iterator[tuple[Batch, PoolBatch]]:
    """The pool's epoch from `first_step` on, a labelled batch beside each of its batches.

    Labelled images go round in passes of their own, each in another order, however long the pool's epoch is.
    """
    passed, step = divmod(epoch * pool.steps + first_step, labelled.steps)
    passes = labelled.epoch(passed, step)
    for unlabelled in pool.epoch(epoch, first_step):
        batch = next(passes, None)
        if batch is None:
            passed += 1
            passes = labelled.epoch(passed)
            batch = next(passes)
        yield batch, unlabelled
