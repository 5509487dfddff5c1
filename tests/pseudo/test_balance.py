"""Sinkhorn balancing, distribution alignment and temperature scaling."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pseudo.pools import distinct_probabilities, knobs, pool, pools
from workbench.pseudo import Pool, judge, select, soft_targets
from workbench.pseudo.prior import align, sinkhorn
from workbench.runs.calibration import fit_temperature


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(20, 80), st.integers(2, 6))
def test_sinkhorn_reaches_both_marginals(seed: int, images: int, classes: int) -> None:
    rows = distinct_probabilities(seed, images, classes).astype(np.float64) + 0.01
    prior = np.random.default_rng(seed).dirichlet(np.full(classes, 5.0))
    balanced = sinkhorn(rows, prior, 300)
    np.testing.assert_allclose(balanced.sum(axis=1), 1, rtol=1e-9)
    np.testing.assert_allclose(balanced.sum(axis=0), images * prior, rtol=1e-2)


def test_sinkhorn_by_hand() -> None:
    # Both lean to the first class; balanced, the one that leans less takes the second.
    balanced = sinkhorn(np.array([[0.9, 0.1], [0.6, 0.4]]), np.array([0.5, 0.5]), 200)
    # Rank-one scalings keep the odds ratio (0.9·0.4)/(0.1·0.6) = 6: x²/(1−x)² = 6.
    x = np.sqrt(6) / (1 + np.sqrt(6))
    np.testing.assert_allclose(balanced, [[x, 1 - x], [1 - x, x]], rtol=1e-6)


def test_a_class_without_a_label_gets_no_share() -> None:
    judged = judge(
        pool([[0.2, 0.5, 0.3], [0.1, 0.6, 0.3]], [1, 0, 1]), knobs("one_shot", balance="sinkhorn"), None
    )
    assert (judged.probabilities[:, 1] == 0).all()
    np.testing.assert_allclose(judged.probabilities.sum(axis=1), 1, rtol=1e-6)


def test_alignment_by_hand() -> None:
    aligned = align(np.array([[0.8, 0.2]]), np.array([0.5, 0.5]), np.array([0.8, 0.2]))
    np.testing.assert_allclose(aligned, [[0.5, 0.5]])


def test_alignment_keeps_an_average_between_rounds() -> None:
    chosen = knobs("one_shot", balance="align", alignment_decay=0.9)
    first = select(pool([[0.8, 0.2], [0.6, 0.4]]), chosen, 1, None)
    assert first.marginal is not None
    np.testing.assert_allclose(first.marginal, [0.7, 0.3], rtol=1e-6)
    second = select(pool([[0.2, 0.8], [0.4, 0.6]]), chosen, 2, first)
    assert second.marginal is not None
    np.testing.assert_allclose(second.marginal, [0.9 * 0.7 + 0.1 * 0.3, 0.9 * 0.3 + 0.1 * 0.7], rtol=1e-6)


@settings(deadline=None)
@given(pools())
def test_without_balance_the_pool_stays_as_it_is(teacher: Pool) -> None:
    assert judge(teacher, knobs("iterative"), None) is teacher


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_the_temperature_that_was_applied_is_found(temperature: float) -> None:
    random = np.random.default_rng(0)
    truth = distinct_probabilities(4, 4000, 5)
    labels = np.array([random.choice(5, p=row / row.sum()) for row in truth.astype(np.float64)])
    assert fit_temperature(soft_targets(truth, 1 / temperature), labels) == pytest.approx(
        temperature, rel=0.1
    )


def test_the_neighbours_vote_is_a_geometric_mean_and_none_where_no_label_reaches() -> None:
    teacher = Pool(
        np.array([[0.2, 0.8], [0.3, 0.7]], dtype=np.float32),
        np.array([1, 1]),
        np.array([[1, 0.1, 0], [0, 0, 1]], dtype=np.float32),
        np.array([[1, 0, 0], [0, 1, 0]], dtype=np.float32),
        np.array([0, 1]),
    )
    alone = judge(teacher, knobs("label_propagation"), None).probabilities[0].astype(np.float64)
    voted = judge(teacher, knobs("one_shot", propagation=0.5), None).probabilities
    expected = np.sqrt(teacher.probabilities[0] * np.maximum(alone, 1e-4))
    np.testing.assert_allclose(voted[0], expected / expected.sum(), rtol=1e-4)
    assert voted[1].tolist() == teacher.probabilities[1].tolist()


def _both_reached() -> Pool:
    return Pool(
        np.array([[0.2, 0.8], [0.3, 0.7]], dtype=np.float32),
        np.array([1, 1]),
        np.array([[1, 0.1, 0], [0.2, 1, 0.3]], dtype=np.float32),
        np.array([[1, 0, 0], [0, 1, 0]], dtype=np.float32),
        np.array([0, 1]),
    )


def test_propagation_with_the_whole_vote_is_label_propagation() -> None:
    pool = _both_reached()
    alone = np.maximum(judge(pool, knobs("label_propagation"), None).probabilities, 1e-4)
    voted = judge(pool, knobs("one_shot", propagation=1.0), None).probabilities
    np.testing.assert_allclose(voted, alone / alone.sum(axis=1, keepdims=True), rtol=1e-4)


def test_teacher_neighbours_and_means_share_one_vote() -> None:
    pool = _both_reached()
    shares = {"propagation": 0.5, "prototypes": 0.3}
    around = np.maximum(judge(pool, knobs("label_propagation"), None).probabilities.astype(np.float64), 1e-4)
    means = np.maximum(judge(pool, knobs("prototype"), None).probabilities.astype(np.float64), 1e-4)
    expected = pool.probabilities.astype(np.float64) ** 0.2 * around**0.5 * means**0.3
    voted = judge(pool, knobs("one_shot", **shares), None).probabilities
    np.testing.assert_allclose(voted, expected / expected.sum(axis=1, keepdims=True), rtol=1e-4)


def test_voters_are_balanced_before_they_vote() -> None:
    pool = _both_reached()
    voted = judge(pool, knobs("one_shot", propagation=1.0, balance="sinkhorn"), None).probabilities
    alone = judge(pool, knobs("label_propagation", balance="sinkhorn"), None).probabilities
    np.testing.assert_allclose(voted, alone, atol=1e-3)
    np.testing.assert_allclose(voted.sum(axis=0), [1, 1], atol=1e-3)
