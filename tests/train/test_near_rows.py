"""The search for neighbours that a run has: what a device finds, and when it is asked."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from workbench.compute import ACCELERATORS
from workbench.pseudo.neighbours import Near, exactly_nearest, unit_rows
from workbench.train import near_rows
from workbench.train.near_rows import NeighbourSearch, nearest_on, nearest_rows

CPU = torch.device("cpu")


def _unit(count: int) -> NDArray[np.float32]:
    return unit_rows(np.random.default_rng(count).normal(size=(count, 8)).astype(np.float32))


@pytest.mark.parametrize("tile", [(4, 7), (16, 16), (100, 3), (3, 100), (64, 64)])
def test_tiles_find_the_exact_neighbours(tile: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_rows, "_TILE", tile)
    unit = _unit(50)
    exact, found = exactly_nearest(unit, 5), nearest_on(CPU, unit, 5)
    assert np.sort(found.rows, axis=1).tolist() == np.sort(exact.rows, axis=1).tolist()
    np.testing.assert_allclose(np.sort(found.cosines), np.sort(exact.cosines), atol=1e-6)
    assert found.recall == 1


def test_a_device_with_its_own_memory_is_exact_about_more(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def on_device(device: torch.device, unit: NDArray[np.float32], k: int) -> Near:
        asked.append(len(unit))
        if len(unit) == 30:
            raise torch.OutOfMemoryError
        return exactly_nearest(unit, k)

    def on_host(unit: NDArray[np.float32], k: int) -> Near:
        return Near(
            np.zeros((len(unit), k), dtype=np.int64), np.zeros((len(unit), k), dtype=np.float32), 0.96
        )

    monkeypatch.setattr(near_rows, "EXACT_UP_TO", 10)
    monkeypatch.setattr(near_rows, "EXACT_ON_DEVICE", 40)
    monkeypatch.setattr(near_rows, "nearest_on", on_device)
    monkeypatch.setattr(near_rows, "nearest_others", on_host)
    recall = {count: NeighbourSearch(CPU)(_unit(count), 3).recall for count in (10, 20)}
    assert (asked, recall) == ([], {10: 0.96, 20: 0.96})  # the CPU has no memory of its own
    monkeypatch.setattr(ACCELERATORS["cpu"], "has_own_memory", True)
    recall = {count: NeighbourSearch(CPU)(_unit(count), 3).recall for count in (10, 20, 30, 40, 41)}
    assert asked == [20, 30, 40]
    assert recall == {10: 0.96, 20: 1, 30: 0.96, 40: 1, 41: 0.96}


def test_the_same_rows_are_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def counted(unit: NDArray[np.float32], k: int) -> Near:
        asked.append(k)
        return exactly_nearest(unit, k)

    monkeypatch.setattr(near_rows, "nearest_others", counted)
    search, unit = NeighbourSearch(CPU), _unit(20)
    first, again = search(unit, 3), search(unit.copy(), 3)
    assert first is again
    search(unit, 4)
    moved = unit.copy()
    moved[7] = moved[8]
    assert search(moved, 4).rows.tolist() == exactly_nearest(moved, 4).rows.tolist()
    assert asked == [3, 4, 4]


def test_many_asked_rows_are_looked_at_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    known, asked = torch.from_numpy(_unit(30)), torch.from_numpy(_unit(11))
    rows, cosines = nearest_rows(known, asked, 4)
    monkeypatch.setattr(near_rows, "_MOST", 70)
    parts = nearest_rows(known, asked, 4)
    assert parts[0].tolist() == rows.tolist()
    np.testing.assert_allclose(parts[1], cosines, atol=1e-6)
