"""Intervals and adjusted p values, against scipy, published examples and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from workbench.runs.intervals import (
    at_most_wrong,
    error_bound,
    holm,
    of_share,
    overlap,
    paired_difference,
    share_words,
    student,
    t_quantile,
    t_within,
    wilson,
)
from workbench.support.units import interval_fractions, interval_words, points_words


@given(st.integers(1, 20_000), st.data())
def test_wilson_is_scipys(images: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, images))
    expected = stats.binomtest(right, images).proportion_ci(0.95, method="wilson")
    assert wilson(right, images) == pytest.approx((expected.low, expected.high), abs=1e-9)


@given(st.integers(1, 100_000), st.floats(1e-6, 0.5), st.data())
def test_the_bound_of_an_error_is_clopper_and_pearsons(images: int, risk: float, data: st.DataObject) -> None:
    wrong = data.draw(st.integers(0, images) | st.integers(0, min(20, images)))
    expected = 1.0 if wrong == images else float(stats.beta.ppf(1 - risk, wrong + 1, images - wrong))
    assert error_bound(wrong, images, risk) == pytest.approx(expected, abs=1e-9)


@given(st.integers(1, 200), st.floats(0, 1), st.data())
def test_the_chance_of_so_few_errors_is_the_sum_of_its_terms(
    images: int, share: float, data: st.DataObject
) -> None:
    wrong = data.draw(st.integers(0, images - 1))
    terms = (math.comb(images, k) * share**k * (1 - share) ** (images - k) for k in range(wrong + 1))
    assert at_most_wrong(wrong, images, share) == pytest.approx(math.fsum(terms), abs=1e-10)


def test_a_bound_of_no_image_is_everything() -> None:
    assert error_bound(0, 0, 0.05) == 1
    assert error_bound(0, 299, 0.05) < 0.01 < error_bound(0, 298, 0.05)
    with pytest.raises(ValueError, match="6 of 5"):
        error_bound(6, 5, 0.05)


def test_five_of_five_are_not_sure_to_be_all() -> None:
    assert share_words(1.0, 5) == "100 % (56.6–100)"
    assert share_words(0.0, 5) == "0 % (0–43.4)"
    assert share_words(0.9123, 1837) == "91.23 % (89.9–92.4)"
    assert share_words(0.9123, 0) == "91.23 %"
    assert of_share(0.5, 0) == (0.0, 1.0)


def test_no_share_has_more_right_than_there_are() -> None:
    with pytest.raises(ValueError, match="6 of 5"):
        wilson(6, 5)


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [
        # Newcombe 1998, table II: 36, 12, 2, 0, first less second.
        ((36, 2, 12, 0), 0.0569, 0.3404),
        # Fagerland, Lydersen and Laake 2014, table 5: airway hyper-responsiveness of Bentur et al. 2009.
        ((1, 1, 7, 12), 0.026, 0.507),
    ],
)
def test_a_paired_difference_is_as_published(
    counts: tuple[int, int, int, int], low: float, high: float
) -> None:
    assert paired_difference(*counts) == pytest.approx((low, high), abs=5e-4)


@given(st.tuples(*[st.integers(0, 400)] * 4).filter(any))
def test_a_paired_difference_turns_round_with_the_models(counts: tuple[int, int, int, int]) -> None:
    both, first, second, neither = counts
    low, high = paired_difference(both, first, second, neither)
    assert paired_difference(both, second, first, neither) == pytest.approx((-high, -low), abs=1e-12)
    assert -1 <= low <= (second - first) / sum(counts) <= high <= 1


def test_a_paired_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    chances = np.array([0.84, 0.03, 0.06, 0.07])
    draws = random.multinomial(700, chances, size=4000)
    held = [low <= 0.03 <= high for low, high in (paired_difference(*row) for row in draws.tolist())]
    assert 0.935 < np.mean(held) < 0.965


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 30, 199])
def test_students_t_is_scipys(freedom: int) -> None:
    assert t_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-9)
    assert t_within(1.3, freedom) == pytest.approx(1 - 2 * stats.t.sf(1.3, freedom), abs=1e-12)


def test_a_mean_over_seeds_has_students_interval() -> None:
    values = [0.857, 0.823, 0.847, 0.833, 0.856]
    spread = float(np.std(values, ddof=1))
    expected = stats.t.interval(0.95, 4, np.mean(values), spread / math.sqrt(5))
    assert student(float(np.mean(values)), spread, 5) == pytest.approx(expected)


def test_holm_multiplies_the_least_most_and_never_reverses_an_order() -> None:
    # Holm 1979, by hand: 3 · 0.01, then 2 · 0.02, then max(0.04, 0.03) since the order stays.
    assert holm([0.02, None, 0.01, 0.03]) == pytest.approx([0.04, None, 0.03, 0.04])
    assert holm([0.2]) == [0.2]
    assert holm([0.7, 0.9]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_is_between_the_plain_p_and_bonferronis(chances: list[float]) -> None:
    for p, adjusted in zip(chances, holm(chances), strict=True):
        assert adjusted is not None
        assert p <= adjusted <= min(1.0, len(chances) * p)


def test_intervals_read_as_percent_and_points() -> None:
    assert interval_words((0.898, 0.924)) == "89.8–92.4"
    assert interval_words((-0.1, 1.1)) == "0–100"
    assert interval_words(None) == interval_fractions(None) == "–"
    assert interval_fractions((0.898, 1.1)) == ".898–1.00"
    assert points_words((-0.012, 0.0541)) == "−1.2 to +5.4"
    assert overlap((0.8, 0.9), (0.9, 1.0))
    assert not overlap((0.8, 0.85), (0.9, 1.0))
