"""Pictures that somebody names: files, folders, patterns, a list on a stream, a folder that fills up.

They come one after the other, however many there are. What is kept of a million of them is eight bytes each,
and the names of one folder at a time.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from workbench.dataset.probe import image_endings
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.seen_names import SeenNames

LIST = "-"
"""Stands for a list of paths on standard input."""
_CHUNK = 2**16


def pictures_named(
    named: Sequence[str],
    listed: BinaryIO | None = None,
    *,
    but: Path | None = None,
    empty: Callable[[str], None] = lambda name: None,
) -> Iterator[Path]:
    """The files that are meant, each once: those named, those that a pattern fits, and pictures below
    folders.

    What is named as a file is yielded whether it is there or not. Below a folder, pictures are told by their
    endings, in order of their names folder by folder; hidden ones and links to folders are passed over.

    Args:
        named: paths and patterns (`*`, `?`, `[…]`, `**` at any depth); `-` is the list.
        listed: paths, one a line or parted by NUL bytes, as `find -print0` writes them.
        but: a folder that is passed over, with all below it.
        empty: called with a name that no picture is found by.
    """
    seen = SeenNames()
    for name in named:
        found = 0
        for path in _listed(listed) if name == LIST and listed is not None else _meant(name):
            for picture in pictures_below(path, but) if path.is_dir() else [path]:
                found += 1
                if seen.add(str(picture)):
                    yield picture
        if not found:
            empty(name)


def _meant(name: str) -> Iterator[Path]:
    if glob.has_magic(name) and not os.path.lexists(name):
        found = sorted(glob.iglob(name, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
        yield from map(Path, found or [name])  # one that fits nothing is a name, as for a shell
    else:
        yield Path(name)


def _listed(stream: BinaryIO | None) -> Iterator[Path]:
    """As they come; a line may end in CR LF."""
    assert stream is not None
    rest, separator = b"", b""
    while block := getattr(stream, "read1", stream.read)(_CHUNK):
        rest += block
        if not separator and (b"\0" in rest or b"\n" in rest):
            separator = b"\0" if b"\0" in rest else b"\n"
        if separator:
            *whole, rest = rest.split(separator)
            yield from _paths(whole, separator)
    yield from _paths([rest], separator)


def _paths(lines: Iterable[bytes], separator: bytes) -> Iterator[Path]:
    for line in lines:
        text = os.fsdecode(line if separator == b"\0" else line.rstrip(b"\r\n"))
        if text:
            yield Path(text)


def pictures_below(folder: Path, but: Path | None = None) -> Iterator[Path]:
    """Picture files at any depth, by their endings; hidden files and folders are passed over."""
    endings = image_endings()
    passed = None if but is None else _identity(but)
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if passed is not None:
            folders[:] = [name for name in folders if _identity(Path(place, name)) != passed]
        for name in sorted(names):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in endings:  # noqa: PTH122
                yield Path(place, name)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


@dataclass
class FilledFolders:
    """Folders that are looked at again and again for pictures that are complete.

    A picture is complete once its size and its time of change are what they were a look before.
    """

    folders: Sequence[Path]
    but: Path | None = None
    _seen: SeenNames = field(default_factory=SeenNames)
    _growing: dict[str, tuple[int, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, named: Sequence[str], but: Path | None = None) -> FilledFolders:
        """Raises: UserError: something that is named is no folder."""
        for name in named:
            if not Path(name).is_dir():
                raise UserError(
                    "is no folder",
                    where=f"--watch {clean(name)}",
                    allowed="folders that pictures come into",
                )
        return cls([Path(name) for name in named], but)

    def complete(self) -> list[Path]:
        """Those that became complete since the last look, in order; each is told once."""
        found, growing = [], {}
        for folder in self.folders:
            for path in pictures_below(folder, self.but):
                name = str(path)
                if name in self._seen:
                    continue
                try:
                    told = path.stat()
                except OSError:  # gone again, or a link to what is not there yet
                    continue
                state = told.st_size, told.st_mtime_ns
                if told.st_size and self._growing.get(name) == state:
                    self._seen.add(name)
                    found.append(path)
                else:
                    growing[name] = state
        self._growing = growing
        return found
