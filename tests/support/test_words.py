"""Small leaves: errors as one message, near names, numbers as people read them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.support.digests import fingerprint
from workbench.support.errors import RunFailed, UserError, nearest
from workbench.support.units import human_bytes, human_count, human_seconds


def test_a_user_error_is_one_message_with_place_choices_and_advice() -> None:
    error = UserError(
        "no such layer: 'laier4'", where="a.toml:3", allowed=["layer4", "head"], hint="try layer4"
    )
    assert str(error) == "a.toml:3: no such layer: 'laier4'\nallowed: layer4, head\ntry layer4"
    assert str(UserError("too many")) == "too many"
    assert UserError("x", allowed="one or two").allowed == "one or two"


def test_a_failed_run_carries_reason_and_advice() -> None:
    assert str(RunFailed("loss is NaN", advice="lower the learning rate")) == (
        "loss is NaN\nlower the learning rate"
    )
    assert str(RunFailed("disk full")) == "disk full"


def test_the_nearest_name_is_found_or_nothing_is_said() -> None:
    assert nearest("lerning_rate", ["epochs", "learning_rate"]) == "learning_rate"
    assert nearest("zzz", ["epochs", "learning_rate"]) is None
    assert nearest("x", []) is None


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 * 2**30, "5.0 GiB"), (3 * 2**40, "3.0 TiB")],
)
def test_bytes_in_binary_units(count: int, words: str) -> None:
    assert human_bytes(count) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.26, "0.3s"), (12.4, "12s"), (250, "4m10s"), (3600, "1h00m"), (7384, "2h03m")]
)
def test_seconds_as_a_clock_reads(seconds: float, words: str) -> None:
    assert human_seconds(seconds) == words


@given(st.floats(0, 1e7))
def test_seconds_never_show_sixty(seconds: float) -> None:
    words = human_seconds(seconds)
    assert "60s" not in words
    assert "60m" not in words
    assert words[-1] in "sm"


@pytest.mark.parametrize(("count", "words"), [(9_999, "9999"), (23_508_032, "23.51 M"), (75_300, "75.3 k")])
def test_counts_in_thousands_and_millions(count: int, words: str) -> None:
    assert human_count(count) == words


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8")), st.integers() | st.text(st.characters(codec="utf-8"))
    )
)
def test_a_fingerprint_does_not_depend_on_the_order_of_keys(value: dict[str, int | str]) -> None:
    backwards = dict(reversed(value.items()))
    assert fingerprint(backwards) == fingerprint(value)
    assert len(fingerprint(value)) == 16
    assert fingerprint([value, math.pi]) != fingerprint(value)
