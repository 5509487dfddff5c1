"""Head masks: the box goes wherever the view takes the image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.loader.conftest import CPU, random_store
from workbench.dataset.catalogue import Catalogue, HeadBox, ImageRecord
from workbench.loader import HeadMasks, ImageBatches, Samples, head_boxes
from workbench.loader import geometry as g
from workbench.loader.augmentation import ViewPlan, plain_plan
from workbench.loader.store import ImageStore
from workbench.loader.views import ViewFormat, head_masks
from workbench.recipe.training import Augmentation

SIDE, STORED = 32, 64
FORM = ViewFormat(SIDE, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), CPU)
NONE = np.full(4, np.nan)


def _masks(matrices: Any, *boxes: Any) -> HeadMasks:
    count = len(boxes)
    return head_masks(
        ViewPlan(np.broadcast_to(matrices, (count, 3, 3))),
        np.array(boxes, dtype=np.float32),
        np.ones(count, dtype=np.float32),
        FORM,
    )


def _heads(masks: HeadMasks) -> list[list[int]]:
    """Left, top, right, bottom in pixels of what is not outside, for each view."""
    found = []
    for outside in masks.outside[:, 0]:
        rows, columns = torch.where(~outside)
        edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        found.append([int(edge) for edge in edges])
        assert int((~outside).sum()) == (edges[2] - edges[0]) * (edges[3] - edges[1]), "not a rectangle"
    return found


def test_the_box_follows_a_crop_and_a_flip_by_hand() -> None:
    """A quarter's box, seen whole; of the left half it is twice as wide; mirrored it changes sides."""
    box = (0.25, 0.5, 0.5, 0.75)
    whole = g.identities(1)
    left_half = g.crop_matrices(np.array([[0, 0, 0.5, 1.0]]))
    mirrored = g.flip_matrices(np.array([True]))
    assert _heads(_masks(whole, box)) == [[8, 16, 16, 24]]
    assert _heads(_masks(left_half, box)) == [[16, 16, 32, 24]]
    assert _heads(_masks(mirrored, box)) == [[16, 16, 24, 24]]
    assert _heads(_masks(left_half @ mirrored, box)) == [[0, 16, 16, 24]]


def test_the_plain_view_of_a_wide_image_cuts_its_square_out_first() -> None:
    """64 × 32 pixels: the centre crop is 28 pixels wide, from x = 18 on; a box from 25 to 39 is its half."""
    plan = plain_plan(np.array([[64.0, 32.0]]), np.array([g.WHOLE]))
    box = np.array([[25 / 64, 0, 39 / 64, 1]], dtype=np.float32)
    assert _heads(head_masks(plan, box, np.ones(1, dtype=np.float32), FORM)) == [[8, 0, 24, 32]]


def test_beyond_the_border_the_mirrored_head_counts_as_head() -> None:
    moved = g.translation_matrices(np.array([8.0]), np.array([0.0]), SIDE)
    outside = _masks(moved, (0.0, 0.0, 0.125, 1.0)).outside[0, 0]
    assert torch.where(~outside[0])[0].tolist() == list(range(4, 12))  # 8 to 12, mirrored to 4 to 8


