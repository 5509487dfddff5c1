"""Curriculum, noisy student, UPS and prototype on pools small enough to work by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.pseudo.pools import knobs, pool, pools, sure
from workbench.pseudo import Passes, Pool, select

# -- curriculum


def test_curriculum_takes_a_fifth_more_each_round_and_in_the_last_all() -> None:
    teacher = sure(*((i % 3, 0.99 - 0.01 * i) for i in range(11)))
    for round_number, count in ((1, 3), (2, 5), (3, 7), (4, 9), (5, 11)):
        rows = select(teacher, knobs("curriculum"), round_number, None).rows
        assert rows.tolist() == list(range(count)), round_number


@settings(deadline=None)
@given(pools(), st.integers(1, 8))
def test_curriculum_only_grows_and_ends_with_the_pool(teacher: Pool, rounds: int) -> None:
    before: set[int] = set()
    for number in range(1, rounds + 1):
        now = set(select(teacher, knobs("curriculum", rounds=rounds), number, None).rows.tolist())
        assert before <= now
        before = now
    assert before == set(range(len(teacher.probabilities)))


# -- noisy student


def test_noisy_student_repeats_the_surest_where_a_class_falls_short() -> None:
    # U = 7, C = 3: K = 3 of 4, 2 and 1 candidates; the last image is below the threshold.
    teacher = sure((0, 0.6), (0, 0.9), (0, 0.7), (0, 0.8), (1, 0.5), (1, 0.6), (2, 0.34))
    selection = select(teacher, knobs("noisy_student", threshold=0.4), 1, None)
    assert selection.rows.tolist() == [1, 2, 3, 4, 5, 5]
    assert selection.labelled_weight == 6 / 3
    np.testing.assert_allclose(selection.targets, teacher.probabilities[selection.rows], rtol=1e-6)


@settings(deadline=None)
@given(pools())
def test_noisy_student_gives_every_predicted_class_as_many(teacher: Pool) -> None:
    images, classes = teacher.probabilities.shape
    selection = select(teacher, knobs("noisy_student", threshold=0.0), 1, None)
    counts = np.bincount(teacher.predicted[selection.rows], minlength=classes)
    predicted = np.bincount(teacher.predicted, minlength=classes) > 0
    assert (counts == np.where(predicted, -(-images // classes), 0)).all()


@settings(deadline=None)
@given(pools(), st.sampled_from([0.5, 1.0, 2.0]))
def test_noisy_student_without_filter_and_balance_is_one_shot_with_soft_targets(
    teacher: Pool, temperature: float
) -> None:
    noisy = knobs(
        "noisy_student", threshold=0.0, quota=False, labelled_weight=1.0, rounds=1, temperature=temperature
    )
    here = select(teacher, noisy, 1, None)
    there = select(teacher, knobs("one_shot", targets="soft", temperature=temperature), 1, None)
    assert here.rows.tolist() == there.rows.tolist()
    assert (here.targets == there.targets).all()
    assert (here.weights == there.weights).all()
    assert here.labelled_weight == there.labelled_weight


# -- UPS


def _passes(mean: list[list[float]], spread: list[list[float]]) -> Pool:
    means, spreads = np.array(mean, dtype=np.float32), np.array(spread, dtype=np.float32)
    return replace(pool(mean), passes=Passes(means, spreads, means, spreads))


def test_ups_by_hand() -> None:
    wavering = _passes(
        [[0.8, 0.17, 0.03], [0.8, 0.17, 0.03], [0.5, 0.46, 0.04], [0.5, 0.3, 0.2]],
        [[0.01, 0.01, 0.001], [0.2, 0.01, 0.001], [0.01, 0.01, 0.001], [0.0, 0.0, 0.0]],
    )
    selection = select(wavering, knobs("ups"), 1, None)
    # The first is sure and steady; the next two only rule the third class out; the last says nothing.
    assert selection.rows.tolist() == [0, 1, 2]
    assert selection.targets.tolist() == [[1, 0, 0], [0, 0, -1], [0, 0, -1]]
    assert selection.positive.tolist() == [True, False, False]
    # 3 labelled and 1 positive image against 2 negative ones.
    assert selection.weights.tolist() == [1, 2, 2]


def test_ups_negative_labels_share_one_weight() -> None:
    wavering = _passes([[0.6, 0.36, 0.02, 0.02]], [[0.0, 0.0, 0.0, 0.0]])
    assert select(wavering, knobs("ups"), 1, None).targets.tolist() == [[0, 0, -0.5, -0.5]]


def test_ups_balances_only_in_the_first_rounds_and_keeps_the_steadiest() -> None:
    count = 30
    mean = [[0.9, 0.1]] * count + [[0.1, 0.9]] * 2
    spread = [[0.03 - 0.0005 * i, 0.03] for i in range(count)] + [[0.01, 0.01]] * 2
    wavering = _passes(mean, spread)
    first = select(wavering, knobs("ups", balanced_rounds=1), 1, None)
    assert first.rows.tolist() == [*range(5, count), count, count + 1]
    assert len(select(wavering, knobs("ups", balanced_rounds=1), 2, None).rows) == count + 2


@settings(deadline=None)
@given(pools(), st.floats(0.3, 0.9), st.floats(0.01, 0.1))
def test_ups_takes_more_where_thresholds_are_looser(teacher: Pool, threshold: float, extra: float) -> None:
    steady = np.zeros_like(teacher.probabilities)
    told = replace(teacher, passes=Passes(teacher.probabilities, steady, teacher.probabilities, steady))
    strict = select(told, knobs("ups", threshold=threshold, balanced_rounds=0), 1, None)
    loose = select(told, knobs("ups", threshold=threshold - extra, balanced_rounds=0), 1, None)
    assert set(strict.rows[strict.positive]) <= set(loose.rows[loose.positive])


# -- prototype


def _placed(
    features: list[list[float]], labelled: list[list[float]], labels: list[int], classes: int
) -> Pool:
    blank = np.full((len(features), classes), 1 / classes, dtype=np.float32)
    return Pool(
        blank,
        np.bincount(labels, minlength=classes),
        np.array(features, dtype=np.float32),
        np.array(labelled, dtype=np.float32),
        np.array(labels),
    )


def _centred(*rows: list[float]) -> NDArray[np.float64]:
    """Rows to length 1, less their mean, to length 1 again."""
    unit = np.array(rows) / np.linalg.norm(rows, axis=1, keepdims=True)
    moved = unit - unit.mean(axis=0)
    scaled: NDArray[np.float64] = moved / np.linalg.norm(moved, axis=1, keepdims=True)
    return scaled


def test_prototype_is_a_softmax_of_centred_cosines_to_the_class_means() -> None:
    # By hand: the four directions (1, 0), (.6, .8), (1, 0), (0, 1) have the mean (.65, .45).
    pool, labelled = [[2.0, 0.0], [0.6, 0.8]], [[1.0, 0.0], [0.0, 3.0]]
    placed = _placed(pool, labelled, [0, 1], 2)
    soft = select(placed, knobs("prototype", refinements=0, sharpness=0.5, targets="soft"), 1, None)
    rows = np.array([[0.35, -0.45], [-0.05, 0.35], [0.35, -0.45], [-0.65, 0.55]])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    expected = np.exp(rows[:2] @ rows[2:].T / 0.5)
    np.testing.assert_allclose(soft.targets, expected / expected.sum(axis=1, keepdims=True), rtol=1e-5)


def test_prototype_means_move_towards_the_pool() -> None:
    placed = _placed([[0.9, 0.5]], [[1.0, 0.0], [0.0, 1.0]], [0, 1], 2)
    before = select(placed, knobs("prototype", refinements=0, targets="soft", sharpness=1.0), 1, None)
    after = select(placed, knobs("prototype", refinements=1, targets="soft", sharpness=1.0), 1, None)
    image, *labelled = _centred([0.9, 0.5], [1.0, 0.0], [0.0, 1.0])
    means = np.array(labelled) + before.targets[0][:, None] * image
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    expected = np.exp(means @ image)
    np.testing.assert_allclose(after.targets[0], expected / expected.sum(), rtol=1e-5)
    assert after.targets[0].max() > before.targets[0].max()


def test_prototype_gives_each_class_its_share_where_it_is_balanced() -> None:
    # All six lie nearer to class 0's mean; balanced, the three nearest to class 1's go there.
    angles = np.radians([5, 10, 15, 20, 25, 30])
    features = [[float(np.cos(a)), float(np.sin(a))] for a in angles]
    placed = _placed(features, [[1.0, 0.0], [0.0, 1.0]], [0, 1], 2)
    settings = {"refinements": 1, "sharpness": 0.2, "sinkhorn_steps": 500}
    balanced = select(placed, knobs("prototype", balance="sinkhorn", **settings), 1, None)
    assert balanced.targets.argmax(axis=1).tolist() == [0, 0, 0, 1, 1, 1]


def test_prototype_of_images_that_are_all_alike_says_all_alike() -> None:
    placed = _placed([[1.0, 1.0]], [[1.0, 1.0], [1.0, 1.0]], [0, 1], 2)
    soft = select(placed, knobs("prototype", targets="soft"), 1, None)
    np.testing.assert_allclose(soft.targets, [[0.5, 0.5]])


def test_prototype_holds_no_image_for_a_class_without_a_label() -> None:
    placed = _placed([[0.0, 1.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]], [0, 2], 3)
    selection = select(placed, knobs("prototype", targets="soft"), 1, None)
    assert (selection.targets[:, 1] < 1e-12).all()
    assert selection.targets.argmax(axis=1).tolist() == [2, 0]


@pytest.mark.parametrize("strategy", ["one_shot", "class_balanced", "curriculum", "noisy_student"])
def test_the_weight_of_labelled_images_is_what_the_recipe_says(strategy: str) -> None:
    teacher = sure((0, 0.9), (1, 0.8), (2, 0.7))
    assert select(teacher, knobs(strategy, labelled_weight=2.5), 1, None).labelled_weight == 2.5
