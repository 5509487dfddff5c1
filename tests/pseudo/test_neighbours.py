"""Nearest neighbours: exact to the tie, and by cells with the recall that is told."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.pseudo.pools import knobs
from workbench.pseudo import Pool, graph, neighbours, select
from workbench.pseudo.graph import class_seeds, neighbour_graph, propagate
from workbench.pseudo.neighbours import (
    LEAST_RECALL,
    Cells,
    Near,
    exactly_nearest,
    highest_columns,
    nearest_others,
    unit_rows,
)

Floats = NDArray[np.float32]


def _clustered(count: int, seed: int, width: int = 32) -> Floats:
    """Points of few directions around centres, as features are."""
    random = np.random.default_rng(seed)
    latent = random.normal(size=(20, 6))[random.integers(0, 20, count)]
    latent = latent + 0.4 * random.normal(size=(count, 6))
    return np.asarray(unit_rows(np.maximum(latent @ random.normal(size=(6, width)), 0).astype(np.float32)))


def _uniform(count: int, seed: int, width: int = 32) -> Floats:
    return unit_rows(np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32))


def _true(unit: Floats, k: int) -> NDArray[np.int64]:
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    return np.argpartition(-cosines, k - 1, axis=1)[:, :k]


def _recall(near: Near, unit: Floats) -> float:
    true = _true(unit, near.rows.shape[1])
    return float(np.mean([np.isin(a, b).mean() for a, b in zip(true, near.rows, strict=True)]))


@pytest.fixture
def few_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousandths of what counts as many."""
    monkeypatch.setattr(neighbours, "EXACT_UP_TO", 5)
    monkeypatch.setattr(graph, "EXACT_UP_TO", 5)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(2048, 5000), st.sampled_from([2, 60, 10**6]))
def test_the_highest_columns_are_those_of_a_partition_also_among_equals(
    seed: int, k: int, columns: int, different: int
) -> None:
    random = np.random.default_rng(seed)
    values = (random.integers(0, different, size=(3, columns)) / different).astype(np.float32)
    found = highest_columns(values, k)
    expected = np.argpartition(-values, k - 1, axis=1)[:, :k]
    assert np.sort(found, axis=1).tolist() == np.sort(expected, axis=1).tolist()


def test_copies_are_chosen_as_ever() -> None:
    """Of 3,000 images that are 30, a hundred times each, the ten nearest are a matter of the partition."""
    unit = np.repeat(_uniform(30, 1), 100, axis=0)
    near = exactly_nearest(unit, 10)
    chunk = unit[:1024] @ unit.T
    chunk[np.arange(1024), np.arange(1024)] = -np.inf
    expected = np.argpartition(-chunk, 9, axis=1)[:, :10]
    assert np.sort(near.rows[:1024], axis=1).tolist() == np.sort(expected, axis=1).tolist()
    assert (near.cosines[:1024] == np.take_along_axis(chunk, near.rows[:1024], 1)).all()
    assert near.recall == 1


@settings(deadline=None, max_examples=5)
@given(st.integers(0, 100), st.sampled_from([1, 10, 50]))
def test_cells_find_what_they_say_among_clusters(seed: int, k: int) -> None:
    unit = _clustered(3000, seed)
    cells = Cells.of(unit, np.random.default_rng(0))
    searched, told = cells.reach(k)
    near = cells.nearest(k, searched, told)
    assert told >= LEAST_RECALL
    assert _recall(near, unit) == pytest.approx(told, abs=0.02)
    assert cells.pairs(searched) < 0.5 * len(unit) ** 2
    assert (near.rows != np.arange(3000)[:, None]).all()
    assert all(len(set(row)) == k for row in near.rows.tolist())
    cosines = (unit[:, None, :] * unit[near.rows]).sum(axis=2)
    np.testing.assert_allclose(near.cosines, cosines, atol=1e-5)


@pytest.mark.usefixtures("few_are_exact")
def test_many_are_searched_by_cells_and_twice_the_same() -> None:
    unit = _clustered(3000, 3)
    first, second = (nearest_others(unit, 10) for _ in range(2))
    assert LEAST_RECALL <= first.recall < 1
    assert _recall(first, unit) >= LEAST_RECALL
    assert (first.rows == second.rows).all()
    assert (first.cosines == second.cosines).all()


@pytest.mark.usefixtures("few_are_exact")
def test_what_forms_no_cells_is_searched_whole() -> None:
    unit = _uniform(1500, 3, width=64)
    near = nearest_others(unit, 10)
    assert near.recall == 1
    assert _recall(near, unit) == 1


@pytest.mark.usefixtures("few_are_exact")
@pytest.mark.parametrize("count", [6, 40])
def test_cells_of_equal_rows_have_as_many_neighbours(count: int) -> None:
    near = nearest_others(np.tile(unit_rows(np.ones((1, 4), dtype=np.float32)), (count, 1)), 5)
    assert all(len(set(row)) == 5 and place not in row for place, row in enumerate(near.rows.tolist()))


@pytest.mark.parametrize("k", [1, 5, 39])
def test_cells_of_one_row_each_are_searched_until_there_are_neighbours_enough(k: int) -> None:
    unit = _uniform(40, 0, width=8)
    likeness = unit @ unit.T
    np.fill_diagonal(likeness, np.inf)
    cells = Cells(unit, np.arange(40), np.arange(41), np.argsort(-likeness, axis=1, kind="stable"))
    searched, told = cells.reach(k)
    assert (searched.tolist(), told) == ([k + 1] * 40, 1.0)  # its own row is in the first
    near, exact = cells.nearest(k, searched, told), exactly_nearest(unit, k)
    assert np.sort(near.rows, axis=1).tolist() == np.sort(exact.rows, axis=1).tolist()


@pytest.mark.usefixtures("few_are_exact")
def test_a_large_graph_multiplies_and_is_solved_as_a_small_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "NODES", 7)
    monkeypatch.setattr(graph, "SOLVED", 160)  # two classes of 80 nodes at once
    large = neighbour_graph(_uniform(80, 5, width=6), 5, 3.0, exactly_nearest)
    columns = np.random.default_rng(0).normal(size=(80, 5))
    np.testing.assert_allclose(large.times(columns), large.dense() @ columns, atol=1e-12)
    seeds = class_seeds(np.array([0, 1, 2, 3, 4]), 80, 5)
    expected = np.linalg.solve(np.eye(80) - 0.8 * large.dense(), seeds)
    np.testing.assert_allclose(propagate(large, seeds, 0.8), expected, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("strategy", ["label_propagation", "class_balanced"])
def test_a_selection_tells_the_recall_it_went_by(strategy: str) -> None:
    unit = _clustered(60, 2)

    def rough(unit: Floats, k: int) -> Near:
        near = exactly_nearest(unit, k)
        return Near(near.rows, near.cosines, 0.96)

    pool = Pool(
        np.full((50, 2), 0.5, dtype=np.float32),
        np.array([5, 5]),
        features=unit[10:],
        labelled_features=unit[:10],
        labels=np.arange(10) % 2,
        search=rough,
    )
    votes = {} if strategy == "label_propagation" else {"propagation": 0.5}
    assert select(pool, knobs(strategy, **votes), 1, None).recall == 0.96
