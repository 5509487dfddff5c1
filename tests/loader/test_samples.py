"""Samples: what an epoch goes through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from tests.loader.conftest import catalogue_of
from workbench.dataset.catalogue import Catalogue, HeadBox
from workbench.loader.samples import FRESH, PLAIN, Samples, Targets
from workbench.support.errors import UserError


def _samples() -> Samples:
    return Samples.of(np.array([0, 2, 3]), np.array([1, 0, 1]), classes=2)


@pytest.fixture
def boxed(pictures: Callable[[int], Catalogue]) -> Catalogue:
    """Four images, boxes for the second and the third."""
    paths = [record.path for record in pictures(4).records]
    return catalogue_of(paths, {1: HeadBox(0.1, 0.2, 0.5, 0.6), 2: HeadBox(0.3, 0.0, 1.0, 0.5)})


def test_labels_become_certain_targets_of_whole_fresh_images() -> None:
    samples = _samples()
    assert samples.targets.dense().tolist() == [[0, 1], [1, 0], [0, 1]]
    assert samples.boxes.tolist() == [[0, 0, 1, 1]] * 3
    assert samples.copies.tolist() == [FRESH] * 3
    assert samples.weights.tolist() == [1, 1, 1]
    assert samples.classes == 2


@pytest.mark.parametrize(
    "change",
    [
        {"weights": np.array([1, -1, 1], dtype=np.float32)},
        {"weights": np.array([1, np.nan, 1], dtype=np.float32)},
        {"weights": np.ones(2, dtype=np.float32)},
        {"targets": Targets.certain(np.array([0, 1]), 2)},
        {"boxes": np.array([[0, 0, 1, 1], [0.5, 0, 0.5, 1], [0, 0, 1, 1]], dtype=np.float32)},
        {"boxes": np.array([[0, 0, 1, 1], [0, 0, 1.1, 1], [0, 0, 1, 1]], dtype=np.float32)},
        {"copies": np.array([0, -2, 0])},
        {"positions": np.array([0, -1, 0])},
    ],
)
def test_impossible_samples_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"must|shape|count|rows"):
        replace(_samples(), **change)  # type: ignore[arg-type]


def test_a_label_outside_the_classes_is_refused() -> None:
    with pytest.raises(ValueError, match="labels"):
        Samples.of(np.array([0]), np.array([2]), classes=2)


def test_head_crops_add_a_sample_for_every_box(boxed: Catalogue) -> None:
    samples = _samples().with_head_crops(boxed, "add")
    assert samples.positions.tolist() == [0, 2, 3, 2]
    np.testing.assert_allclose(samples.boxes[3], [0.3, 0.0, 1.0, 0.5])
    assert samples.targets.dense()[3].tolist() == [1, 0]


def test_head_crops_only_leaves_images_without_a_box_out(boxed: Catalogue) -> None:
    samples = _samples().with_head_crops(boxed, "only")
    assert samples.positions.tolist() == [2]
    np.testing.assert_allclose(samples.boxes, [[0.3, 0.0, 1.0, 0.5]], rtol=1e-6)


def test_head_crops_only_without_any_box_is_the_users_error(boxed: Catalogue) -> None:
    boxless = Samples.of(np.array([0, 3]), np.array([0, 1]), classes=2)
    assert len(boxless.with_head_crops(boxed, "add")) == 2
    assert len(boxless.with_head_crops(boxed, "off")) == 2
    with pytest.raises(UserError, match="head box") as error:
        boxless.with_head_crops(boxed, "only")
    assert error.value.where == "data.head_crops"


def test_copies_are_the_plain_image_and_numbered_views_of_it() -> None:
    samples = _samples().with_copies(2)
    assert samples.positions.tolist() == [0, 2, 3] * 3
    assert samples.copies.tolist() == [PLAIN] * 3 + [1] * 3 + [2] * 3
    assert samples.targets.dense().tolist() == _samples().targets.dense().tolist() * 3
    assert _samples().with_copies(0).copies.tolist() == [FRESH] * 3


def test_concatenated_samples_keep_their_order() -> None:
    soft = Samples.soft(
        np.array([5]), np.array([[0.3, 0.7]], dtype=np.float32), np.array([0.5], dtype=np.float32)
    )
    both = Samples.concatenate([_samples(), soft])
    assert both.positions.tolist() == [0, 2, 3, 5]
    assert both.weights.tolist() == [1, 1, 1, 0.5]
    np.testing.assert_allclose(both.take(np.array([3, 3])).targets.dense(), [[0.3, 0.7]] * 2)
