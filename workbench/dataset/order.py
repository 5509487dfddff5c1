"""Random order that depends on names alone: the same on every machine and for every version of numpy."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def shuffled_ranks(ids: Iterable[str], purpose: str, seed: int) -> NDArray[np.int64]:
    """(N,) int64: the place of each id in an order drawn for `purpose` and `seed`.

    Ids are ordered by a SHA-256 of (purpose, seed, id). Two images keep their order whichever others come or
    go, so one unreadable file does not reshuffle a split; orders for two purposes are independent.
    """
    start = hashlib.sha256(f"petbench {purpose} {seed} ".encode())
    digests = []
    for name in ids:
        digest = start.copy()
        digest.update(name.encode("utf-8", "surrogatepass"))
        digests.append(digest.digest())
    ranks = np.empty(len(digests), dtype=np.int64)
    ranks[sorted(range(len(digests)), key=digests.__getitem__)] = np.arange(len(digests))
    return ranks
