"""Batches: an epoch of samples in an order that is f(seed, epoch), so it can go on from any step, exactly."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workbench.compute import accelerator_of, runs_ahead
from workbench.loader.augmentation import Mixture, ViewPlan
from workbench.loader.drawn_rows import AskedRows, DrawnRows
from workbench.loader.geometry import WHOLE
from workbench.loader.randomness import combine, permutation
from workbench.loader.samples import FRESH, PLAIN, Samples, Targets
from workbench.loader.store import ImageStore, to_device
from workbench.loader.views import (
    Channels,
    HeadMasks,
    ViewFormat,
    head_masks,
    plain_views,
    plan_views,
    render,
)
from workbench.recipe.fields import EvaluationView
from workbench.recipe.training import Augmentation, batches_of
from workbench.support.spans import Part, span

T = TypeVar("T")

DEPTH = 2
"""Batches that wait: one would do if all steps took equally long."""
_LOOK_SECONDS = 0.1
"""How often a full queue is left to see whether anybody still wants its batches."""


class _End:
    """No more batches; `error`: because of it."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class Ahead(Generic[T]):
    """Iterates over `items` in a thread of its own, up to `depth` of them ahead.

    What an item's making raises is raised where the item would have come. `close` ends the thread within the
    making of an item. Making one must not draw from torch's global generator, which the steps use too.

    Where the device has a lane, items are made in it, beside the work that they are for. An item's tensors
    may be used until the next one is asked for: their memory then goes back to the lane.

    Args:
        device: that the items are made on.
    """

    def __init__(self, items: Iterator[T], device: torch.device, depth: int = DEPTH) -> None:
        self._items = items
        self._queue: queue.Queue[tuple[T, Any] | _End] = queue.Queue(depth)
        self._closed = threading.Event()
        self._lane = accelerator_of(device).lane(device)
        self._handed_out: T | None = None  # not let go of before the lane follows what is done with it
        self._follow()
        self._thread = threading.Thread(target=self._work, name="batches", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        if self._closed.is_set():
            raise StopIteration
        self._follow()
        made = self._queue.get()
        if not isinstance(made, _End):
            item, mark = made
            if self._lane is not None:
                self._lane.join(mark)
            self._handed_out = item
            return item
        self.close()
        if made.error is not None:
            raise made.error
        raise StopIteration

    def close(self) -> None:
        """End the thread, and wait for it; after that there are no more items."""
        self._closed.set()
        self._thread.join()
        self._follow()
        if self._lane is not None:
            self._lane.join(
                self._lane.mark()
            )  # what was made for nobody, too, before what it was made of goes
        self._handed_out = None

    def _follow(self) -> None:
        if self._lane is not None:
            self._lane.follow()

    def _work(self) -> None:
        with contextlib.nullcontext() if self._lane is None else self._lane.within():
            self._make_all()

    def _make_all(self) -> None:
        error: BaseException | None = None
        try:
            for item in self._items:
                if not self._put((item, None if self._lane is None else self._lane.mark())):
                    return
        except BaseException as raised:
            error = raised
        self._put(_End(error))

    def _put(self, made: tuple[T, Any] | _End) -> bool:
        """Whether it is still wanted."""
        while not self._closed.is_set():
            try:
                self._queue.put(made, timeout=_LOOK_SECONDS)
                return True
            except queue.Full:
                continue
        return False


def prepared(items: Iterator[T], device: torch.device) -> Iterator[T]:
    """The items: made ahead, once the first is asked for, where the host only queues work for the device."""
    if not runs_ahead(device):  # there the next one would only take cores from the work on this one
        yield from items
        return
    with contextlib.closing(Ahead(items, device)) as ahead:
        yield from ahead


@dataclass(frozen=True, slots=True)
class Batch:
    """What one optimiser step sees."""

    inputs: Tensor
    """(B, 3, side, side) float32 channels-last images, or (B, D) features, on the device."""
    targets: Tensor
    """(B, C) float32, rows sum to 1, on the device."""
    weights: Tensor
    """(B,) float32, on the device."""
    total_weight: float
    """What a batch of B images weighs on an average of the epoch; a loss is divided by it.

    Not by the batch's own sum: an image would then count for less, the more weighty images happen to be
    beside it, and labelled images of weight S/L would get a smaller share of small batches than of large
    ones.
    """
    positions: NDArray[np.int64]
    """(B,) of the images in the catalogue, on the host."""
    heads: HeadMasks | None = None
    """Where the animals' heads are, for a loss that asks."""


@dataclass(frozen=True, slots=True)
class BatchOrder:
    """Which samples make which step of an epoch.

    The last batch may be smaller; one that would hold a single sample joins the batch before it, since
    batch norm cannot learn from one value a channel.
    """

    count: int
    batch_size: int
    seed: int

    def __post_init__(self) -> None:
        if self.count < 1 or self.batch_size < 1:
            raise ValueError(f"{self.count} samples cannot be put into batches of {self.batch_size}")

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        return batches_of(self.count, self.batch_size)

    def shuffled(self, epoch: int) -> NDArray[np.int64]:
        """(K,) int64 samples in the epoch's order."""
        return permutation(self.seed, "order", epoch, n=self.count)

    def slices(self, first_step: int = 0) -> Iterator[slice]:
        """What each step from `first_step` on takes of the shuffled samples."""
        for step in range(first_step, self.steps):
            start = step * self.batch_size
            yield slice(start, self.count if step == self.steps - 1 else start + self.batch_size)


class ImageBatches:
    """Augmented training images. An epoch is a function of (seed, epoch); nothing is kept between epochs.

    Args:
        heads: (K, 4) head box of each sample, NaN where there is none, for batches that say where heads are;
            views of such batches cannot be mixed.
        by_rows: several processes share a batch: each draws the rows that it is asked for (`DrawnRows`).
    """

    def __init__(
        self,
        store: ImageStore,
        samples: Samples,
        augmentation: Augmentation,
        side: int,
        mean: Channels,
        std: Channels,
        batch_size: int,
        seed: int,
        device: torch.device,
        heads: NDArray[np.float32] | None = None,
        *,
        by_rows: bool = False,
    ) -> None:
        if heads is not None and augmentation.mixing != "none":
            raise ValueError("mixed images have no one head")
        self._store = store
        self._samples = samples
        self._augmentation = augmentation
        self._form = ViewFormat(side, mean, std, device)
        self._order = BatchOrder(len(samples), batch_size, seed)
        self._seed = seed
        self._heads = heads
        self._asked = AskedRows() if by_rows else None
        self._fixed_keys = combine(samples.positions, samples.copies, *_box_words(samples.boxes))

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        return self._order.steps

    def at(self, side: int) -> ImageBatches:
        """The same batches in views of another side."""
        batches = copy(self)
        batches._form = replace(self._form, side=side)
        return batches

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """The epoch's batches from `first_step` on, the same as if the epoch had run from its start."""
        order = self._order.shuffled(epoch)
        for step, rows in enumerate(self._order.slices(first_step), first_step):
            yield self._batch(epoch, step, order[rows])

    def in_order(self) -> Iterator[Batch]:
        """Every sample once, in the samples' order, for features of views that are drawn once."""
        for step, rows in enumerate(self._order.slices()):
            yield self._batch(0, step, np.arange(rows.start, rows.stop))

    def in_views(self, views: Sequence[EvaluationView]) -> Iterator[tuple[Tensor, NDArray[np.int64]]]:
        """Every sample once, in the samples' order, seen in each of the views that images are evaluated in.

        Yields: (V·B, 3, side, side) and the (B,) positions, as `plain_batches` does.
        """
        for rows in self._order.slices():
            chosen = np.arange(rows.start, rows.stop)
            with span(Part.AUGMENTATION, "augmented views"):
                plan, positions = self._plan(0, chosen), self._samples.positions[chosen]
                boxes = self._samples.boxes[chosen]
                parts = self._store.parts(positions, boxes)
                squares = self._store.gather_parts(positions, boxes, self._form.device)
                seen = [render(squares, plan.seen_in(view, *parts), self._form) for view in views]
                inputs = seen[0] if len(seen) == 1 else torch.cat(seen)
            yield inputs, positions

    def _plan(self, epoch: int, rows: NDArray[np.int64]) -> ViewPlan:
        samples = self._samples
        copies = samples.copies[rows]
        keys = np.where(copies == FRESH, combine(np.full(len(rows), epoch), rows), self._fixed_keys[rows])
        return plan_views(
            self._store,
            samples.positions[rows],
            samples.boxes[rows],
            keys,
            self._augmentation,
            self._form.side,
            self._seed,
            spared=copies == PLAIN,
        )

    def _batch(self, epoch: int, step: int, rows: NDArray[np.int64]) -> Batch:
        samples, device = self._samples, self._form.device
        positions, count, side = samples.positions[rows], len(rows), self._form.side
        mixture = self._mixture(epoch, step, count)

        def draw(chosen: NDArray[np.int64]) -> Tensor:
            if mixture is None:
                return self._views(epoch, rows[chosen])
            return _mixed(mixture, chosen, lambda some: self._views(epoch, rows[some]))

        if self._asked is None:
            inputs = draw(np.arange(count))
        else:
            inputs = DrawnRows.of(draw, (count, 3, side, side), device, self._asked)
        targets = to_device(samples.targets.dense(rows), device)
        weights = to_device(samples.weights[rows], device)
        if mixture is not None:
            targets, weights = mixture.labels(targets, weights)
        heads = None
        if self._heads is not None:
            # Where the square is the head's own, all of it is head.
            own = self._store.has_own_square(samples.boxes[rows])[:, None] & ~np.isnan(self._heads[rows])
            boxes = np.where(own, np.array(WHOLE, dtype=np.float32), self._heads[rows])
            heads = head_masks(self._plan(epoch, rows), boxes, samples.weights[rows], self._form)
        return Batch(inputs, targets, weights, count * samples.mean_weight, positions, heads)

    def _views(self, epoch: int, rows: NDArray[np.int64]) -> Tensor:
        """(K, 3, side, side) views of these samples, not mixed."""
        positions, boxes = self._samples.positions[rows], self._samples.boxes[rows]
        with span(Part.AUGMENTATION, "augmented views"):
            plan = self._plan(epoch, rows)
            return render(self._store.gather_parts(positions, boxes, self._form.device), plan, self._form)

    def _mixture(self, epoch: int, step: int, count: int) -> Mixture | None:
        kind, alpha = self._augmentation.mixing, self._augmentation.mixing_alpha
        if kind == "none":
            return None
        return Mixture.of(kind, alpha, count, self._form.side, seed=self._seed, epoch=epoch, step=step)


def _mixed(
    mixture: Mixture, chosen: NDArray[np.int64], views: Callable[[NDArray[np.int64]], Tensor]
) -> Tensor:
    """(K, 3, side, side) blends of these rows of a batch, from the views of theirs and their partners'."""
    needed = np.union1d(chosen, mixture.partners[chosen])
    drawn = views(needed)

    def those(rows: NDArray[np.int64]) -> Tensor:
        return drawn.index_select(0, to_device(np.searchsorted(needed, rows), drawn.device))

    # Theirs stay channels-last, as views are drawn, whether they are all of the batch or some.
    own = drawn if len(chosen) == len(needed) else those(chosen).contiguous(memory_format=torch.channels_last)
    return mixture.images(own, those(mixture.partners[chosen]))


_DENSE_BYTES = 2**26
"""Of targets that are held as rows of probabilities: to make 32 of 1,000 classes anew takes a head's step a
tenth longer."""


class _KeptTargets:
    """K rows of targets on a device: few as rows of (C,), of many the classes and what is soft."""

    def __init__(self, targets: Targets, device: torch.device) -> None:
        self._classes, self._rows = targets.classes, torch.zeros(0)
        self._is_dense = 4 * targets.classes * len(targets) <= _DENSE_BYTES
        if self._is_dense:
            self._rows = to_device(targets.dense(), device)
            return
        self._places = to_device(targets.places, device)
        self._soft = to_device(targets.soft, device)

    def taken(self, index: Tensor) -> _KeptTargets:
        """These rows."""
        found = copy(self)
        if self._is_dense:
            found._rows = self._rows[index]
        else:
            found._places = self._places[index]
        return found

    def dense(self, rows: slice) -> Tensor:
        """(B, C) float32 of these rows, the very same either way."""
        if self._is_dense:
            return self._rows[rows]
        places = self._places[rows]
        targets = (places[:, None] == torch.arange(self._classes, device=places.device)).float()
        if len(self._soft):
            own = self._soft[(-1 - places).clamp(min=0)]
            targets = torch.where((places < 0)[:, None], own, targets)
        return targets


class FeatureRows(Protocol):
    """(M, D) float rows on a device: a tensor, or what reads them as they are asked for."""

    @property
    def device(self) -> torch.device: ...
    def __len__(self) -> int: ...
    def index_select(self, dim: Literal[0], index: Tensor, /) -> Tensor: ...


class FeatureBatches:
    """Cached features of a frozen trunk, on their own device: an epoch costs little beside the head's steps.

    Args:
        features: (M, D) float, kept as it is.
        rows: (K,) int64 the row of `features` that holds each sample.
        samples: K samples, for targets, weights and positions; boxes and copies are what `features` were
            made of.
        batch_size, seed: as in `ImageBatches`; the order of samples is the same as there.
    """

    def __init__(
        self, features: FeatureRows, rows: NDArray[np.int64], samples: Samples, batch_size: int, seed: int
    ) -> None:
        if rows.shape != (len(samples),) or (rows < 0).any() or (rows >= len(features)).any():
            raise ValueError(
                f"rows must name one of {len(features)} features for each of {len(samples)} samples"
            )
        self._features = features
        self._rows = to_device(rows, features.device)
        self._targets = _KeptTargets(samples.targets, features.device)
        self._weights = to_device(samples.weights, features.device)
        self._mean_weight = samples.mean_weight
        self._positions = samples.positions
        self._order = BatchOrder(len(samples), batch_size, seed)

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        return self._order.steps

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """The epoch's batches from `first_step` on, the same as if the epoch had run from its start."""
        order = self._order.shuffled(epoch)
        index = to_device(order, self._features.device)
        # Small columns are shuffled once an epoch and sliced; features are gathered a batch at a time.
        rows, targets, weights = self._rows[index], self._targets.taken(index), self._weights[index]
        positions = self._positions[order]
        for batch in self._order.slices(first_step):
            inputs = self._features.index_select(0, rows[batch])
            total_weight = len(inputs) * self._mean_weight
            yield Batch(inputs, targets.dense(batch), weights[batch], total_weight, positions[batch])


def plain_batches(
    store: ImageStore,
    positions: NDArray[np.int64],
    form: ViewFormat,
    batch_size: int,
) -> Iterator[tuple[Tensor, NDArray[np.int64]]]:
    """Plain views of `positions` in their order, for evaluation and feature extraction.

    Yields: (V·B, 3, side, side) float32 normalised channels-last, and the (B,) positions. The last batch may
    hold one image.

    Args:
        batch_size: B.
    """
    for start in range(0, len(positions), batch_size):
        batch = positions[start : start + batch_size]
        yield plain_views(store, batch, form), batch


def _box_words(boxes: NDArray[np.float32]) -> tuple[NDArray[np.int64], ...]:
    """Four (K,) int64 columns, equal for equal boxes."""
    return tuple(np.ascontiguousarray(boxes, dtype=np.float32).view(np.int32).astype(np.int64).T)
