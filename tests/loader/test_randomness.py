"""Numbers that depend on what they are for and on nothing else."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from workbench.loader.randomness import _GOLDEN, _mix, combine, generator, permutation, uniforms


def test_the_hash_is_splitmix64() -> None:
    states = np.array([1234567], dtype=np.uint64) + np.arange(1, 4, dtype=np.uint64) * _GOLDEN
    # The published first outputs for this seed (rosettacode.org, "Pseudo-random numbers/Splitmix64").
    assert _mix(states).tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@given(st.integers(0, 2**63 - 1), st.integers(1, 40), st.integers(1, 6), st.data())
def test_a_row_does_not_depend_on_the_batch_it_is_drawn_in(
    seed: int, count: int, draws: int, data: st.DataObject
) -> None:
    ids = np.arange(count)
    whole = uniforms(seed, "crop", 3, ids=ids, draws=draws)
    some = np.array(data.draw(st.lists(st.integers(0, count - 1), min_size=1)))
    np.testing.assert_array_equal(uniforms(seed, "crop", 3, ids=ids[some], draws=draws), whole[some])
    np.testing.assert_array_equal(uniforms(seed, "crop", 3, ids=ids, draws=draws + 2)[:, :draws], whole)


def test_uniforms_are_uniform_and_uncorrelated() -> None:
    table = uniforms(0, "crop", 1, ids=np.arange(20_000), draws=4)
    assert table.min() >= 0
    assert table.max() < 1
    for column in table.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-3
    correlations = np.corrcoef(np.concatenate([table[:-1], table[1:]], axis=1).T)
    assert np.abs(correlations - np.eye(8)).max() < 0.03


def test_streams_of_seeds_names_epochs_and_ids_differ() -> None:
    ids = np.arange(2000)
    base = uniforms(0, "crop", 1, ids=ids, draws=1)[:, 0]
    others = [
        uniforms(1, "crop", 1, ids=ids, draws=1)[:, 0],
        uniforms(0, "flip", 1, ids=ids, draws=1)[:, 0],
        uniforms(0, "crop", 2, ids=ids, draws=1)[:, 0],
        uniforms(0, 1, "crop", ids=ids, draws=1)[:, 0],
        uniforms(0, "crop", 1, ids=ids + 2000, draws=1)[:, 0],
    ]
    for other in others:
        assert not np.isin(base, other).any()
        assert abs(np.corrcoef(base, other)[0, 1]) < 0.1


def test_another_process_draws_the_same_numbers() -> None:
    program = (
        "import numpy as np; from workbench.loader.randomness import *;"
        "print(uniforms(7, 'crop', 2, ids=np.arange(3), draws=1)[:, 0].tolist(),"
        "permutation(7, 'order', n=5).tolist())"
    )
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    here = uniforms(7, "crop", 2, ids=np.arange(3), draws=1)[:, 0].tolist()
    assert output.strip() == f"{here} {permutation(7, 'order', n=5).tolist()}"


@given(st.integers(0, 2**63 - 1), st.integers(0, 500), st.integers(0, 1000))
def test_a_permutation_holds_every_index_once(seed: int, n: int, epoch: int) -> None:
    order = permutation(seed, "order", epoch, n=n)
    assert order.dtype == np.int64
    np.testing.assert_array_equal(np.sort(order), np.arange(n))
    np.testing.assert_array_equal(order, permutation(seed, "order", epoch, n=n))


def test_every_index_comes_first_equally_often() -> None:
    firsts = [permutation(0, "order", epoch, n=8)[0] for epoch in range(4000)]
    assert stats.chisquare(np.bincount(firsts, minlength=8)).pvalue > 1e-3


def test_combined_ids_tell_rows_apart_and_equal_rows_together() -> None:
    a, b = np.meshgrid(np.arange(-1, 60), np.arange(60))
    ids = combine(a.ravel(), b.ravel())
    assert len(np.unique(ids)) == a.size
    np.testing.assert_array_equal(combine(a.ravel()[::-1], b.ravel()[::-1]), ids[::-1])


def test_a_generator_is_decided_by_its_stream() -> None:
    assert generator(0, "mixing", 1).random() == generator(0, "mixing", 1).random()
    assert generator(0, "mixing", 1).random() != generator(0, "mixing", 2).random()
