"""What holds for every pool."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.pseudo.pools import knobs, pools, seen
from workbench.pseudo import Passes, Pool, Selection, select
from workbench.recipe.offline import Offline
from workbench.recipe.pseudo_label import strategies_of

FRACTIONS = st.sampled_from([0.05, 0.1, 0.2, 1 / 3, 0.5, 1.0])
TARGETS = st.sampled_from([{"targets": "hard"}, {"targets": "soft", "temperature": 3.0}])
ANY_KNOBS = st.one_of(
    st.just(knobs("one_shot")),
    st.builds(lambda f, t: knobs("iterative", fraction=f, **t), FRACTIONS, TARGETS),
    st.builds(lambda t: knobs("iterative", select="threshold", threshold=t), st.floats(0, 0.99)),
    st.builds(
        lambda r, p: knobs("class_balanced", rounds=r, prior=p),
        st.integers(1, 6),
        st.sampled_from(["uniform", "labelled"]),
    ),
)

MODIFIED = st.sampled_from(
    [
        knobs("one_shot", balance="sinkhorn"),
        knobs("iterative", balance="align", fraction=0.5),
        knobs("class_balanced", propagation=0.5),
        knobs("one_shot", targets="soft", temperature=2.0, balance="sinkhorn", propagation=0.3),
    ]
)
EVERY_STRATEGY = st.sampled_from([knobs(strategy) for strategy in sorted(strategies_of(Offline))])


def _shuffled(pool: Pool, order: NDArray[np.int64]) -> Pool:
    """The same pool in another order: everything that is told of an image moves with it."""
    passes, features = pool.passes, pool.features
    assert passes is not None
    assert features is not None
    return replace(
        pool,
        probabilities=pool.probabilities[order],
        features=features[order],
        passes=Passes(
            passes.mean[order],
            passes.spread[order],
            passes.tempered_mean[order],
            passes.tempered_spread[order],
        ),
    )


def _wavering(pool: Pool, seed: int) -> Pool:
    """The pool with features, labelled images, and passes that waver, each image's by another amount."""
    whole = seen(pool, seed=seed)
    spread = np.random.default_rng(seed).uniform(0, 0.06, size=pool.probabilities.shape).astype(np.float32)
    return replace(
        whole, passes=Passes(pool.probabilities, spread, pool.probabilities, spread * np.float32(0.1))
    )


