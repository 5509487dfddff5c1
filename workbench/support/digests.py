"""Short stable names for values, and SHA256SUMS of a directory: what makes two things the same."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from workbench.support.atomic import atomic_path, atomic_write
from workbench.support.regular_file import UnreadableFile, read_text, regular_descriptor, regular_size

BY_CONTENT = "content-"
"""How a data fingerprint begins that tells pictures apart; those of older runs go by names and lengths."""

SETTLED_NS = 2_000_000_000
"""File times may be as coarse as this (ext3, some network file systems): what changed a moment ago may change
again and look the same."""


def fingerprint(value: object) -> str:
    """Sixteen hex digits of the SHA-256 of `value` as canonical JSON (sorted keys, no spaces)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_sha256(path: Path) -> str:
    """The file's whole SHA-256 in hex.

    Raises:
        OSError: it cannot be read, or is no regular file: a pipe is waited for, a device never ends.
    """
    with os.fdopen(regular_descriptor(path, os.O_RDONLY), "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


SUMS = "SHA256SUMS"
_LIMIT_BYTES = 2**20  # ten thousand files
_DEEPEST = 2  # a listed file lies in the directory itself or in one below it


@contextlib.contextmanager
def summed_path(path: Path, root: Path) -> Iterator[Path]:
    """As `atomic_path`, for a file below `root`, whose list tells its sum from then on."""
    digest = ""
    with atomic_path(path) as temporary:
        yield temporary
        digest = _digest(temporary)
        _expect(path, root, digest)
    note_sum(path, root, digest)


def summed_write(path: Path, root: Path, content: bytes) -> None:
    """As `atomic_write`, for a file below `root`, whose list tells its sum from then on."""
    digest = hashlib.sha256(content).hexdigest()
    _expect(path, root, digest)
    atomic_write(path, content)
    note_sum(path, root, digest)


def note_sum(path: Path, root: Path, digest: str) -> None:
    """Put a file's sum into the list of `root`, in place of any other. Raises: OSError."""
    _list(path, root, {digest})


def _expect(path: Path, root: Path, digest: str) -> None:
    """Note that the file will have this sum; until it has, that of the file there is true as well."""
    _list(path, root, {digest} | _noted(root).get(_name(path, root), set()))


def _list(path: Path, root: Path, digests: set[str]) -> None:
    noted = _noted(root)
    if noted.get(_name(path, root)) == digests:
        return
    noted[_name(path, root)] = digests
    lines = sorted((name, digest) for name, known in noted.items() for digest in known)
    atomic_write(root / SUMS, "".join(f"{digest}  {name}\n" for name, digest in lines))


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def require_sum(path: Path, content: bytes | None = None) -> None:
    """See that a file is the one that its directory's list tells of.

    Args:
        content: the file's, where it is at hand.

    Raises:
        UnreadableFile: it is not, or it cannot be read.
    """
    for root in list(path.absolute().parents)[:_DEEPEST]:
        noted = _noted(root).get(_name(path.absolute(), root))
        if noted is not None:
            found = _digest(path) if content is None else hashlib.sha256(content).hexdigest()
            if found not in noted:
                raise UnreadableFile(
                    path,
                    f"it is not the file that was written: {SUMS} tells of another "
                    "(changed on purpose? take its line out there)",
                )
            return


def is_listed(path: Path, root: Path) -> bool:
    """Whether a file below `root` was written there."""
    return _name(path, root) in _noted(root)


def _noted(root: Path) -> dict[str, set[str]]:
    """Name -> sums; a list that cannot be read tells of nothing, nor does a damaged line."""
    try:
        lines = read_text(root / SUMS, _LIMIT_BYTES).splitlines()
    except OSError:
        return {}
    noted: dict[str, set[str]] = {}
    for digest, found, name in (line.partition("  ") for line in lines):
        if found:
            noted.setdefault(name, set()).add(digest)
    return noted


def _digest(path: Path) -> str:
    regular_size(path)
    return file_sha256(path)
