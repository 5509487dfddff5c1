"""The changes that the benchmark of near-duplicates makes, and what it counts."""

from __future__ import annotations

import numpy as np
from PIL import Image

from benchmarks.near_duplicates import COPIES, alike_originals, bits_apart


def test_copies_are_changed_as_their_names_say() -> None:
    image = Image.fromarray(np.full((100, 200, 3), 100, dtype=np.uint8))
    half, jpeg, bright, crop = (change(image) for change in COPIES.values())
    assert [copy.size for copy in (half, jpeg, bright, crop)] == [
        (100, 50),
        (200, 100),
        (200, 100),
        (188, 94),
    ]
    assert np.asarray(bright).max() == 120


def test_pairs_of_equal_and_of_near_looks_are_all_listed_with_their_bits() -> None:
    looks = {"a": bytes(8), "b": bytes(8), "c": bytes(7) + b"\x07", "d": b"\xff" * 8}
    assert alike_originals(looks) == [("a", "b", 0), ("a", "c", 3), ("b", "c", 3)]
    assert bits_apart(looks["a"], looks["d"]) == 64