@settings(deadline=None)
@given(pools(), st.one_of(EVERY_STRATEGY, MODIFIED), st.integers(0, 2**32 - 1))
def test_no_strategy_and_no_modifier_depends_on_the_order_of_the_pool(
    pool: Pool, chosen: Offline, seed: int
) -> None:
    told = _wavering(pool, seed)
    order = np.random.default_rng(seed).permutation(len(pool.probabilities))
    here, there = select(told, chosen, 1, None), select(_shuffled(told, order), chosen, 1, None)
    back = np.argsort(order[there.rows], kind="stable")
    assert order[there.rows][back].tolist() == here.rows.tolist()
    np.testing.assert_allclose(there.targets[back], here.targets, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(there.weights[back], here.weights, rtol=1e-3, atol=1e-4)
    assert there.labelled_weight == here.labelled_weight


@settings(deadline=None)
@given(pools(), st.one_of(EVERY_STRATEGY, MODIFIED), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_what_any_strategy_selects_is_well_formed(
    pool: Pool, chosen: Offline, round_number: int, seed: int
) -> None:
    number = min(round_number, int(getattr(chosen, "rounds", 1)))
    selection = select(_wavering(pool, seed), chosen, number, None)
    assert (np.diff(selection.rows) >= 0).all()
    assert ((selection.rows >= 0) & (selection.rows < len(pool.probabilities))).all()
    assert selection.targets.dtype == selection.weights.dtype == np.float32
    sums = np.where(selection.positive, 1.0, -1.0)  # one that rules classes out sums to −1
    np.testing.assert_allclose(selection.targets.sum(axis=1), sums, rtol=1e-5)
    assert (selection.weights >= 0).all()
    assert np.isfinite(selection.weights).all()
    assert selection.labelled_weight > 0


@given(pools(), st.floats(0, 0.99), st.floats(0, 0.99))
def test_a_higher_threshold_takes_no_image_that_a_lower_one_leaves(
    pool: Pool, one: float, other: float
) -> None:
    low, high = sorted((one, other))
    for strategy, values in (("iterative", {"select": "threshold"}), ("noisy_student", {"quota": False})):
        few = select(pool, knobs(strategy, threshold=high, **values), 1, None).rows
        many = select(pool, knobs(strategy, threshold=low, **values), 1, None).rows
        assert set(few.tolist()) <= set(many.tolist()), strategy
        assert (pool.confidence[few] >= np.float32(high)).all()


@given(pools(), ANY_KNOBS, st.integers(1, 6))
def test_a_selection_is_well_formed(pool: Pool, chosen: Offline, round_number: int) -> None:
    number = min(round_number, int(getattr(chosen, "rounds", round_number)))
    selection = select(pool, chosen, number, None)
    assert (np.diff(selection.rows) > 0).all()
    assert ((selection.rows >= 0) & (selection.rows < len(pool.probabilities))).all()
    assert selection.targets.shape == (len(selection.rows), pool.probabilities.shape[1])
    np.testing.assert_allclose(selection.targets.sum(axis=1), 1, rtol=1e-5)
    assert (selection.targets.argmax(axis=1) == pool.predicted[selection.rows]).all()
    assert (selection.weights > 0).all()
    assert selection.labelled_weight >= 1


@given(pools(), ANY_KNOBS, st.randoms(use_true_random=False))
def test_the_order_of_the_pool_does_not_matter(pool: Pool, chosen: Offline, random: object) -> None:
    order = np.array(sorted(range(len(pool.probabilities)), key=lambda _: random.random()))  # type: ignore[attr-defined]
    shuffled = Pool(pool.probabilities[order], pool.labelled_counts)
    here, there = select(pool, chosen, 1, None), select(shuffled, chosen, 1, None)
    assert sorted(order[there.rows].tolist()) == here.rows.tolist()
    found = np.argsort(order[there.rows])
    np.testing.assert_array_equal(there.targets[found], here.targets)


@given(pools(), FRACTIONS)
def test_a_top_fraction_has_its_size_and_only_grows(pool: Pool, fraction: float) -> None:
    before: set[int] = set()
    for round_number in range(1, 6):
        rows = select(pool, knobs("iterative", fraction=fraction), round_number, None).rows.tolist()
        assert len(rows) == math.floor(min(1.0, round_number * fraction) * len(pool.probabilities) + 1e-9)
        assert before <= set(rows)
        before = set(rows)


@given(pools(), st.integers(1, 6))
def test_no_class_passes_its_quota_and_none_that_could_fill_it_falls_short(pool: Pool, rounds: int) -> None:
    images, classes = pool.probabilities.shape
    before: set[int] = set()
    for round_number in range(1, rounds + 1):
        selection = select(pool, knobs("class_balanced", rounds=rounds), round_number, None)
        taken = np.bincount(pool.predicted[selection.rows], minlength=classes)
        candidates = np.bincount(pool.predicted, minlength=classes)
        quota = (round_number * images) // (rounds * classes)
        assert taken.tolist() == np.minimum(candidates, quota).tolist()
        assert before <= set(selection.rows.tolist())
        before = set(selection.rows.tolist())


@given(st.lists(st.integers(0, 2**32 - 1), min_size=2, max_size=5), st.data())
def test_labels_that_are_kept_never_change_nor_go(seeds: list[int], data: st.DataObject) -> None:
    way = data.draw(st.sampled_from(["top_fraction", "threshold"]))
    values = {"threshold": 0.6} if way == "threshold" else {"fraction": 0.2}
    chosen = knobs("iterative", select=way, relabel=False, **values)
    random = np.random.default_rng(seeds[0])
    given_before: dict[int, list[float]] = {}
    previous: Selection | None = None
    for round_number, seed in enumerate(seeds, 1):
        random = np.random.default_rng(seed)
        teacher = Pool(
            random.dirichlet(np.full(4, 0.5), size=25).astype(np.float32), np.ones(4, dtype=np.int64)
        )
        previous = select(teacher, chosen, round_number, previous)
        now = dict(zip(previous.rows.tolist(), previous.targets.tolist(), strict=True))
        assert {row: now.get(row) for row in given_before} == given_before
        given_before = now
