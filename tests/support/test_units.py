"""Sizes and times as people write them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from workbench.support.units import (
    bytes_of,
    fraction,
    given_percent,
    human_eta,
    human_speed,
    in_percent,
    p_words,
    percent,
    points,
    progress_percent,
    seconds_of,
    signed,
    with_sign,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("20GB", 20 * 10**9),
        ("1.5 GiB", 3 * 2**29),
        ("512", 512),
        ("10k", 10_000),
        ("0b", 0),
        ("2TB", 2 * 10**12),
    ],
)
def test_a_size_is_read(text: str, size: int) -> None:
    assert bytes_of(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"), [("30d", 30 * 86400), ("1.5h", 5400), ("2w", 14 * 86400), ("0s", 0)]
)
def test_an_age_is_read(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "1e9", "1 GB 2", "nan", "9" * 40, "3 parsecs", "٣GB"])
def test_what_is_none_is_refused(text: str) -> None:
    for read in (bytes_of, seconds_of):
        with pytest.raises(ValueError):
            read(text)


def test_an_age_needs_a_unit_and_a_size_none_of_time() -> None:
    for read, text in ((seconds_of, "30"), (bytes_of, "30d"), (seconds_of, "30gb")):
        with pytest.raises(ValueError):
            read(text)


@pytest.mark.parametrize(
    ("value", "form", "words"),
    [
        (1.524, ".2f", "+1.52"),
        (-0.4, ".2f", "−0.40"),
        (-0.001, ".2f", "±0.00"),
        (0.0, ".1f", "±0.0"),
        (3, "d", "+3"),
        (-3, "d", "−3"),
        (0, "d", "±0"),
        (-0.0123456, ".4g", "−0.01235"),
        (-1e-9, ".4g", "−1e-09"),
        (float("inf"), ".2f", "+inf"),
        (float("nan"), ".2f", "nan"),
    ],
)
def test_a_difference_has_a_true_minus_and_none_where_nothing_is_left_of_it(
    value: float, form: str, words: str
) -> None:
    assert signed(value, form) == words


def test_a_size_in_words_takes_a_sign_too() -> None:
    assert [with_sign(d, w) for d, w in ((62, "1m02s"), (-9, "9 B"), (-1e-3, "0.0s"))] == [
        "+1m02s",
        "−9 B",
        "±0.0s",
    ]


def test_nothing_else_writes_signs() -> None:
    sources = (Path(__file__).parents[2] / "workbench").rglob("*.py")
    found = [path.name for path in sources if re.search(r":\+[\d.,]*[a-z]?\}", path.read_text("utf-8"))]
    assert found == []


def test_a_share_reads_by_what_it_is() -> None:
    assert (percent(0.88424), percent(1.0), percent(0.9, 0), percent(None)) == ("88.42", "100.00", "90", "–")
    assert (in_percent(0.88424), in_percent(1.0), in_percent(0.0, 1)) == ("88.42 %", "100 %", "0 %")
    assert (in_percent(float("nan")), percent(float("nan")), fraction(float("nan"))) == ("–", "–", "–")
    assert [fraction(share) for share in (0.8842, 1.0, 0.99999, 0.0)] == [".884", "1.00", "1.00", ".000"]
    assert (fraction(0.214, 2), fraction(0.996, 2)) == (".21", "1.0")
    assert (given_percent(0.1), given_percent(0.005), given_percent(1 / 3)) == ("10", "0.5", "33.3333")
    assert (progress_percent(0.619), progress_percent(0.9999), progress_percent(1.0)) == ("61", "99", "99")


def test_a_difference_of_shares_is_told_in_points() -> None:
    assert (points(0.0152), points(-0.004), points(0.0)) == ("+1.52", "−0.40", "±0.00")


def test_speeds_and_times_to_go_have_the_digits_that_they_mean() -> None:
    assert (human_speed(412.34), human_speed(14.82), human_speed(12_345)) == ("412", "14.8", "12,345")
    assert (human_eta(0.2), human_eta(8.4), human_eta(250)) == ("1s", "8s", "4m10s")


def test_a_p_has_three_digits_and_no_nought() -> None:
    assert [p_words(p) for p in (None, 0.0004, 0.034, 0.9996)] == ["–", "<.001", ".034", "1.00"]
