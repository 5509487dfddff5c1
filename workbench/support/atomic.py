"""Durable writes: a reader sees the old file or the new one, never half of either."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

_TEMPORARY = re.compile(r"\.(?P<name>.+)\.(?P<pid>\d+)-[0-9a-f]{8}\.tmp", re.DOTALL)


def atomic_write(path: Path, content: str | bytes) -> None:
    """Replace `path` with `content` so that a crash at any moment leaves the old or the new file whole.

    Temporary file in the same directory, fsync, rename, fsync of the directory. Text is written as UTF-8.

    Raises:
        OSError: when the disk is full or the directory is not writable; the old file is then untouched.
    """
    data = content.encode() if isinstance(content, str) else content
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on a clean exit it becomes `path`, durably, else it is removed.

    For writers that want a file name (safetensors, numpy). The body must write the file, which is there and
    empty, and close it. Its mode follows the umask, whatever the writer thinks of modes.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        os.close(descriptor)
        yield temporary
        _settle(temporary, mode)
        temporary.replace(path)
        _fsync(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def temporaries(folder: Path) -> Iterator[tuple[Path, str, int]]:
    """(path, the file it was to become, the writer's pid) of each temporary file in `folder`.

    One that is there while nobody writes was left by a writer that was killed. None where the folder is not
    there.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            match = _TEMPORARY.fullmatch(entry.name)
            if match and entry.is_file(follow_symlinks=False):
                yield Path(entry.path), match["name"], int(match["pid"])


def sweep_temporaries(path: Path) -> None:
    """Remove what writers of `path` that were killed left; whoever calls has the lock that they all take."""
    for left, name, _ in temporaries(path.parent):
        if name == path.name:
            left.unlink(missing_ok=True)


def _settle(path: Path, mode: int) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if stat.S_IMODE(os.fstat(descriptor).st_mode) != mode:  # safetensors makes its own, mode 0600
            os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
