"""Sizes and times as people write them."""

from __future__ import annotations

import pytest

from workbench.support.units import bytes_of, seconds_of


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
