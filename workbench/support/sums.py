"""`SHA256SUMS` of a directory: what its files were when they were written, as `sha256sum -c` reads it.

A file's sum is noted just before the file comes into its place, so that a crash between the two leaves the
sum of a file that the next attempt writes alike. A file that is not listed, or whose directory has no list
(older runs have none), is believed. Whoever changes a file on purpose takes its line out.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path

from workbench.support.atomic import atomic_path, atomic_write
from workbench.support.fingerprint import file_sha256
from workbench.support.regular_file import UnreadableFile, read_text, regular_size

SUMS = "SHA256SUMS"
_LIMIT_BYTES = 2**20  # ten thousand files
_DEEPEST = 2  # a listed file lies in the directory itself or in one below it


@contextlib.contextmanager
def summed_path(path: Path, root: Path) -> Iterator[Path]:
    """As `atomic_path`, for a file below `root`, whose list tells its sum from then on."""
    with atomic_path(path) as temporary:
        yield temporary
        note_sum(path, root, _digest(temporary))


def summed_write(path: Path, root: Path, content: bytes) -> None:
    """As `atomic_write`, for a file below `root`, whose list tells its sum from then on."""
    note_sum(path, root, hashlib.sha256(content).hexdigest())
    atomic_write(path, content)


def note_sum(path: Path, root: Path, digest: str) -> None:
    """Put a file's sum into the list of `root`. Raises: OSError."""
    noted = _noted(root)
    name = path.relative_to(root).as_posix()
    if noted.get(name) != digest:
        noted[name] = digest
        atomic_write(root / SUMS, "".join(f"{digest}  {name}\n" for name, digest in sorted(noted.items())))


def require_sum(path: Path, content: bytes | None = None) -> None:
    """See that a file is the one that its directory's list tells of.

    Args:
        content: the file's, where it is at hand.

    Raises:
        UnreadableFile: it is not, or it cannot be read.
    """
    for root in list(path.absolute().parents)[:_DEEPEST]:
        noted = _noted(root).get(path.absolute().relative_to(root).as_posix())
        if noted is not None:
            found = _digest(path) if content is None else hashlib.sha256(content).hexdigest()
            if found != noted:
                raise UnreadableFile(
                    path,
                    f"it is not the file that was written: {SUMS} tells of another "
                    "(changed on purpose? take its line out there)",
                )
            return


def _noted(root: Path) -> dict[str, str]:
    """Name -> sum; a list that cannot be read tells of nothing, nor does a damaged line."""
    try:
        lines = read_text(root / SUMS, _LIMIT_BYTES).splitlines()
    except OSError:
        return {}
    return {name: digest for digest, found, name in (line.partition("  ") for line in lines) if found}


def _digest(path: Path) -> str:
    regular_size(path)
    return file_sha256(path)
