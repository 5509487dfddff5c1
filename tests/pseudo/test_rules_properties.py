"""What holds for every pool."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.pseudo.pools import knobs, pools
from workbench.pseudo import Pool, Selection, select
from workbench.recipe.pseudo_label import Offline

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
