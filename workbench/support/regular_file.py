"""A file of unknown make: opened only where it is a regular file, never waited for, read up to a limit.

A run directory may come from a stranger, or from a disk that failed: a pipe waits for ever for a writer,
`/dev/zero` has no end, a sparse file of 20 GB takes no room on disk but 20 GB of memory.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from workbench.support.units import human_bytes

JSON_DEPTH = 32
_LONG_NUMBER = re.compile(r"[0-9]{20}")  # 64 bits have 19 digits and a sign
_WHOLE_DIGITS = 20
# A string that does not end counts to the end of the text, so the scan is linear in it.
_BRACKETS = re.compile(r'"(?:[^"\\]++|\\.?)*+"?|[\[{\]}]', re.DOTALL)
_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class UnreadableFile(OSError):
    """A file that is there and that petbench will not or cannot read.

    An OSError, so that whoever takes a file that cannot be read for absent need not know of it.

    Args:
        path: the file.
        reason: what is wrong with it, in a few words: "a named pipe, not a regular file".
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(errno.EINVAL, reason, str(path))
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path.name}: {self.reason}"


def open_regular(path: Path) -> BinaryIO:
    """Open `path` to be read, if it is a regular file or a link to one.

    Raises:
        FileNotFoundError: there is nothing.
        UnreadableFile: it is something else, a link to nothing, or may not be read.
    """
    return os.fdopen(regular_descriptor(path, os.O_RDONLY), "rb")


def regular_descriptor(path: Path, flags: int) -> int:
    """A descriptor of the regular file at `path`, opened with `flags`; writers add O_NOFOLLOW and O_CREAT.

    Looked at before it is opened, since opening a device may do something, and once more as it is open: what
    was swapped in between is not waited for and not read.

    Raises:
        FileNotFoundError: there is nothing, and `flags` do not make it.
        UnreadableFile: it is something else, or cannot be opened.
    """
    with _in_words(path):
        if not flags & os.O_CREAT or os.path.lexists(path):
            _refuse_others(path, path.lstat() if flags & os.O_NOFOLLOW else path.stat())
        descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, 0o666)
        try:
            _refuse_others(path, os.fstat(descriptor))
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor


def regular_size(path: Path) -> int:
    """The size of the file in bytes, by its name alone: for whoever opens it by other means.

    Raises: as `open_regular`.
    """
    with _in_words(path):
        found = path.stat()
        _refuse_others(path, found)
    return found.st_size


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    """Whatever keeps `path` from being opened, as an UnreadableFile; nothing at all stays that."""
    try:
        yield
    except UnreadableFile:
        raise
    except FileNotFoundError as error:
        if path.is_symlink():
            raise UnreadableFile(path, "a link to nothing") from error
        raise
    except OSError as error:
        raise UnreadableFile(path, f"cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # a NUL or a lone surrogate in the name
        raise UnreadableFile(path, "not a file name") from error


def open_to_append(path: Path) -> int:
    """A descriptor that appends to `path`, which is made if need be: a regular file, never through a link.

    Raises:
        FileNotFoundError: its folder is not there.
        UnreadableFile: it is a link or no regular file.
        OSError: as the system says it, such as of a full disk.
    """
    try:
        return regular_descriptor(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW)
    except UnreadableFile as error:
        if isinstance(error.__cause__, OSError):
            raise error.__cause__ from None
        raise


def read_bytes(path: Path, limit: int) -> bytes:
    """The whole file.

    Args:
        limit: most bytes; a file beyond it is refused, whatever its size is said to be.

    Raises:
        FileNotFoundError: there is nothing.
        UnreadableFile: not a regular file, over the limit, or it cannot be read.
    """
    with open_regular(path) as stream:
        try:
            size = os.fstat(stream.fileno()).st_size
            content = b"" if size > limit else stream.read(limit + 1)
        except OSError as error:
            raise UnreadableFile(path, f"cannot be read: {error.strerror or error}") from error
    if size > limit or len(content) > limit:
        raise UnreadableFile(
            path, f"{human_bytes(max(size, len(content)))}, and at most {human_bytes(limit)} are read"
        )
    return content


def read_text(path: Path, limit: int) -> str:
    """The whole file as UTF-8 text. Raises: as `read_bytes`; it is not UTF-8."""
    return as_text(path, read_bytes(path, limit))


def read_json(path: Path, limit: int) -> Any:
    """The JSON value in the file. Raises: as `read_text`; it is not JSON, nested too deep, a huge number."""
    text = read_text(path, limit)
    try:
        return parse_json(text)
    except ValueError as error:
        raise UnreadableFile(path, str(error)) from error


def as_text(path: Path, content: bytes) -> str:
    """`content`, which came from `path`, as text. Raises: UnreadableFile, where it is not UTF-8."""
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        byte = content[error.start]
        raise UnreadableFile(path, f"not UTF-8 text: byte 0x{byte:02x} at {error.start}") from error


def parse_json(text: str | bytes) -> Any:
    """The JSON value that `text` is.

    Raises:
        ValueError: not JSON, nested deeper than `JSON_DEPTH`, or a whole number beyond 64 bits, in one line.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode()
        # Few brackets cannot be deep: most texts need no second look.
        if text.count("[") + text.count("{") > JSON_DEPTH and _depth(text) > JSON_DEPTH:
            raise ValueError(f"nested more than {JSON_DEPTH} deep")
        # Most texts need no look at each number either, which takes json three times as long.
        return json.loads(text, parse_int=_whole if _LONG_NUMBER.search(text) else None)
    except UnicodeDecodeError as error:
        raise ValueError("not UTF-8 text") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"not valid JSON: {error.msg} at line {error.lineno}") from error


def _refuse_others(path: Path, found: os.stat_result) -> None:
    if stat.S_ISREG(found.st_mode):
        return
    if stat.S_ISLNK(found.st_mode):
        raise UnreadableFile(path, "a link, and nothing is written through one")
    what = next((word for is_kind, word in _KINDS if is_kind(found.st_mode)), "something else")
    raise UnreadableFile(path, f"{what}, not a regular file")


def _depth(text: str) -> int:
    deepest = depth = 0
    for match in _BRACKETS.finditer(text):
        character = match[0]
        if character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest


def _whole(digits: str) -> int:
    if len(digits) > _WHOLE_DIGITS:
        raise ValueError(f"a whole number of {len(digits)} digits")
    return int(digits)
