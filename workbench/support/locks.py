"""Kernel file locks, all that are taken: the kernel frees them when their holder dies, however it dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW


@contextlib.contextmanager
def locked(path: Path, *, waiting: Callable[[], None] = lambda: None, stays: bool = True) -> Iterator[None]:
    """Wait for the lock on file `path`, which is made if need be, and hold it.

    Args:
        waiting: called where somebody holds it, before that is waited for.
        stays: whether the file stays afterwards; one in a folder of the user's goes. Who waited for a file
            that went takes the next of that name.

    Raises:
        OSError: the file cannot be made or opened.
    """
    descriptor = try_lock(path)
    if descriptor is None:
        waiting()
        descriptor = _waited_for(path)
    try:
        yield
    finally:
        if not stays:
            with contextlib.suppress(OSError):
                path.unlink()
        os.close(descriptor)


def beside(path: Path) -> Path:
    """The lock file of `path`, for whoever has no better place for one: `.NAME.lock` in the same folder."""
    return path.with_name(f".{path.name}.lock")


def try_lock(path: Path) -> int | None:
    """A descriptor that holds the lock on `path` until every copy of it is closed; None where it is held.

    Raises:
        OSError: the file cannot be made or opened.
    """
    return _descriptor(path, _FLAGS, fcntl.LOCK_EX | fcntl.LOCK_NB)


def try_lock_folder(path: Path) -> int | None:
    """As `try_lock`, on a folder itself, which leaves no file; None also where it is gone or no folder.

    Raises:
        OSError: it cannot be opened, or its file system has no locks on folders.
    """
    try:
        return _descriptor(path, _FOLDER_FLAGS, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _waited_for(path: Path) -> int:
    descriptor = _descriptor(path, _FLAGS, fcntl.LOCK_EX)
    assert descriptor is not None  # it waits
    return descriptor


def _descriptor(path: Path, flags: int, how: int) -> int | None:
    while True:
        descriptor = os.open(path, flags, 0o666)
        try:
            fcntl.flock(descriptor, how)
            if _is_at(descriptor, path):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)  # removed meanwhile: the lock is on a file that nobody else will find


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
