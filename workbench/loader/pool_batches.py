"""The unlabelled pool: two views of each image, for objectives that compare them. No label is in here."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from workbench.loader.batches import Batch, BatchOrder
from workbench.loader.drawn_rows import AskedRows, DrawnRows
from workbench.loader.geometry import WHOLE
from workbench.loader.randomness import combine
from workbench.loader.store import ImageStore, to_device
from workbench.loader.views import ViewFormat, augmented_views
from workbench.recipe.training import Augmentation

WEAK, STRONG = 1, 2
"""The two kinds of views; they share no randomness."""


def turn_keys(turn: int, positions: NDArray[np.int64], kind: int) -> NDArray[np.uint64]:
    """(K,) uint64 what the `turn`-th view of a kind is drawn from, whatever split an image is in."""
    return combine(np.full(len(positions), turn), positions, np.full(len(positions), kind))


@dataclass(frozen=True, slots=True)
class PoolBatch:
    """U images of the pool, each seen twice."""

    weak: Tensor
    """(U, 3, side, side) float32 channels-last, or what frozen groups made of such views, on the device."""
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
        turns: how many views of either kind an image has in all, taken in turn; 0: each epoch draws anew.
        by_rows: as in `ImageBatches`.
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
        turns: int = 0,
        *,
        by_rows: bool = False,
    ) -> None:
        self._store = store
        self._positions = positions
        self._views = ((weak, WEAK), (strong, STRONG))
        self._asked = {WEAK: AskedRows(), STRONG: AskedRows()} if by_rows else None
        self._turns = turns
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
        def draw(chosen: NDArray[np.int64]) -> Tensor:
            return self._drawn(epoch, rows[chosen], augmentation, which)

        if self._asked is None:
            return draw(np.arange(len(rows)))
        shape, device = (len(rows), 3, self._form.side, self._form.side), self._form.device
        return DrawnRows.of(draw, shape, device, self._asked[which])

    def _drawn(self, epoch: int, rows: NDArray[np.int64], augmentation: Augmentation, which: int) -> Tensor:
        positions = self._positions[rows]
        if self._turns:
            keys = turn_keys(epoch % self._turns, positions, which)
        else:
            keys = combine(np.full(len(rows), epoch), rows, np.full(len(rows), which))
        return whole_views(self._store, positions, keys, augmentation, self._form, self._seed)


def whole_views(
    store: ImageStore,
    positions: NDArray[np.int64],
    keys: NDArray[np.uint64],
    augmentation: Augmentation,
    form: ViewFormat,
    seed: int,
) -> Tensor:
    """(K, 3, side, side) float32 augmented views of whole images, drawn from `keys` (K,)."""
    boxes = np.tile(np.array(WHOLE, dtype=np.float32), (len(positions), 1))
    return augmented_views(store, positions, boxes, keys, augmentation, form, seed)


class LabelledPasses(Protocol):
    """Labelled batches, an epoch of them a pass."""

    @property
    def steps(self) -> int:
        """Batches a pass."""

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """A pass from one of its steps on."""


class PoolEpochs(Protocol):
    """Unlabelled batches."""

    @property
    def steps(self) -> int:
        """Batches an epoch."""

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[PoolBatch]:
        """An epoch from one of its steps on."""


def paired(
    labelled: LabelledPasses, pool: PoolEpochs, epoch: int, first_step: int = 0
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
