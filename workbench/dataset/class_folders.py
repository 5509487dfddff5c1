"""Pictures sorted into a folder a class: by links or as copies, kept apart, never written over."""

from __future__ import annotations

import contextlib
import filecmp
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from workbench.support.clean import clean
from workbench.support.errors import UserError

_UNSAFE = re.compile(r'[/\\:*?"<>|\x00-\x1f\x7f]')
"""What a path has a meaning for, here or on another system."""
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_LONGEST = 120
"""Bytes of a folder's name: a file system takes 255, and some names in UTF-8 double elsewhere."""


def folder_names(classes: Sequence[str]) -> dict[str, str]:
    """A folder's name of each class, safe on any system; no two are the same, in whatever case.

    What a path has a meaning for becomes `_`; names that come out alike, or were cut, end in a part of a
    hash.
    """
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in classes:
        safe = _UNSAFE.sub("_", clean(name)).rstrip(". ").lstrip(" ")
        if not safe or safe.startswith(".") or _RESERVED.fullmatch(safe):
            safe = f"_{safe.lstrip('.')}"
        short = safe.encode("utf-8", "replace")[:_LONGEST].decode("utf-8", "ignore")
        if short != safe or short.casefold() in taken:
            short = f"{short}-{_hash(name)}"
        taken.add(short.casefold())
        found[name] = short
    return found


def _hash(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=4).hexdigest()


@dataclass
class ClassFolders:
    """A folder with a folder a class, each made as its first picture comes.

    What is there already stays: a picture that lies in its folder is not laid there twice, and one of another
    origin but the same name gets a part of a hash of its path into its own.
    """

    root: Path
    names: dict[str, str]
    """Class -> folder."""
    copies: bool
    """Whether pictures are copied; else links lead to where they are."""
    _made: set[str] = field(default_factory=set)

    def place(self, picture: Path, of_class: str) -> Path:
        """Lay a picture into its class's folder; returns where it lies.

        Raises:
            UserError: it cannot be written.
        """
        name = self.names[of_class]
        folder = self.root / name
        try:
            if name not in self._made:
                folder.mkdir(parents=True, exist_ok=True)
                self._made.add(name)
            source = Path(os.path.abspath(picture))  # noqa: PTH100 - its links stay as they are
            for target in self._targets(folder, source):
                if self._lies(source, target):
                    return target
                if self._lay(source, target):
                    return target
        except OSError as error:
            raise UserError(
                f"cannot be sorted: {error.strerror or error}",
                where=clean(picture),
                hint=f"free some room in {clean(self.root)} and type the command again: it goes on",
            ) from error
        raise AssertionError("a name for every picture")

    def _targets(self, folder: Path, source: Path) -> list[Path]:
        """Its own name, then that with more and more of the hash of its path."""
        whole = blake2b(os.fsencode(source), digest_size=16).hexdigest()
        stem = os.fsdecode(os.fsencode(source.stem)[:180])
        parted = [f"{stem}-{whole[:digits]}{source.suffix}" for digits in (8, 16, 32)]
        return [folder / name for name in (source.name, *parted)]

    def _lies(self, source: Path, target: Path) -> bool:
        """Whether the picture is there already, as this would lay it."""
        if not os.path.lexists(target):
            return False
        if not self.copies:
            return target.is_symlink() and target.readlink() == source
        return not target.is_symlink() and target.is_file() and filecmp.cmp(source, target, shallow=False)

    def _lay(self, source: Path, target: Path) -> bool:
        """Whether it could: False where something of that name is there, or came meanwhile."""
        try:
            if not self.copies:
                target.symlink_to(source)
                return True
            if os.path.lexists(target):
                return False
            # Whole or not at all, never over what is there; one that was killed leaves its draft to the next.
            draft = target.with_name(f".{_hash(str(source))}.tmp")
            try:
                shutil.copy2(source, draft)
                _give_name(draft, target)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    draft.unlink()
            return True
        except FileExistsError:
            return False


def _give_name(draft: Path, target: Path) -> None:
    """Raises: FileExistsError: something is there."""
    try:
        os.link(draft, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links, on which nobody else is likely to write just now
        if os.path.lexists(target):
            raise FileExistsError(target) from None
        draft.rename(target)
