"""What image files hold: a digest of each, kept by path and the file's outside, so that it is read once.

Names, sizes and lengths do not tell one picture from another: uncompressed files of one size have one length.
Whatever is remembered of an image's pixels (the decoded store, features, a split that a run was pinned to)
therefore goes by these digests.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workbench.dataset.depth import Deep
from workbench.dataset.probe import MAX_BYTES, deep_values
from workbench.support.caches import DamagedCache, read_sealed, write_sealed
from workbench.support.digests import SETTLED_NS
from workbench.support.paths import cache_home
from workbench.support.progress import QUIET, Progress
from workbench.support.regular_file import UnreadableFile, read_bytes

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


MISSING = "missing"
"""The digest of a file that is not there, or cannot be read."""

Stamp = tuple[int, int, int, int]
"""Length, modification and change time in ns, inode. Nothing changes a file's content and leaves all four."""

_VERSION = 2  # of 1 the values of 32-bit TIFFs were read as signed


@dataclass(frozen=True, slots=True)
class Content:
    """What a file held when it was read."""

    digest: str
    """BLAKE2b of 16 bytes in hex, or `MISSING`."""
    stamp: Stamp | None
    """How the file looked from outside then; None of a missing one."""
    deep: Deep | None = None
    """The values of a picture with more than 8 bits a pixel."""


def read_contents(
    root: Path, paths: Sequence[Path], *, cache: Path | None = None, reporter: Progress = QUIET
) -> list[Content]:
    """What each file holds: files that look as they did when they were last read are not read again.

    Reads in threads; several processes may do so at once, and each keeps what it found.

    Args:
        root: what is remembered is kept by this directory.
        cache: default: the cache home.
    """
    kept = _place(root, cache or cache_home())
    known = _remembered(kept)
    found = [_known(known, path) for path in paths]
    new = [position for position, content in enumerate(found) if content is None]
    if new:
        with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="contents") as pool:
            read = pool.map(content_of, (paths[position] for position in new))
            for done, (position, content) in enumerate(zip(new, read, strict=True), 1):
                found[position] = content
                if done % 100 == 0 or done == len(new):
                    reporter.progress("read contents", done, len(new))
        _remember(kept, paths, found)
    return [content or Content(MISSING, None) for content in found]


def content_of(path: Path) -> Content:
    """Read one file."""
    try:
        before = stamp_of(path)
        content = read_bytes(path, MAX_BYTES)
        after = stamp_of(path)
    except (UnreadableFile, OSError, ValueError):
        return Content(MISSING, None)
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()
    return Content(digest, after if before == after else None, deep_values(content))


def still_holds(path: Path, content: Content) -> bool:
    """Whether the file holds now what it held then; looked at from outside where that tells."""
    with contextlib.suppress(OSError, ValueError):
        if content.stamp is not None and stamp_of(path) == content.stamp:
            return True
    return content_of(path).digest == content.digest


def stamp_of(path: Path) -> Stamp:
    """How a file looks from outside. Raises: OSError; ValueError, of a name that no file can have."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _known(known: Mapping[str, Content], path: Path) -> Content | None:
    content = known.get(os.fspath(path))
    with contextlib.suppress(OSError, ValueError):
        if content is not None and content.stamp == stamp_of(path):
            return content
    return None


def _place(root: Path, cache: Path) -> Path:
    name = hashlib.sha256(os.fsencode(os.path.abspath(root))).hexdigest()[:24]  # noqa: PTH100 (any bytes)
    return cache / "contents" / f"{name}.sealed"


def _remembered(kept: Path) -> dict[str, Content]:
    try:
        content = read_sealed(kept)
        values = json.loads(content) if content is not None else {}
        if values.get("version") != _VERSION:
            return {}
        return {
            path: Content(digest, (size, modified, changed, inode), Deep(*deep) if deep else None)
            for path, (size, modified, changed, inode, digest, deep) in values["files"].items()
        }
    except (DamagedCache, ValueError, KeyError, TypeError, AttributeError):
        return {}  # reading all again is all that it costs


def _remember(kept: Path, paths: Sequence[Path], found: Sequence[Content | None]) -> None:
    now = time.time_ns()
    files = {
        os.fspath(path): [*content.stamp, content.digest, content.deep and content.deep.values]
        for path, content in zip(paths, found, strict=True)
        if content is not None and content.stamp is not None and now - content.stamp[2] > SETTLED_NS
    }
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time alone
        write_sealed(kept, json.dumps({"version": _VERSION, "files": files}).encode())
