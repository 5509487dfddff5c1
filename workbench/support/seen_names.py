"""Which of very many names were there before, in eight bytes each."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

_MERGED_AT = 2**16


class SeenNames:
    """A set of names that takes eight bytes each: a hash.

    Among a million names two have the same with a chance of three in a hundred million; the second is missed.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._sorted: NDArray[np.uint64] = np.empty(0, dtype=np.uint64)
        self._recent: set[int] = set()
        for name in names:
            self.add(name)

    def __len__(self) -> int:
        return len(self._sorted) + len(self._recent)

    def __contains__(self, name: str) -> bool:
        key = _key(name)
        if key in self._recent:
            return True
        place = int(np.searchsorted(self._sorted, np.uint64(key)))
        return place < len(self._sorted) and int(self._sorted[place]) == key

    def add(self, name: str) -> bool:
        """Whether it is new."""
        if name in self:
            return False
        self._recent.add(_key(name))
        if len(self._recent) >= _MERGED_AT:
            more = np.fromiter(self._recent, dtype=np.uint64, count=len(self._recent))
            self._sorted = np.sort(np.concatenate([self._sorted, more]))
            self._recent.clear()
        return True


def _key(name: str) -> int:
    return int.from_bytes(blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
