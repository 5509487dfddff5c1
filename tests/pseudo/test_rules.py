"""The selection rules on pools small enough to work by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.pseudo.pools import knobs, pool, sure
from workbench.pseudo import Selection, labelled_shares, select

# -- one shot


def test_one_shot_takes_the_whole_pool() -> None:
    selection = select(sure((2, 0.4), (0, 0.9), (1, 0.5)), knobs("one_shot"), 1, None)
    assert selection.rows.tolist() == [0, 1, 2]
    assert selection.targets.argmax(axis=1).tolist() == [2, 0, 1]
    assert selection.labelled_weight == 1


# -- iterative, top fraction


def test_top_fraction_grows_by_its_share_every_round() -> None:
    confident = sure(*((i % 3, 0.99 - 0.01 * i) for i in range(10)))
    for round_number, count in ((1, 2), (2, 4), (3, 6), (4, 8), (5, 10), (6, 10)):
        selection = select(confident, knobs("iterative", fraction=0.2), round_number, None)
        assert selection.rows.tolist() == list(range(count)), round_number


def test_top_fraction_rounds_down() -> None:
    confident = sure(*((0, 0.9 - 0.1 * i) for i in range(5)))
    assert select(confident, knobs("iterative", fraction=0.3), 1, None).rows.tolist() == [0]
    assert select(confident, knobs("iterative", fraction=0.1), 1, None).rows.tolist() == []


def test_top_fraction_takes_the_surest_and_returns_ascending_rows() -> None:
    selection = select(
        sure((0, 0.5), (1, 0.9), (2, 0.6), (0, 0.8)), knobs("iterative", fraction=0.5), 1, None
    )
    assert selection.rows.tolist() == [1, 3]
    assert selection.targets.argmax(axis=1).tolist() == [1, 0]


def test_ties_keep_the_lower_row() -> None:
    even = sure(*((i % 3, 0.7) for i in range(8)))
    assert select(even, knobs("iterative", fraction=0.5), 1, None).rows.tolist() == [0, 1, 2, 3]


# -- iterative, threshold


def test_a_threshold_takes_all_at_or_above_it_in_every_round() -> None:
    confident = pool([[0.75, 0.25], [0.5, 0.5], [0.25, 0.75], [0.7, 0.3]])
    for round_number in (1, 5):
        selection = select(
            confident, knobs("iterative", select="threshold", threshold=0.75), round_number, None
        )
        assert selection.rows.tolist() == [0, 2]


def test_a_threshold_that_nothing_reaches_selects_nothing() -> None:
    selection = select(
        sure((0, 0.5), (1, 0.6)), knobs("iterative", select="threshold", threshold=0.9), 1, None
    )
    assert selection.rows.shape == (0,)
    assert selection.targets.shape == (0, 3)
    assert selection.weights.shape == (0,)


# -- iterative, keeping labels


def _given(row: int, label: int) -> Selection:
    return Selection(
        rows=np.array([row], dtype=np.int64),
        targets=np.eye(3, dtype=np.float32)[[label]],
        weights=np.ones(1, dtype=np.float32),
    )


def test_relabel_takes_the_new_word_of_the_teacher() -> None:
    now = sure((1, 0.9), (2, 0.8), (0, 0.4))
    selection = select(now, knobs("iterative", fraction=0.34, relabel=True), 1, _given(0, 0))
    assert selection.targets.argmax(axis=1).tolist() == [1]


def test_without_relabel_a_given_label_stays_although_the_teacher_changed_its_mind() -> None:
    now = sure((1, 0.9), (2, 0.8), (0, 0.4))
    selection = select(now, knobs("iterative", fraction=0.34, relabel=False), 2, _given(0, 0))
    assert selection.rows.tolist() == [0, 1]
    assert selection.targets.argmax(axis=1).tolist() == [0, 2]


def test_without_relabel_a_given_label_stays_although_the_teacher_is_no_longer_sure() -> None:
    now = sure((1, 0.9), (2, 0.8), (0, 0.4))
    top = select(now, knobs("iterative", fraction=0.34, relabel=False), 2, _given(2, 1))
    assert top.rows.tolist() == [0, 2]
    assert top.targets.argmax(axis=1).tolist() == [1, 1]
    above = select(
        now, knobs("iterative", select="threshold", threshold=0.85, relabel=False), 2, _given(2, 1)
    )
    assert above.rows.tolist() == [0, 2]
    assert above.targets.argmax(axis=1).tolist() == [1, 1]


def test_without_relabel_soft_labels_stay_to_the_last_digit() -> None:
    soft = {"targets": "soft", "temperature": 2.0, "relabel": False, "fraction": 0.5}
    first = select(sure((0, 0.9), (1, 0.5)), knobs("iterative", **soft), 1, None)
    second = select(sure((2, 0.6), (1, 0.95)), knobs("iterative", **soft), 2, first)
    assert first.rows.tolist() == [0]
    assert second.rows.tolist() == [0, 1]
    assert second.targets[0].tolist() == first.targets[0].tolist()


# -- class balanced


def test_class_balanced_gives_each_class_its_quota() -> None:
    # U = 12, C = 3, R = 2: rounds of 2 and 4 a class, taken from 8, 3 and 1 candidates.
    crowd = [(0, 0.99 - 0.01 * i) for i in range(8)]
    few = [(1, 0.6), (1, 0.7), (1, 0.5), (2, 0.4)]
    teacher = sure(*crowd, *few)
    first = select(teacher, knobs("class_balanced", rounds=2), 1, None)
    assert first.rows.tolist() == [0, 1, 8, 9, 11]
    second = select(teacher, knobs("class_balanced", rounds=2), 2, None)
    assert second.rows.tolist() == [0, 1, 2, 3, 8, 9, 10, 11]


def test_class_balanced_rounds_the_quota_down() -> None:
    # ⌊1/2 · 7/3⌋ = 1 a class, ⌊2/2 · 7/3⌋ = 2.
    teacher = sure(*((i % 3, 0.9 - 0.01 * i) for i in range(7)))
    assert select(teacher, knobs("class_balanced", rounds=2), 1, None).rows.tolist() == [0, 1, 2]
    assert select(teacher, knobs("class_balanced", rounds=2), 2, None).rows.tolist() == [0, 1, 2, 3, 4, 5]


def test_class_balanced_ties_keep_the_lower_row() -> None:
    teacher = sure((0, 0.7), (1, 0.7), (0, 0.7), (1, 0.7), (0, 0.7), (1, 0.7), classes=2)
    assert select(teacher, knobs("class_balanced", rounds=3), 1, None).rows.tolist() == [0, 1]


@pytest.mark.parametrize(("labelled", "weight"), [([1, 1, 1], 1.0), ([1, 0, 0], 1.5), ([0, 0, 0], 1.5)])
def test_the_weight_of_a_labelled_image_grows_with_the_pseudo_labels(
    labelled: list[int], weight: float
) -> None:
    teacher = sure(*((i % 3, 0.9 - 0.01 * i) for i in range(6)))
    selection = select(
        pool(teacher.probabilities.tolist(), labelled), knobs("class_balanced", rounds=1), 1, None
    )
    assert len(selection.rows) == 6
    assert selection.labelled_weight == weight  # max(1, 0.25 · 6 / max(1, |L|))


def test_a_prior_from_the_labelled_images_shifts_the_quotas() -> None:
    # Laplace: (5+1, 2+1, 0+1) of 10; of U = 10 that makes quotas of 6, 3 and 1.
    teacher = sure(*((0, 0.9 - 0.01 * i) for i in range(7)), (1, 0.5), (2, 0.8), (2, 0.7))
    labelled = pool(teacher.probabilities.tolist(), [5, 2, 0])
    prior = replace(labelled, prior=labelled_shares(labelled.labelled_counts))
    selection = select(prior, knobs("class_balanced", rounds=1), 1, None)
    assert selection.rows.tolist() == [0, 1, 2, 3, 4, 5, 7, 8]
    uniform = select(labelled, knobs("class_balanced", rounds=1), 1, None)
    assert uniform.rows.tolist() == [0, 1, 2, 7, 8, 9]
