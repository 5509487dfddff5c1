"""Label propagation against the dense closed form, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.pseudo.pools import knobs
from workbench.pseudo import Pool, select
from workbench.pseudo.graph import class_seeds, neighbour_graph, propagate
from workbench.pseudo.neighbours import unit_rows
from workbench.pseudo.pool import inverse_frequency


def _points(seed: int, count: int, width: int = 6) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)


def _dense(features: NDArray[np.float32], k: int, gamma: float) -> NDArray[np.float64]:
    cosine = unit_rows(features).astype(np.float64) @ unit_rows(features).astype(np.float64).T
    np.fill_diagonal(cosine, -np.inf)
    near = np.argsort(-cosine, axis=1)[:, : min(k, len(cosine) - 1)]
    affinity = np.zeros_like(cosine)
    rows = np.arange(len(cosine))[:, None]
    affinity[rows, near] = np.maximum(cosine[rows, near], 0) ** gamma
    both = affinity + affinity.T
    scale = 1 / np.sqrt(np.maximum(both.sum(axis=1), 1e-300))
    return np.asarray(both * scale[:, None] * scale[None, :])


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 30), st.integers(1, 12), st.sampled_from([1.0, 3.0]))
def test_the_graph_is_the_dense_one(seed: int, count: int, k: int, gamma: float) -> None:
    features = _points(seed, count)
    graph = neighbour_graph(features, k, gamma)
    np.testing.assert_allclose(graph.dense(), _dense(features, k, gamma), atol=1e-5)
    columns = np.random.default_rng(seed).normal(size=(count, 11))
    np.testing.assert_allclose(graph.times(columns), graph.dense() @ columns, atol=1e-12)
    np.testing.assert_allclose(graph.dense(), graph.dense().T, atol=1e-15)


@pytest.mark.parametrize("alpha", [0.5, 0.8, 0.99])
def test_conjugate_gradient_finds_the_dense_closed_form(alpha: float) -> None:
    graph = neighbour_graph(_points(3, 80), 5, 3.0)
    seeds = class_seeds(np.array([0, 1, 2, 1, 2, 2]), 80, 4)
    expected = np.linalg.solve(np.eye(80) - alpha * graph.dense(), seeds)
    np.testing.assert_allclose(propagate(graph, seeds, alpha), expected, rtol=1e-5, atol=1e-9)


def test_seeds_share_one_among_the_labels_of_a_class() -> None:
    seeds = class_seeds(np.array([1, 0, 1]), 4, 3)
    assert seeds.tolist() == [[0, 0.5, 0], [1, 0, 0], [0, 0.5, 0], [0, 0, 0]]


def _two_groups() -> Pool:
    return Pool(
        np.full((5, 2), 0.5, dtype=np.float32),
        np.array([1, 1]),
        np.array([[1, 0.1, 0], [0.1, 1, 0], [1, 0.2, 0], [0.2, 1, 0], [0, 0, 1]], dtype=np.float32),
        np.array([[1, 0, 0], [0, 1, 0]], dtype=np.float32),
        np.array([0, 1]),
    )


def test_labels_go_to_their_own_neighbours_and_none_to_an_image_out_of_reach() -> None:
    selection = select(_two_groups(), knobs("label_propagation", neighbours=2), 1, None)
    assert selection.rows.tolist() == [0, 1, 2, 3]
    assert selection.targets.argmax(axis=1).tolist() == [0, 1, 0, 1]
    assert ((selection.weights > 0) & (selection.weights <= 1)).all()


def test_the_weight_is_one_less_the_entropy_over_log_c() -> None:
    soft = select(_two_groups(), knobs("label_propagation", targets="soft", neighbours=2), 1, None)
    shares = np.maximum(soft.targets.astype(np.float64), 1e-30)
    entropy = -(shares * np.log(shares)).sum(axis=1)
    np.testing.assert_allclose(soft.weights, 1 - entropy / np.log(2), atol=1e-6)
    plain = select(_two_groups(), knobs("label_propagation", weighting="none", neighbours=2), 1, None)
    assert plain.weights.tolist() == [1, 1, 1, 1]


@settings(deadline=None)
@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_the_order_of_the_pool_does_not_matter(seed: int, random: object) -> None:
    features = _points(seed, 20)
    order = np.array(sorted(range(16), key=lambda _: random.random()))  # type: ignore[attr-defined]
    blank = np.full((16, 4), 0.25, dtype=np.float32)
    labels, known = np.arange(4), features[16:]
    counts = np.ones(4, dtype=np.int64)
    chosen = knobs("label_propagation", neighbours=3, targets="soft", weighting="none")
    here = select(Pool(blank, counts, features[:16], known, labels), chosen, 1, None)
    there = select(Pool(blank, counts, features[:16][order], known, labels), chosen, 1, None)
    assert sorted(order[there.rows].tolist()) == here.rows.tolist()
    found = np.argsort(order[there.rows])
    np.testing.assert_allclose(there.targets[found], here.targets, atol=1e-5)


@pytest.mark.parametrize("weighting", ["entropy", "none"])
def test_inverse_class_weights_are_the_papers_loss(weighting: str) -> None:
    """Iscen et al. 2019, eq. 12: ζ_y ℓ on labelled images, ω ζ_ŷ ℓ on the pool, ζ_j ∝ 1/(|L_j| + |U_j|)."""
    random = np.random.default_rng(4)
    classes, images = 3, 30
    features = random.random((images, 6)).astype(np.float32)
    labels = np.array([0, 0, 0, 1, 1, 2])
    teacher = Pool(
        np.full((images, classes), 1 / classes, dtype=np.float32),
        np.bincount(labels),
        features=features,
        labelled_features=features[:6],
        labels=labels,
    )
    plain, weighted = (
        select(teacher, knobs("label_propagation", weighting=weighting, class_weights=kind), 1, None)
        for kind in ("none", "inverse")
    )
    taught = plain.targets.argmax(axis=1)
    counts = np.bincount(labels, minlength=classes) + np.bincount(taught, minlength=classes)
    assert len(set(counts.tolist())) > 1
    assert plain.class_weights is None
    zeta = weighted.class_weights
    assert zeta is not None
    assert (zeta * counts).tolist() == pytest.approx([counts.sum() / classes] * classes)
    assert (weighted.rows.tolist(), weighted.targets.tolist()) == (
        plain.rows.tolist(),
        plain.targets.tolist(),
    )
    assert weighted.weights == pytest.approx(plain.weights * zeta[taught], rel=1e-6)
    assert inverse_frequency(np.array([4, 0, 2])).tolist() == [0.75, 1.0, 1.5]
