"""Batches: every sample once, in an order that can be entered anywhere."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from tests.loader.conftest import CPU, random_store
from workbench.loader.batches import Batch, BatchOrder, FeatureBatches, ImageBatches, plain_batches
from workbench.loader.samples import PLAIN, Samples
from workbench.loader.views import ViewFormat, plain_views
from workbench.recipe.training import Augmentation

ZERO, ONE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


def _samples(count: int) -> Samples:
    return Samples.of(np.arange(count), np.arange(count) % 3, classes=3)


def _images(samples: Samples, augmentation: Augmentation, batch_size: int = 4, seed: int = 0) -> ImageBatches:
    store = random_store(int(samples.positions.max()) + 1, 37)
    return ImageBatches(store, samples, augmentation, 32, ZERO, ONE, batch_size, seed, CPU)


def _same(a: Batch, b: Batch) -> bool:
    tensors = ((a.inputs, b.inputs), (a.targets, b.targets), (a.weights, b.weights))
    return all(torch.equal(x, y) for x, y in tensors) and bool((a.positions == b.positions).all())


@given(st.integers(1, 300), st.integers(1, 70), st.integers(0, 2**63 - 1), st.integers(0, 50), st.data())
def test_an_epoch_holds_every_sample_once_and_can_be_entered_at_any_step(
    count: int, batch_size: int, seed: int, epoch: int, data: st.DataObject
) -> None:
    order = BatchOrder(count, batch_size, seed)
    shuffled = order.shuffled(epoch)
    batches = [shuffled[rows].tolist() for rows in order.slices()]
    assert len(batches) == order.steps
    assert sorted(chain.from_iterable(batches)) == list(range(count))
    sizes = [len(batch) for batch in batches]
    assert all(size == batch_size for size in sizes[:-1])
    assert 1 <= sizes[-1] <= batch_size + 1
    assert batch_size == 1 or count == 1 or min(sizes) > 1
    first = data.draw(st.integers(0, order.steps))
    assert [shuffled[rows].tolist() for rows in order.slices(first)] == batches[first:]


def test_epochs_and_seeds_are_in_different_orders() -> None:
    order = BatchOrder(50, 8, 0)
    assert order.shuffled(1).tolist() != order.shuffled(2).tolist()
    assert order.shuffled(1).tolist() != BatchOrder(50, 8, 1).shuffled(1).tolist()


def test_no_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="0 samples"):
        BatchOrder(0, 8, 0)


@pytest.mark.parametrize("mixing", ["none", "mixup", "cutmix"])
def test_resuming_at_any_step_gives_exactly_the_same_batches(mixing: str) -> None:
    augmentation = Augmentation.model_validate(
        {"policy": "rand", "erasing": 0.5, "rotation": 9.0, "mixing": mixing}
    )
    whole = list(_images(_samples(13), augmentation).epoch(3))
    assert [len(batch.positions) for batch in whole] == [4, 4, 5]
    for first in range(len(whole) + 1):
        resumed = list(_images(_samples(13), augmentation).epoch(3, first))
        assert len(resumed) == len(whole) - first
        assert all(_same(a, b) for a, b in zip(resumed, whole[first:], strict=True))


def test_targets_and_weights_stay_with_their_images() -> None:
    samples = Samples.of(np.arange(10), np.arange(10) % 3, 3, np.arange(10, dtype=np.float32))
    for batch in _images(samples, Augmentation()).epoch(0):
        assert batch.targets.argmax(dim=1).tolist() == (batch.positions % 3).tolist()
        assert batch.weights.tolist() == batch.positions.tolist()
        assert batch.inputs.shape == (len(batch.positions), 3, 32, 32)


def _views(batches: ImageBatches, epoch: int) -> dict[tuple[int, int], torch.Tensor]:
    """Views by (position, which of its views in the epoch)."""
    seen: dict[tuple[int, int], torch.Tensor] = {}
    for batch in batches.epoch(epoch):
        for view, position in zip(batch.inputs, batch.positions.tolist(), strict=True):
            seen[position, sum(p == position for p, _ in seen)] = view
    return seen


def test_views_are_fresh_every_epoch_whatever_the_batch_size() -> None:
    first = _views(_images(_samples(9), Augmentation(), batch_size=4), 1)
    regrouped = _views(_images(_samples(9), Augmentation(), batch_size=9), 1)
    second = _views(_images(_samples(9), Augmentation(), batch_size=4), 2)
    for key, view in first.items():
        torch.testing.assert_close(view, regrouped[key], atol=1e-6, rtol=0)
        assert (view - second[key]).abs().max() > 0.05


def test_an_image_that_is_there_twice_gets_two_views() -> None:
    twice = _samples(4).take(np.array([0, 1, 2, 3, 0]))
    views = _views(_images(twice, Augmentation()), 0)
    assert (views[0, 0] - views[0, 1]).abs().max() > 0.05


def test_augmented_copies_are_the_plain_image_and_the_same_views_every_epoch() -> None:
    batches = _images(_samples(5).with_copies(2), Augmentation(rotation=15), batch_size=15)
    store = random_store(5, 37)
    plain = plain_views(store, np.arange(5), ViewFormat(32, ZERO, ONE, CPU))
    by_epoch = []
    for epoch in (1, 2):
        views: dict[int, list[torch.Tensor]] = {position: [] for position in range(5)}
        for batch in batches.epoch(epoch):
            for view, position in zip(batch.inputs, batch.positions.tolist(), strict=True):
                views[position].append(view)
        by_epoch.append(views)
    for position in range(5):
        ours, again = (torch.stack(views[position]).flatten(1) for views in by_epoch)
        distances = torch.cdist(ours, again, compute_mode="donot_use_mm_for_euclid_dist")
        assert (distances.min(dim=1).values < 1e-4).all()  # the same three views, in another order
        assert torch.pdist(ours).min() > 0.1
        to_plain = (ours - plain[position].flatten()).abs().amax(dim=1)
        assert int((to_plain < 1e-5).sum()) == 1


def test_plain_samples_are_seen_as_evaluation_sees_images() -> None:
    form = ViewFormat(32, ZERO, ONE, CPU, ("full", "centre", "squash", "close"))
    samples = replace(_samples(5), copies=np.full(5, PLAIN, dtype=np.int64))
    ((views, positions),) = _images(samples, Augmentation(), batch_size=5).in_views(form.evaluation)
    assert positions.tolist() == list(range(5))
    expected = plain_views(random_store(5, 37), np.arange(5), form)
    torch.testing.assert_close(views, expected, atol=1e-3, rtol=0)


def test_an_augmented_copy_is_one_picture_in_all_views() -> None:
    copies = _samples(4).with_copies(1)
    batches = _images(copies, Augmentation(rotation=15), batch_size=8)
    (drawn,) = batches.in_order()
    ((views, _),) = batches.in_views(("centre", "close"))
    centre, close = views.tensor_split(2)
    assert torch.equal(centre, drawn.inputs)
    # "close" shows 3/4 where "centre" shows 7/8: the same picture, enlarged by 7/6.
    grid = F.affine_grid(
        torch.tensor([[[6 / 7, 0, 0], [0, 6 / 7, 0]]]).repeat(8, 1, 1), [8, 3, 32, 32], False
    )
    enlarged = F.grid_sample(centre, grid, align_corners=False)
    assert (enlarged - close).abs().mean() < 0.5 * (centre - close).abs().mean()


def test_feature_batches_gather_rows_targets_and_weights_together() -> None:
    samples = Samples.of(np.arange(11) + 100, np.arange(11) % 3, 3, np.arange(11, dtype=np.float32))
    rows = np.arange(11)[::-1].copy()
    features = torch.arange(22.0).view(11, 2)
    batches = FeatureBatches(features, rows, samples, batch_size=5, seed=0)
    whole = list(batches.epoch(1))
    assert [len(batch.positions) for batch in whole] == [5, 6]
    assert batches.steps == 2
    for batch in whole:
        index = batch.positions - 100
        assert torch.equal(batch.inputs, features[10 - index])
        assert batch.weights.tolist() == index.tolist()
        assert batch.targets.argmax(dim=1).tolist() == (index % 3).tolist()
    assert _same(next(batches.epoch(1, 1)), whole[1])
    assert sorted(np.concatenate([batch.positions for batch in whole])) == list(range(100, 111))


def test_feature_and_image_batches_go_in_the_same_order() -> None:
    samples = _samples(10)
    images = [b.positions.tolist() for b in _images(samples, Augmentation()).epoch(4)]
    features = FeatureBatches(torch.zeros(10, 2), np.arange(10), samples, 4, 0)
    assert [b.positions.tolist() for b in features.epoch(4)] == images


def test_targets_made_batch_by_batch_are_those_that_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    soft = random.dirichlet(np.ones(5), 9).astype(np.float32)
    soft[4] = [0, -0.5, 0, -0.5, 0]
    parts = [Samples.of(np.arange(6), np.arange(6) % 5, 5), Samples.soft(np.arange(9), soft)]
    for samples in (parts[0], parts[1], Samples.concatenate(parts)):
        rows, features, every = np.arange(len(samples)), torch.zeros(len(samples), 2), []
        for limit in (2**20, 0):
            monkeypatch.setattr("workbench.loader.batches._DENSE_BYTES", limit)
            every.append(FeatureBatches(features, rows, samples, 4, seed=0).epoch(1))
        for held, made in zip(*every, strict=True):
            assert held.targets.dtype == made.targets.dtype == torch.float32
            assert held.targets.numpy().tobytes() == made.targets.numpy().tobytes()


def test_rows_that_name_no_feature_are_refused() -> None:
    with pytest.raises(ValueError, match="rows"):
        FeatureBatches(torch.zeros(3, 2), np.array([0, 1, 3]), _samples(3), 2, 0)


def test_plain_batches_go_through_all_positions_in_order() -> None:
    store = random_store(9, 37)
    positions = np.array([8, 1, 4, 0, 2])
    batches = list(plain_batches(store, positions, ViewFormat(32, ZERO, ONE, CPU), 2))
    assert [batch.tolist() for _, batch in batches] == [[8, 1], [4, 0], [2]]
    expected = plain_views(store, positions, ViewFormat(32, ZERO, ONE, CPU))
    torch.testing.assert_close(torch.cat([inputs for inputs, _ in batches]), expected, atol=1e-6, rtol=0)


def test_at_another_side_the_same_crops_come_larger_or_smaller() -> None:
    samples = _samples(9)
    usual = _images(samples, Augmentation())
    for small, large in zip(usual.at(16).epoch(3), usual.at(32).epoch(3), strict=True):
        assert small.inputs.shape[1:] == (3, 16, 16)
        assert small.positions.tolist() == large.positions.tolist()
        # One crop, seen by both: each small pixel lies where four large ones meet.
        pooled = torch.nn.functional.avg_pool2d(large.inputs, 2)
        assert torch.corrcoef(torch.stack([pooled.flatten(), small.inputs.flatten()]))[0, 1] > 0.7
    assert next(usual.epoch(3)).inputs.shape[-1] == 32
