"""Near-duplicates: what counts as one, by look and by features, and the search for alike looks among many."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

LOOK_DISTANCE = 6
"""Bits of 64 in which the difference hashes of near-duplicates may differ: docs/data.md has what it finds."""
FEATURE_COSINE = 0.95
"""Cosine of two images' features from which on they count as near-duplicates; crops are found by it alone."""
MOST_PAIRS = 200_000
"""More pairs than this are not listed: so many alike looks are drawings or blanks, not copies."""

_BLOCK = 1 << 20
"""Comparisons at a time: 8 MiB, which stay in a processor's cache."""


def alike_looks(looks: Sequence[bytes], distance: int = LOOK_DISTANCE) -> NDArray[np.int64]:
    """(M, 2) int64 ascending pairs (i, j), i < j, of looks that differ in at most so many bits.

    Of distance + 1 bands of bits, one at least is the same in both, so only looks that share a band are
    compared: 100,000 take seconds. At most MOST_PAIRS pairs a band, from the first looks on.

    Args:
        looks: 8 bytes each, as `difference_hash` gives them; no two are equal.
    """
    if len(looks) < 2:
        return np.empty((0, 2), dtype=np.int64)
    values = np.frombuffer(b"".join(looks), dtype=np.uint64)
    bounds = np.linspace(0, 64, distance + 2).astype(int).tolist()
    found = [_alike_in_band(values, low, high - low, distance) for low, high in pairwise(bounds)]
    return np.unique(np.concatenate(found), axis=0)


def _alike_in_band(values: NDArray[np.uint64], low: int, width: int, distance: int) -> NDArray[np.int64]:
    """As `alike_looks`, of the looks whose `width` bits from `low` on are equal."""
    bands = (values >> np.uint64(low)) & np.uint64((1 << width) - 1)
    order = np.argsort(bands, kind="stable")
    ends = np.flatnonzero(np.diff(bands[order], append=bands.max(initial=0) + 1)) + 1
    found = [np.empty((0, 2), dtype=np.int64)]
    left = MOST_PAIRS
    for start, end in pairwise([0, *ends.tolist()]):
        members = order[start:end]
        rows = max(1, _BLOCK // len(members))
        for first in range(0, len(members) if len(members) > 1 else 0, rows):
            block = members[first : first + rows]
            differing = np.bitwise_count(values[block, None] ^ values[None, members[first:]])
            here, there = np.nonzero(differing <= distance)
            ahead = there > here
            pairs = np.column_stack([block[here[ahead]], members[first:][there[ahead]]])[:left]
            found.append(pairs)
            left -= len(pairs)
            if not left:
                return np.concatenate(found)
    return np.concatenate(found)
