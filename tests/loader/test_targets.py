"""Targets: what was given comes back, whichever way it is kept."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from workbench.loader.samples import Targets

CLASSES = 4
ROWS = ([0, 1, 0, 0], [1, 0, 0, 0], [0.25, 0.75, 0, 0], [0, 0, -1, 0], [-0.5, 0, 0, -0.5])


def _rows(numbers: list[int]) -> NDArray[np.float32]:
    return np.array([ROWS[number] for number in numbers], dtype=np.float32).reshape(-1, CLASSES)


def test_certain_rows_are_a_number_and_the_others_are_kept() -> None:
    targets = Targets.of(_rows([0, 2, 1, 4]))
    assert targets.places.tolist() == [1, -1, 0, -2]
    assert targets.soft.tolist() == [ROWS[2], ROWS[4]]
    assert targets.rules_out.tolist() == [False, False, False, True]
    assert Targets.certain(np.array([1, 0]), CLASSES).dense().tolist() == [ROWS[0], ROWS[1]]


some_rows = st.lists(st.integers(0, len(ROWS) - 1), max_size=8)


@given(some_rows, some_rows, st.data())
def test_rows_come_back_from_any_taking_and_joining(
    first: list[int], second: list[int], data: st.DataObject
) -> None:
    whole = _rows(first + second)
    joined = Targets.concatenate([Targets.of(_rows(first)), Targets.of(_rows(second))])
    assert joined.classes == CLASSES
    np.testing.assert_array_equal(joined.dense(), whole)
    assert joined.rules_out.tolist() == (whole < 0).any(axis=1).tolist()
    if len(whole):
        picked = np.array(data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=6)), dtype=np.int64)
        np.testing.assert_array_equal(joined.dense(picked), whole[picked])
        taken = joined.take(picked)
        np.testing.assert_array_equal(taken.dense(), whole[picked])
        assert len(taken.soft) <= len(set(picked.tolist()))


@pytest.mark.parametrize("row", [[0.5, 0.4, 0, 0], [1.5, -0.5, 0, 0], [2, 0, 0, 0], [np.nan, 0, 0, 1]])
def test_rows_that_are_no_targets_are_refused(row: list[float]) -> None:
    with pytest.raises(ValueError, match="sum to 1"):
        Targets.of(np.array([row], dtype=np.float32))


@pytest.mark.parametrize("label", [-1, CLASSES])
def test_labels_of_no_class_are_refused(label: int) -> None:
    with pytest.raises(ValueError, match="labels must be in 0 … 3"):
        Targets.certain(np.array([label]), CLASSES)


def test_totals_are_the_sums_of_the_rows() -> None:
    random = np.random.default_rng(0)
    weights = random.random(40).astype(np.float32)
    certain = Targets.certain(random.integers(0, 7, 40), 7)
    exact = (certain.dense() * weights[:, None]).sum(axis=0, dtype=np.float64)
    assert certain.totals(weights).tobytes() == exact.tobytes()
    mixed = Targets.concatenate([certain, Targets.of(random.dirichlet(np.ones(7), 9).astype(np.float32))])
    weights = random.random(49).astype(np.float32)
    np.testing.assert_allclose(mixed.totals(weights), weights @ mixed.dense(), rtol=1e-5)
