"""Order and randomness as functions of (seed, keys, index), never state: any batch can be drawn again alone.

Numbers are SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators", Fig. 17;
constants of its mix64variant13, by Stafford): an item's stream starts at a hash of the seed, the keys and
the item's id, and its j-th number is the hash of start + (j + 1) * golden gamma. So a number does not
depend on the batch that it is drawn in, on the order of batches or on how many workers there are.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

Key = int | str
"""Names a stream: "crop", or an epoch."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def uniforms(
    seed: int, *keys: Key, ids: NDArray[np.int64] | NDArray[np.uint64], draws: int
) -> NDArray[np.float64]:
    """(B, draws) float64 in [0, 1): row b depends on seed, keys and ids[b] alone, column j not on `draws`."""
    starts = _mix(_stream(seed, keys) ^ _mix(ids.astype(np.uint64) + _GOLDEN))
    steps = np.arange(1, draws + 1, dtype=np.uint64) * _GOLDEN
    bits = _mix(starts[:, None] + steps[None, :])
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53  # the 53 bits that a float64 holds


def permutation(seed: int, *keys: Key, n: int) -> NDArray[np.int64]:
    """(n,) int64 shuffled 0 … n-1: the order of n random 64-bit keys."""
    counters = np.arange(1, n + 1, dtype=np.uint64) * _GOLDEN
    return np.argsort(_mix(_stream(seed, keys) + counters), kind="stable")


def generator(seed: int, *keys: Key) -> np.random.Generator:
    """For draws that are not uniform: numpy's Philox generator (Salmon et al. 2011), keyed by the stream."""
    return np.random.Generator(np.random.Philox(key=int(_stream(seed, keys)[0])))


def combine(*columns: NDArray[np.int64]) -> NDArray[np.uint64]:
    """(B,) uint64 ids that name rows of several (B,) int64 columns: equal rows get equal ids."""
    ids = np.zeros(len(columns[0]), dtype=np.uint64)
    for column in columns:
        ids = _mix(ids ^ _mix(column.astype(np.uint64) + _GOLDEN))
    return ids


def _stream(seed: int, keys: tuple[Key, ...]) -> NDArray[np.uint64]:
    """(1,) uint64 state that seed and keys lead to; arrays, since numpy warns when a scalar wraps around."""
    state = _mix(_word(seed))
    for key in keys:
        state = _mix(state ^ _mix(_word(key) + _GOLDEN))
    return state


def _word(key: Key) -> NDArray[np.uint64]:
    if isinstance(key, str):  # not hash(): that differs from one process to the next
        return np.frombuffer(hashlib.sha256(key.encode()).digest()[:8], dtype="<u8").astype(np.uint64)
    return np.array([key % 2**64], dtype=np.uint64)


def _mix(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    words = (words ^ (words >> np.uint64(30))) * _FIRST
    words = (words ^ (words >> np.uint64(27))) * _SECOND
    return words ^ (words >> np.uint64(31))
