"""Durable writes: a reader sees the old file or folder or the new one, never half of either."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from workbench.support.locks import try_lock_folder

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
    temporary = _temporary(path)
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        os.close(descriptor)
        yield temporary
        _settle(temporary, mode)
        temporary.replace(path)
        sync(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def atomic_folder(path: Path, *, replace: bool = False, durable: bool = True) -> Iterator[Path]:
    """Yield a new folder beside `path`; on a clean exit it becomes `path`, else it is removed.

    What killed writers of `path` left goes first. The modes of all that is in it follow the umask, whatever
    its writers think of modes.

    Args:
        replace: a folder that is at `path` by then goes; else it stays, unless it is empty.
        durable: every file is on the disk before any is at `path`; not worth its time for a thousand images
            that can be made again.

    Raises:
        OSError: it cannot be made, or there is something else at `path` by now.
    """
    for left, name in forsaken_folders(path.parent):
        if name == path.name:
            shutil.rmtree(left, ignore_errors=True)
    temporary, held = _own_folder(path)
    try:
        yield temporary
        _settle_folder(temporary, durable=durable)
        old = path.rename(_temporary(path)) if replace and path.is_dir() else None
        temporary.rename(path)
        sync(path.parent)
        if old is not None:
            old.unlink() if old.is_symlink() else shutil.rmtree(old)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    finally:
        os.close(held)


def forsaken_folders(parent: Path) -> Iterator[tuple[Path, str]]:
    """(path, the folder it was to become) of each of `atomic_folder` whose writer is dead."""
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            match = _TEMPORARY.fullmatch(entry.name)
            if match and entry.is_dir(follow_symlinks=False):
                with contextlib.suppress(OSError):
                    held = try_lock_folder(Path(entry.path))
                    if held is not None:
                        os.close(held)
                        yield Path(entry.path), match["name"]


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


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")


def _own_folder(path: Path) -> tuple[Path, int]:
    """A new folder that is to become `path`, and the descriptor that shows others that its writer lives."""
    while True:
        temporary = _temporary(path)
        temporary.mkdir()
        with contextlib.suppress(OSError):
            held = try_lock_folder(temporary)
            if held is None:  # somebody took it for a dead writer's, in the moment before it was locked
                continue
            return temporary, held
        # Without locks on folders nobody can tell that it is forsaken, so nobody will remove it.
        return temporary, os.open(temporary, os.O_RDONLY | os.O_CLOEXEC)


def _settle_folder(folder: Path, *, durable: bool) -> None:
    mode = stat.S_IMODE(folder.stat().st_mode)
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            if path.is_symlink() or path.stat().st_nlink > 1:  # another name of a file that is not ours
                continue
            _settle(path, mode & 0o666, durable=durable)
        if Path(place) != folder:
            Path(place).chmod(mode)
        if durable:
            sync(Path(place))


def _settle(path: Path, mode: int, *, durable: bool = True) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if stat.S_IMODE(os.fstat(descriptor).st_mode) != mode:  # safetensors makes its own, mode 0600
            os.fchmod(descriptor, mode)
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync(path: Path) -> None:
    """See a file, or the names in a folder, on the disk. Raises: OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
