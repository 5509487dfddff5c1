from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from tests.dataset.pictures import picture
from workbench.dataset import contents as near_duplicates
from workbench.dataset.contents import LOOK_DISTANCE, alike_looks
from workbench.dataset.probe import difference_hash


def _distance(one: bytes, other: bytes) -> int:
    return (int.from_bytes(one) ^ int.from_bytes(other)).bit_count()


@given(
    st.lists(st.integers(0, 2**64 - 1), max_size=12, unique=True),
    st.lists(st.tuples(st.integers(0, 11), st.sets(st.integers(0, 63), min_size=1, max_size=9)), max_size=12),
)
def test_pairs_are_those_that_comparing_all_with_all_finds(
    values: list[int], flips: list[tuple[int, set[int]]]
) -> None:
    near = [values[at] ^ sum(1 << bit for bit in bits) for at, bits in flips if at < len(values)]
    looks = [value.to_bytes(8) for value in dict.fromkeys(values + near)]
    expected = [
        [i, j]
        for i in range(len(looks))
        for j in range(i + 1, len(looks))
        if _distance(looks[i], looks[j]) <= LOOK_DISTANCE
    ]
    assert alike_looks(looks).tolist() == expected


def test_search_is_cut_into_blocks_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = [number.to_bytes(8) for number in range(64)]  # all within six bits of each other
    whole = alike_looks(looks).tolist()
    assert len(whole) == 64 * 63 // 2
    monkeypatch.setattr(near_duplicates, "_BLOCK", 100)
    assert alike_looks(looks).tolist() == whole
    monkeypatch.setattr(near_duplicates, "MOST_PAIRS", 50)
    assert 50 <= len(alike_looks(looks)) <= 50 * (LOOK_DISTANCE + 1)


@pytest.mark.parametrize("seed", range(6))
def test_smaller_brighter_and_recompressed_copies_are_within_the_distance(seed: int) -> None:
    image = picture(seed, 400, 300)
    look = difference_hash(np.asarray(image))
    brighter = ImageEnhance.Brightness(image).enhance(1.1)
    for copy in (image.resize((200, 150), Image.Resampling.LANCZOS), brighter):
        other = difference_hash(np.asarray(copy))
        assert look is not None
        assert other is not None
        assert _distance(look, other) <= LOOK_DISTANCE
    strange = difference_hash(np.asarray(picture(seed + 100, 400, 300)))
    assert strange is not None
    assert _distance(look or b"", strange) > LOOK_DISTANCE
