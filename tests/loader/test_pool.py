"""The unlabelled pool: two views of every image once an epoch, beside labelled images that go round."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch

from tests.loader.conftest import CPU, random_store
from workbench.loader import ImageBatches, PoolBatch, PoolBatches, Samples, paired
from workbench.loader.views import ViewFormat
from workbench.recipe.training import Augmentation

ZERO, ONE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
FORM = ViewFormat(16, ZERO, ONE, CPU)
STORE = random_store(40, 20)
WEAK = Augmentation()
STRONG = Augmentation(policy="rand")


def _pool(weak: Augmentation = WEAK, strong: Augmentation = STRONG, seed: int = 0) -> PoolBatches:
    return PoolBatches(STORE, np.arange(10, 40), weak, strong, FORM, batch_size=8, seed=seed)


def _labelled(images: int = 10) -> ImageBatches:
    samples = Samples.of(np.arange(images), np.arange(images) % 3, classes=3)
    return ImageBatches(STORE, samples, WEAK, 16, ZERO, ONE, 4, 0, CPU)


def _same(a: PoolBatch, b: PoolBatch) -> bool:
    views = torch.equal(a.weak, b.weak) and torch.equal(a.strong, b.strong)
    return views and a.positions.tolist() == b.positions.tolist()


def test_an_epoch_shows_every_image_once_by_its_row_and_its_position() -> None:
    batches = list(_pool().epoch(3))
    assert len(batches) == _pool().steps == 4
    positions = np.concatenate([batch.positions for batch in batches])
    assert sorted(positions.tolist()) == list(range(10, 40))
    assert positions.tolist() == [10 + row for batch in batches for row in batch.rows.tolist()]


def test_an_epoch_can_be_entered_at_any_step_and_no_two_are_alike() -> None:
    whole = list(_pool().epoch(2))
    for first in range(4):
        assert all(map(_same, _pool().epoch(2, first), whole[first:]))
    assert not _same(whole[0], next(iter(_pool().epoch(3))))
    assert not _same(whole[0], next(iter(_pool(seed=1).epoch(2))))


def test_the_two_views_of_an_image_share_no_randomness() -> None:
    turned = Augmentation(rotation=30.0)
    batch = next(iter(_pool(turned, turned).epoch(1)))
    assert batch.weak.shape == batch.strong.shape == (8, 3, 16, 16)
    assert all(not torch.equal(weak, strong) for weak, strong in zip(batch.weak, batch.strong, strict=True))
    plain = Augmentation(random_crop=False, flip=False)
    still = next(iter(_pool(plain, plain).epoch(1)))
    assert torch.equal(still.weak, still.strong)


@pytest.mark.parametrize("images", [5, 10, 31])
def test_labelled_images_go_round_in_passes_of_their_own(images: int) -> None:
    labelled, pool = _labelled(images), _pool()
    stream = [batch for epoch in range(1, 12) for batch, _ in paired(labelled, pool, epoch)]
    assert len(stream) == 11 * pool.steps
    start = -(-pool.steps // labelled.steps) * labelled.steps - pool.steps  # the first whole pass
    for number in range(3):
        one = stream[start + number * labelled.steps :][: labelled.steps]
        seen = np.concatenate([batch.positions for batch in one])
        assert sorted(seen.tolist()) == list(range(images))


def test_a_paired_epoch_can_be_entered_at_any_step() -> None:
    labelled, pool = _labelled(), _pool()
    whole = list(paired(labelled, pool, 5))
    for first in range(4):
        for (a, u), (b, v) in zip(paired(labelled, pool, 5, first), islice(whole, first, None), strict=True):
            assert torch.equal(a.inputs, b.inputs)
            assert _same(u, v)


def test_at_another_side_the_same_images_come_in_views_of_it() -> None:
    plain = Augmentation(random_crop=False, flip=False)
    usual, larger = _pool(plain, plain), _pool(plain, plain).at(24)
    for small, large in zip(usual.epoch(2), larger.epoch(2), strict=True):
        assert (small.weak.shape[-1], large.weak.shape[-1], large.strong.shape[-1]) == (16, 24, 24)
        assert small.positions.tolist() == large.positions.tolist()
    assert next(usual.epoch(2)).weak.shape[-1] == 16  # nor has it changed
