from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from workbench.dataset.groups import group_folds, group_numbers, held_out_groups

IMAGES = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), min_size=1, max_size=60)


def _arrays(images: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    groups, classes = (np.array(column, dtype=np.int64) for column in zip(*images, strict=True))
    return groups, classes, np.random.default_rng(len(images)).permutation(len(images))


@given(IMAGES, st.floats(0.05, 0.6))
def test_groups_are_held_out_whole_and_no_class_loses_all_its_images(
    images: list[tuple[int, int]], share: float
) -> None:
    groups, classes, ranks = _arrays(images)
    counts = np.bincount(classes, minlength=4)
    wanted = np.minimum(np.maximum(1, (share * counts).astype(np.int64)), np.maximum(counts - 1, 0))
    chosen = held_out_groups(groups, classes, ranks, wanted)
    assert not set(groups[chosen]) & set(groups[~chosen])
    assert (np.bincount(classes[~chosen], minlength=4) > 0)[counts > 0].all()


@given(IMAGES, st.integers(2, 5))
def test_folds_hold_whole_groups_and_every_image_once(images: list[tuple[int, int]], folds: int) -> None:
    groups, classes, ranks = _arrays(images)
    parts = group_folds(groups, classes, ranks, folds)
    assert set(parts.tolist()) <= set(range(folds))
    assert all(len(set(parts[groups == group].tolist())) == 1 for group in groups.tolist())


def test_single_images_are_held_out_and_dealt_as_evenly_as_they_go() -> None:
    classes = np.repeat(np.arange(3), [10, 20, 30])
    ranks = np.random.default_rng(0).permutation(60)
    chosen = held_out_groups(np.arange(60), classes, ranks, np.array([2, 4, 6]))
    assert np.bincount(classes[chosen]).tolist() == [2, 4, 6]
    parts = group_folds(np.arange(60), classes, ranks, 5)
    assert all(np.bincount(classes[parts == fold]).tolist() == [2, 4, 6] for fold in range(5))


def test_images_without_a_group_are_groups_by_themselves() -> None:
    numbers = group_numbers(["a", "", "a", "", "b"]).tolist()
    assert len(set(numbers)) == 4
    assert numbers[0] == numbers[2]