EVERY_MOVE = Augmentation(rotation=40.0, policy="rand", policy_operations=2, policy_magnitude=25)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(4, 24), st.integers(4, 24), st.integers(6, 30), st.integers(6, 30))
def test_a_mask_agrees_with_a_painted_box_under_every_move(
    seed: int, left: int, top: int, width: int, height: int
) -> None:
    """White heads on black go through the very pipeline of training; where a pixel is plain, both agree."""
    count = 6
    pixels = np.zeros((count, 3, STORED, STORED), dtype=np.uint8)
    pixels[:, :, top : top + height, left : left + width] = 255
    sizes = np.random.default_rng(seed).integers(60, 200, (count, 2))
    store = ImageStore(pixels, sizes, (), np.empty(0, dtype=np.int64))
    box = np.array([left, top, left + width, top + height], dtype=np.float32) / STORED
    moves = EVERY_MOVE.model_copy(update={"policy": "none"}) if seed % 2 else EVERY_MOVE
    samples = Samples.of(np.arange(count), np.zeros(count, dtype=np.int64), 2)
    heads = np.tile(box, (count, 1))
    arguments = (SIDE, (0.0,) * 3, (1.0,) * 3, count, seed, CPU)
    (batch,) = ImageBatches(store, samples, moves, *arguments, heads).epoch(1)  # type: ignore[arg-type]
    assert batch.heads is not None
    if moves.policy == "none":  # a policy also inverts and recolours
        brightness = batch.inputs[:, :1]
        assert not batch.heads.outside[brightness > 0.999].any()
        assert batch.heads.outside[brightness < 0.001].all()
    (plain,) = ImageBatches(store, samples, moves, *arguments).epoch(1)
    assert plain.heads is None
    assert torch.equal(plain.inputs, batch.inputs), "asking for masks changes no image"


def test_shares_are_a_weighted_mean_over_images_with_a_box() -> None:
    boxes = np.array([[0, 0, 0.5, 0.5], NONE, [0, 0, 1, 1], [0.5, 0.5, 1, 1]], dtype=np.float32)
    plan = ViewPlan(g.identities(4))
    masks = head_masks(plan, boxes, np.array([1, 5, 1, 2], dtype=np.float32), FORM)
    assert masks.shares.tolist() == [0.25, 0, 0.25, 0.5]
    assert not masks.outside[1].any(), "an image without a box is outside nowhere"
    assert not masks.outside[2].any()
    parts = masks.split(3)
    assert [len(part.shares) for part in parts] == [2, 1, 1]
    assert torch.equal(torch.cat([part.outside for part in parts]), masks.outside)
    nobody = head_masks(ViewPlan(g.identities(2)), np.tile(NONE, (2, 1)), np.ones(2, dtype=np.float32), FORM)
    assert nobody.shares.tolist() == [0, 0]


def test_an_epochs_masks_are_the_same_from_any_step() -> None:
    samples = Samples.of(np.arange(10), np.arange(10) % 3, 3)
    heads = np.tile(np.array([0.2, 0.3, 0.6, 0.8], dtype=np.float32), (10, 1))
    batches = ImageBatches(
        random_store(10, STORED), samples, Augmentation(), SIDE, (0.0,) * 3, (1.0,) * 3, 4, 0, CPU, heads
    )
    whole, rest = list(batches.epoch(3)), list(batches.epoch(3, 1))
    for one, other in zip(whole[1:], rest, strict=True):
        assert one.heads is not None
        assert other.heads is not None
        assert torch.equal(one.heads.outside, other.heads.outside)


def test_mixed_images_have_no_one_head() -> None:
    samples = Samples.of(np.arange(4), np.arange(4) % 3, 3)
    heads = np.zeros((4, 4), dtype=np.float32)
    mixing = Augmentation(mixing="mixup")
    with pytest.raises(ValueError, match="no one head"):
        ImageBatches(random_store(4, 40), samples, mixing, 32, (0.0,) * 3, (1.0,) * 3, 4, 0, CPU, heads)


def test_head_boxes_are_read_by_position() -> None:
    def record(name: str, head: HeadBox | None) -> ImageRecord:
        return ImageRecord(name, Path(name), 0, None, "train", (10, 10), 1, head)

    records = (record("a", None), record("b", HeadBox(0.1, 0.2, 0.3, 0.4)))
    catalogue = Catalogue("folder", records[0].path, ("x",), (), records)
    found = head_boxes(catalogue, np.array([1, 0, 1]))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[[0, 2]], [[0.1, 0.2, 0.3, 0.4]] * 2, rtol=1e-6)
    assert np.isnan(found[1]).all()
    assert head_boxes(catalogue, np.array([], dtype=np.int64)).shape == (0, 4)
