"""What image files hold: a digest of each, kept by path and the file's outside, so that it is read once.

Names, sizes and lengths do not tell one picture from another: uncompressed files of one size have one length.
Whatever is remembered of an image's pixels (the decoded store, features, a split that a run was pinned to)
therefore goes by these digests.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from workbench.dataset.depth import Deep
from workbench.dataset.probe import MAX_BYTES, deep_values
from workbench.support.caches import DamagedCache, read_columns, write_columns
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

NO_STAMP: Stamp = (-1, 0, 0, 0)
"""In a column: of a file that is not there."""

_VERSION = 3  # of 1 the values of 32-bit TIFFs were read as signed, 2 was JSON without sizes


@dataclass(frozen=True, slots=True)
class Content:
    """What a file held when it was read."""

    digest: str
    """BLAKE2b of 16 bytes in hex, or `MISSING`."""
    stamp: Stamp | None
    """How the file looked from outside then; None of a missing one."""
    deep: Deep | None = None
    """The values of a picture with more than 8 bits a pixel."""


@dataclass(frozen=True, eq=False)
class ContentColumns(Sequence[Content]):
    """What N files held, by position; a `Content` is made when it is asked for."""

    raw: NDArray[np.uint8]
    """(N, 16) digests; zeros of missing files."""
    stamps: NDArray[np.int64]
    """(N, 4); `NO_STAMP` where there is none."""
    deep: dict[int, Deep] = field(default_factory=dict)
    """Of the pictures with more than 8 bits a pixel, by position."""

    @classmethod
    def of(cls, contents: Sequence[Content]) -> ContentColumns:
        """The columns of these."""
        zeros = bytes(_DIGEST_BYTES)
        raw = b"".join(zeros if one.digest == MISSING else bytes.fromhex(one.digest) for one in contents)
        return cls(
            np.frombuffer(raw, dtype=np.uint8).reshape(-1, _DIGEST_BYTES),
            np.array([one.stamp or NO_STAMP for one in contents], dtype=np.int64).reshape(-1, 4),
            {position: one.deep for position, one in enumerate(contents) if one.deep is not None},
        )

    @classmethod
    def joined(cls, parts: Sequence[ContentColumns]) -> ContentColumns:
        """One after the other."""
        deep: dict[int, Deep] = {}
        start = 0
        for part in parts:
            deep |= {start + position: values for position, values in part.deep.items()}
            start += len(part)
        raw = np.concatenate([part.raw for part in parts])
        return cls(raw, np.concatenate([part.stamps for part in parts]), deep)

    def __len__(self) -> int:
        return len(self.raw)

    @overload
    def __getitem__(self, position: int) -> Content: ...
    @overload
    def __getitem__(self, position: slice) -> ContentColumns: ...
    def __getitem__(self, position: int | slice) -> Content | ContentColumns:
        if isinstance(position, slice):
            return self.take(range(len(self))[position])
        size, modified, changed, inode = self.stamps[position].tolist()
        stamp = None if size == NO_STAMP[0] else (size, modified, changed, inode)
        return Content(self.digests[position], stamp, self.deep.get(range(len(self))[position]))

    def __iter__(self) -> Iterator[Content]:
        return map(self.__getitem__, range(len(self)))

    @cached_property
    def digests(self) -> list[str]:
        """(N) in hex, or `MISSING`."""
        text, missing, width = self.raw.tobytes().hex(), "0" * 2 * _DIGEST_BYTES, 2 * _DIGEST_BYTES
        found = [text[start : start + width] for start in range(0, len(text), width)]
        return [MISSING if digest == missing else digest for digest in found] if missing in found else found

    def take(self, positions: Iterable[int]) -> ContentColumns:
        """These alone, in this order."""
        chosen = list(positions)
        rows = np.array(chosen, dtype=np.int64)
        deep = {row: self.deep[position] for row, position in enumerate(chosen) if position in self.deep}
        return ContentColumns(self.raw[rows], self.stamps[rows], deep)


_DIGEST_BYTES = 16


@dataclass(frozen=True, eq=False)
class RememberedFiles:
    """What earlier starts found in files, by path; believed of a file that looks as it did then."""

    rows: dict[str, int]
    contents: ContentColumns
    sizes: NDArray[np.int64]
    """(M, 2) width and height, upright; zeros where they are not known."""

    @classmethod
    def below(cls, root: Path, cache: Path | None = None) -> RememberedFiles:
        """What is kept by this directory; nothing where that is damaged: reading again is all that it costs.

        Args:
            cache: default: the cache home.
        """
        with contextlib.suppress(DamagedCache, ValueError, KeyError, TypeError):
            found = read_columns(_place(root, cache or cache_home()))
            if found is not None and found.facts.get("version") == _VERSION:
                deep = {int(row): Deep(*values) for row, values in found.facts["deep"].items()}
                names = found.texts("paths")
                contents = ContentColumns(found.arrays["digests"], found.arrays["stamps"], deep)
                return cls(dict(zip(names, range(len(names)), strict=True)), contents, found.arrays["sizes"])
        empty = ContentColumns.of([])
        return cls({}, empty, np.empty((0, 2), dtype=np.int64))

    def row(self, path: str, stamp: Stamp) -> int | None:
        """Where the file is among these, if it looks as it did."""
        row = self.rows.get(path)
        return row if row is not None and tuple(self.contents.stamps[row].tolist()) == stamp else None

    def size(self, path: Path) -> tuple[tuple[int, int], int] | None:
        """(width, height) and length of a picture whose file looks as it did; None: it must be opened."""
        with contextlib.suppress(OSError, ValueError):
            stamp = stamp_of(path)
            row = self.row(os.fspath(path), stamp)
            if row is not None and self.sizes[row, 0]:
                width, height = self.sizes[row].tolist()
                return (width, height), stamp[0]
        return None


def read_contents(
    root: Path,
    paths: Sequence[Path] | Sequence[str],
    *,
    sizes: NDArray[np.int64] | None = None,
    began: int = 0,
    cache: Path | None = None,
    reporter: Progress = QUIET,
) -> ContentColumns:
    """What each file holds: files that look as they did when they were last read are not read again.

    Reads in threads; several processes may do so at once, and each keeps what it found.

    Args:
        root: what is remembered is kept by this directory.
        sizes: (N, 2) width and height of the pictures, to be remembered, too.
        began: when these were read, in ns, or before; 0: now.
        cache: default: the cache home.
    """
    began = began or time.time_ns()
    known = RememberedFiles.below(root, cache)
    names = [os.fspath(path) for path in paths]
    rows = np.array([_row(known, name) for name in names], dtype=np.int64)
    new = np.flatnonzero(rows < 0).tolist()
    if not new:
        return known.contents.take(rows.tolist())
    with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="contents") as pool:
        read: list[Content] = []
        for content in pool.map(content_of, (Path(names[position]) for position in new)):
            read.append(content)
            if len(read) % 100 == 0 or len(read) == len(new):
                reporter.progress("read contents", len(read), len(new))
    both = ContentColumns.joined([known.contents, ContentColumns.of(read)])
    rows[new] = len(known.contents) + np.arange(len(new))
    found = both.take(rows.tolist())
    _remember(_place(root, cache or cache_home()), names, found, sizes, began)
    return found


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


def stamp_of(path: Path | str) -> Stamp:
    """How a file looks from outside. Raises: OSError; ValueError, of a name that no file can have."""
    status = os.stat(path)  # noqa: PTH116 (of a million)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def stamps_of(paths: Sequence[str]) -> NDArray[np.int64]:
    """(N, 4) how files look from outside; `NO_STAMP` of one that is not there."""
    return np.fromiter(_stamp_values(paths), dtype=np.int64, count=4 * len(paths)).reshape(-1, 4)


def _stamp_values(paths: Sequence[str]) -> Iterator[int]:
    look: Callable[[str], os.stat_result] = os.stat
    for path in paths:
        try:
            status = look(path)
        except (OSError, ValueError):
            yield from NO_STAMP
            continue
        yield status.st_size
        yield status.st_mtime_ns
        yield status.st_ctime_ns
        yield status.st_ino


def is_settled(stamps: NDArray[np.int64], began: int) -> NDArray[np.bool_]:
    """(N,) of (N, 4) stamps whether nothing changed since `began` (ns), as far as file times can tell."""
    settled: NDArray[np.bool_] = (stamps[:, 0] >= 0) & (stamps[:, 2] < began - SETTLED_NS)
    return settled


def _row(known: RememberedFiles, name: str) -> int:
    """-1 of a file that must be read."""
    with contextlib.suppress(OSError, ValueError):
        if name in known.rows and (row := known.row(name, stamp_of(name))) is not None:
            return row
    return -1


def _place(root: Path, cache: Path) -> Path:
    name = hashlib.sha256(os.fsencode(os.path.abspath(root))).hexdigest()[:24]  # noqa: PTH100 (any bytes)
    return cache / "contents" / f"{name}.sealed"


def _remember(
    kept: Path, names: Sequence[str], found: ContentColumns, sizes: NDArray[np.int64] | None, began: int
) -> None:
    rows = np.flatnonzero(is_settled(found.stamps, began)).tolist()
    few = found.take(rows)
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time alone
        write_columns(
            kept,
            {"version": _VERSION, "deep": {str(row): deep.values for row, deep in few.deep.items()}},
            {
                "digests": few.raw,
                "stamps": few.stamps,
                "sizes": np.zeros((len(rows), 2), dtype=np.int64) if sizes is None else sizes[rows],
            },
            {"paths": [names[row] for row in rows]},
        )
