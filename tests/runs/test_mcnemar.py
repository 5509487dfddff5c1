"""Paired tests on test images, held against hand values, enumeration and scipy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from workbench.runs.intervals import paired_difference
from workbench.runs.paired import (
    Answers,
    NotPaired,
    PairedTest,
    answers_of,
    mcnemar,
    paired_over_seeds,
    paired_test,
    sign_flip,
)
from workbench.runs.predictions import Predictions
from workbench.support.units import p_words

COUNTS = st.integers(0, 400)


def edwards(only_first: int, only_second: int) -> float:
    """The continuity-corrected chi-square of Edwards 1948, one degree of freedom."""
    statistic = (abs(only_first - only_second) - 1) ** 2 / (only_first + only_second)
    return math.erfc(math.sqrt(statistic / 2))


@pytest.mark.parametrize(
    ("only_first", "only_second", "by_hand"),
    [
        (0, 0, 1.0),
        (0, 1, 1.0),  # 2 · 1/2
        (0, 5, 2 / 2**5),
        (1, 5, 2 * (1 + 6) / 2**6),
        (2, 8, 2 * (1 + 10 + 45) / 2**10),
        (3, 3, 1.0),
    ],
)
def test_few_discordant_images_give_the_value_worked_by_hand(
    only_first: int, only_second: int, by_hand: float
) -> None:
    assert mcnemar(only_first, only_second) == pytest.approx(by_hand, rel=1e-12)
    assert mcnemar(only_second, only_first) == mcnemar(only_first, only_second)


@given(COUNTS, COUNTS)
def test_it_is_the_exact_binomial_test_of_scipy(only_first: int, only_second: int) -> None:
    if only_first + only_second:
        expected = stats.binomtest(only_first, only_first + only_second, 0.5).pvalue
        assert mcnemar(only_first, only_second) == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_many_discordant_images_agree_with_the_corrected_chi_square() -> None:
    # The chi-square form is an approximation; at 2,000 discordant images it differs by less than 2 %.
    assert mcnemar(960, 1040) == pytest.approx(edwards(960, 1040), rel=0.02)
    assert mcnemar(12, 30) == pytest.approx(edwards(12, 30), rel=0.1)


def test_counts_below_nought_are_refused() -> None:
    with pytest.raises(ValueError, match="-1"):
        mcnemar(-1, 3)


@given(COUNTS, COUNTS)
def test_over_one_seed_the_sign_flip_test_is_mcnemars(only_first: int, only_second: int) -> None:
    differences = np.array([-1] * only_first + [0] * 7 + [1] * only_second, np.int64)
    assert sign_flip(differences) == pytest.approx(mcnemar(only_first, only_second), rel=1e-9, abs=1e-300)


@given(st.lists(st.integers(-4, 4), max_size=9))
def test_the_sign_flip_test_counts_every_way_to_set_the_signs(differences: list[int]) -> None:
    flips = list(itertools.product((-1, 1), repeat=len(differences)))
    sums = [abs(sum(s * d for s, d in zip(signs, differences, strict=True))) for signs in flips]
    expected = sum(total >= abs(sum(differences)) for total in sums) / len(flips)
    assert sign_flip(np.array(differences, np.int64)) == pytest.approx(expected, rel=1e-9)


def test_a_p_is_shown_with_what_it_means() -> None:
    assert [p_words(p) for p in (None, 0.0, 0.0009, 0.0344, 0.5, 1.0)] == [
        "–",
        "<.001",
        "<.001",
        ".034",
        ".500",
        "1.00",
    ]


def made(right: dict[str, bool], truth: str = "cat", classes: tuple[str, ...] = ("cat", "dog")) -> Answers:
    """Test predictions of images that are all of one class."""
    other = next(name for name in classes if name != truth)
    said = [truth if is_right else other for is_right in right.values()]
    probabilities = np.array([[float(name == s) for name in classes] for s in said], np.float32)
    labels = np.full(len(right), classes.index(truth), np.int64)
    return answers_of(Predictions(tuple(right), probabilities, labels), classes)


def test_images_are_matched_by_id_and_classes_by_name() -> None:
    baseline = made({"a": True, "b": True, "c": False, "d": False})
    run = made({"d": True, "c": False, "b": False, "a": True}, classes=("dog", "cat"))
    assert paired_test(baseline, run) == PairedTest(
        images=4,
        left_out=0,
        both_right=1,
        only_baseline=1,
        only_run=1,
        p=1.0,
        interval=paired_difference(1, 1, 1, 1),
        p_holm=1.0,
    )
    better = paired_test(baseline, made({"a": True, "b": True, "c": True, "d": False}))
    assert isinstance(better, PairedTest)
    assert better.difference == pytest.approx(0.25)


def test_images_of_one_run_only_or_of_another_truth_are_left_out_and_counted() -> None:
    baseline = made({"a": True, "b": False, "c": True})
    assert paired_test(baseline, made({"b": True, "c": True, "e": True})) == PairedTest(
        2, 2, 1, 0, 1, p=1.0, interval=paired_difference(1, 0, 1, 0), p_holm=1.0
    )
    assert paired_test(baseline, made({"a": True}, truth="dog")) == NotPaired("they share no test image")


def test_images_without_a_truth_are_not_tested() -> None:
    known = np.array([0, -1], np.int64)
    run = answers_of(Predictions(("a", "b"), np.eye(2, dtype=np.float32), known), ("cat", "dog"))
    assert run.ids.tolist() == ["a"]


def test_runs_of_different_classes_are_not_paired() -> None:
    other = made({"a": True}, classes=("cat", "fox"))
    assert paired_test(made({"a": True}), other) == NotPaired("they tell different classes apart")
    assert paired_over_seeds([(made({"a": True}), other)]) is None


def test_predictions_of_other_classes_than_named_are_refused() -> None:
    with pytest.raises(ValueError, match="2 classes for 3"):
        answers_of(Predictions(("a",), np.eye(2, dtype=np.float32)[:1], np.array([0])), ("x", "y", "z"))


def test_over_seeds_an_image_counts_once_however_many_seeds_saw_it() -> None:
    ids = [f"{number:02d}" for number in range(8)]
    worse, better = made(dict.fromkeys(ids, False)), made(dict.fromkeys(ids, True))
    once = paired_over_seeds([(worse, better)])
    assert once == pytest.approx(2 / 2**8)
    assert paired_over_seeds([(worse, better)] * 3) == pytest.approx(once)
    assert paired_over_seeds([(worse, better), (better, worse)]) == 1.0
    assert paired_over_seeds([]) is None


def test_over_seeds_only_images_tested_under_all_of_them_count() -> None:
    first = (made({"a": False, "b": False}), made({"a": True, "b": True}))
    second = (made({"b": False, "c": True}), made({"b": True, "c": True}))
    assert paired_over_seeds([first, second]) == 1.0  # b alone: 2 · 1/2
    assert paired_over_seeds([first, (made({"z": True}), made({"z": True}))]) is None
