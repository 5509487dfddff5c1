"""Which images are typical: clusters by hand, and what holds for all."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from workbench.pseudo import most_typical, typical

METHODS: tuple[Literal["kmeans", "typiclust"], ...] = ("kmeans", "typiclust")


def _clusters(count: int, size: int, seed: int) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    centres = np.eye(count, 16)
    return (np.repeat(centres, size, axis=0) + random.normal(0, 0.03, (count * size, 16))).astype(np.float32)


@pytest.mark.parametrize("method", METHODS)
def test_each_cluster_gives_one(method: Literal["kmeans", "typiclust"]) -> None:
    rows = most_typical(_clusters(6, 15, 0), 6, method, seed=0)
    assert (rows // 15).tolist() == [0, 1, 2, 3, 4, 5]


def test_the_middle_of_a_cluster_is_typical_and_its_edge_is_not() -> None:
    angles = np.radians([0, 1, 2, 3, 4, 88, 89, 90, 91, 92])
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert most_typical(points, 2, "kmeans", seed=0).tolist() == [2, 7]
    assert most_typical(points, 2, "typiclust", seed=0).tolist() == [2, 7]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.integers(1, 40), st.sampled_from(METHODS))
def test_so_many_different_rows_and_the_same_for_the_same_seed(
    seed: int, count: int, method: Literal["kmeans", "typiclust"]
) -> None:
    points = np.random.default_rng(seed).normal(size=(40, 5)).astype(np.float32)
    rows = most_typical(points, count, method, seed)
    assert len(set(rows.tolist())) == len(rows) == count
    assert (np.diff(rows) > 0).all()
    assert rows.tolist() == most_typical(points, count, method, seed).tolist()


def test_alike_images_do_not_break_it() -> None:
    points = np.ones((10, 4), dtype=np.float32)
    assert len(most_typical(points, 3, "typiclust", seed=1)) == 3


def test_a_large_cluster_is_looked_at_a_block_at_a_time_with_the_same_choice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    features = np.random.default_rng(0).normal(size=(150, 8)).astype(np.float32)
    whole = most_typical(features, 4, "typiclust", 0)
    monkeypatch.setattr(typical, "_PAIRS", 500)
    assert most_typical(features, 4, "typiclust", 0).tolist() == whole.tolist()
