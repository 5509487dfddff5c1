"""What the sub-folders of a data set are: its classes, its parts, or a pool. A part's name is no class."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from workbench.dataset.catalogue import Part
from workbench.support.clean import clean
from workbench.support.errors import UserError

Role = Literal["train", "test", "validation", "pool", "unclear"]
"""What a reserved name says; "unclear": people mean different parts by it."""
OwnValidation = Literal["own", "train"]
"""What becomes of a folder's own validation part: `data.validation`."""

_ROLES: dict[Role, str] = {
    "train": "train|training|trainval|labelled|labeled",
    "test": "test|testing",
    "validation": "val|valid|validation",
    "pool": "unlabelled|unlabeled|pool",
    "unclear": "dev|development|holdout|heldout|eval|evaluation",
}
# `train_images`, `Test-Set` and `val2017` are no classes either.
_RESERVED = {
    role: re.compile(rf"(?:{names})(?:sets?|data|images?|imgs|pictures|photos|split|part|folder)?(?:20\d\d)?")
    for role, names in _ROLES.items()
}
_LATIN = str.maketrans(
    # Cyrillic, then Greek, by code point since they cannot be told apart by eye.
    "\u0430\u0432\u0441\u0501\u0435\u043d\u0456\u0458\u043a\u043c\u043e\u0440\u051b\u0455\u0442\u0443\u0445\u051d"
    "\u03b1\u03b2\u03f2\u03b5\u03b7\u03b9\u03f3\u03ba\u03bc\u03bf\u03c1\u03c4\u03c5\u03bd\u03c7\u03b3\u03b6",
    "abcdehijkmopqstyxwabcehijkmoptuvxyz",
)
"""Letters that look like Latin ones, small or as capitals, by the confusables of Unicode TR39. Keys have no
case, so a letter has one row here: Greek nu is v, not N. Two letters of one script never share one, so names
within a script stay as different as they are."""
_SYSTEM = frozenset({"__macosx", "__pycache__", "@eadir", "lost+found", "$recycle.bin", "#recycle"})
"""What systems leave in folders: macOS archives, Python, Synology, file systems, Windows."""


@dataclass(frozen=True, slots=True)
class PartFolder:
    """A folder whose sub-folders are classes."""

    path: Path
    part: Part | None
    """None where the images of a part of its own for the test are still to be held out of these."""


@dataclass(frozen=True, slots=True)
class FolderLayout:
    """Where the classes of a folder data set lie."""

    parts: tuple[PartFolder, ...]
    aside: tuple[Path, ...] = ()
    """What lies beside the parts and is none: folders without an image, and loose files."""
    pool: tuple[Path, ...] = ()
    """Folders beside the classes that `data.extra_unlabelled` reads."""


def role_of(name: str) -> Role | None:
    """What a folder's name is reserved for, whatever its case, hyphens, blanks and width; None: a class."""
    letters = "".join(letter for letter in class_key(name) if letter.isalnum())
    return next((role for role, names in _RESERVED.items() if names.fullmatch(letters)), None)


def class_key(name: str) -> str:
    r"""Equal for names that a person reads as one class: `Pug`, `pug `, full-width `Ｐug`, `\u0440ug`."""
    compatible = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    latin = unicodedata.normalize("NFD", compatible).translate(_LATIN)
    compatible = unicodedata.normalize("NFKC", latin)
    visible = "".join(letter for letter in compatible if unicodedata.category(letter) != "Cf")
    return " ".join(visible.split())


def read_layout(root: Path, *, pool: str = "", validation: OwnValidation | None = None) -> FolderLayout:
    """Tell classes, parts and pools apart by their names; whatever is not clear is refused, never guessed.

    `root/CLASS/…`, or `train/CLASS/…` with `test/CLASS/…`, `val/CLASS/…` or both; `labelled/` is another name
    for `train/`. Pools beside them must be the folder that `data.extra_unlabelled` names.

    Args:
        pool: `data.extra_unlabelled`.
        validation: `data.validation`.

    Raises:
        UserError: the folder cannot be read, or names what to write or to move.
    """
    entries = read_entries(root)
    folders = [entry for entry in entries if entry.is_dir()]
    loose = [entry for entry in entries if not entry.is_dir()]
    named: dict[Role, list[Path]] = {role: [] for role in _ROLES}
    classes: list[Path] = []
    for folder in folders:
        role = role_of(folder.name)
        (classes if role is None else named[role]).append(folder)
    _refuse_unclear(named["unclear"], root)
    pools = _pools(named["pool"], pool, root)
    _refuse_own_links([*classes, *named["train"], *named["test"], *named["validation"]], root)
    one = {role: _only(named[role], role, root) for role in ("train", "test", "validation")}
    if not any(one.values()):
        if validation is not None:
            raise _no_validation(validation, root)
        return FolderLayout((PartFolder(root, None),), (), pools)
    parts = _parts(one["train"], one["test"], one["validation"], validation, root)
    return FolderLayout(parts, (*classes, *loose), pools)


def _parts(
    train: Path | None, test: Path | None, own: Path | None, validation: OwnValidation | None, root: Path
) -> tuple[PartFolder, ...]:
    if train is None:
        alone = listed([path for path in (test, own) if path is not None])
        raise UserError(
            f"{alone} without train/: no folder says which images to learn from",
            where=clean(root),
            hint="put the training images into train/CLASS/, or point data.root at class folders alone: "
            "a test part is then held out of them",
        )
    part: Part | None = None if test is None else "train"
    parts = [PartFolder(train, part)]
    if own is None and validation is not None:
        raise _no_validation(validation, root)
    if own is not None:
        match validation:
            case "own":
                parts.append(PartFolder(own, "validation"))
            case "train":
                parts.append(PartFolder(own, part))
            case None:
                name = clean(own.name, 80)
                raise UserError(
                    f"{name}/ beside {clean(train.name, 80)}/: is it to validate, to train or to test?",
                    where=clean(root),
                    allowed=f'data.validation = "own": {name}/ validates; "train": its images join training'
                    + ("" if test is not None else f"; {name}/ renamed to test/: it tests"),
                )
    if test is not None:
        parts.append(PartFolder(test, "test"))
    return tuple(parts)


def refuse_reserved(path: Path, root: Path) -> None:
    """Refuse a folder among classes, or within one, whose name says that it is a part.

    Raises:
        UserError: names it, and how to lay it out.
    """
    if role_of(path.name) is None:
        return
    name, parent = clean(path.name, 80), path.parent
    shown = clean(path.relative_to(root).as_posix(), 160)
    if role_of(parent.name) is not None and parent != root:
        hint = f"point data.root at {clean(parent)} if the data set begins there"
    else:
        hint = (
            f"put the parts outside: {name}/{clean(parent.name, 80)}/; or point data.root at {clean(parent)} "
            "if the data set begins there"
        )
    raise UserError(
        f"{shown}/ is a part by its name, within a class by its place: its images would be mixed with others",
        where=clean(root),
        allowed="CLASS/IMAGE, or train/CLASS/IMAGE with test/CLASS/IMAGE",
        hint=hint + "; a class that is called so needs another name",
    )


def read_entries(directory: Path) -> list[Path]:
    """What lies in a directory, sorted, but hidden things.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return sorted(entry for entry in directory.iterdir() if not _hidden(entry.name))
    except OSError as error:
        raise unreadable_folder(directory, error) from None


def files_below(directory: Path) -> Iterator[Path]:
    """Every file at any depth, in a stable order, and links to directories, which are not followed.

    Passes over hidden ones.

    Raises:
        UserError: a directory cannot be read; its images would be missing without a word.
    """

    def fail(error: OSError) -> None:
        raise unreadable_folder(Path(error.filename or directory), error)

    for folder, inner, files in os.walk(directory, onerror=fail):
        inner[:] = sorted(name for name in inner if not _hidden(name))
        links = [name for name in inner if Path(folder, name).is_symlink()]
        yield from (Path(folder, name) for name in sorted([*files, *links]) if not _hidden(name))


def unreadable_folder(folder: Path, error: OSError) -> UserError:
    """The message about a folder that cannot be listed."""
    return UserError(
        f"the folder cannot be read ({error.strerror or error})",
        where=clean(folder),
        hint="make it readable, or move it out of the data set",
    )


def _hidden(name: str) -> bool:
    return name.startswith(".") or name.casefold() in _SYSTEM


def refuse_beside_parts(folders: Sequence[Path], parts: Sequence[PartFolder], root: Path) -> None:
    """Refuse folders of images that lie beside the parts: whether they should train is anybody's guess.

    Raises:
        UserError: if there are any.
    """
    if folders:
        named = listed([part.path for part in parts])
        raise UserError(
            f"{listed(folders)} beside {named}: classes, or parts of their own?",
            where=clean(root),
            allowed=f"class folders alone, or {named} with the class folders in there",
            hint="move what is neither out of data.root; a class that is called so needs another name",
        )


def _refuse_unclear(folders: Sequence[Path], root: Path) -> None:
    if folders:
        raise UserError(
            f"{listed(folders)}: a part by its name, but which?",
            where=clean(root),
            hint="call it val/ or test/, or move it out of data.root; a class that is called so needs "
            "another name",
        )


def _pools(folders: Sequence[Path], named: str, root: Path) -> tuple[Path, ...]:
    given = os.path.realpath(Path(named).expanduser()) if named else None
    strange = [folder for folder in folders if os.path.realpath(folder) != given]
    if strange:
        name = clean(strange[0].name, 80)
        raise UserError(
            f"{name}/ is no class by its name, but images of unknown class",
            where=clean(root),
            hint=f'with [pseudo_label] write data.extra_unlabelled = "{clean(strange[0])}" to learn from '
            f"them too; else move {name}/ out of data.root",
        )
    return tuple(folders)


def _refuse_own_links(folders: Sequence[Path], root: Path) -> None:
    """A link from one folder of the data set to another, or to all of it, would show images twice."""
    real = {folder: os.path.realpath(folder) for folder in folders}
    top = os.path.realpath(root)
    seen: dict[str, Path] = {}
    for folder, place in sorted(real.items(), key=lambda pair: (pair[0].is_symlink(), pair[0])):
        if folder.is_symlink() and (_within(place, top) or _within(top, place)):
            raise _own_link(folder, place, root)
        if place in seen:
            raise _own_link(folder, str(seen[place]), root)
        seen[place] = folder


def _own_link(folder: Path, target: str, root: Path) -> UserError:
    return UserError(
        f"{clean(folder.name, 80)} is a link to {clean(target)}, which the data set reads already",
        where=clean(root),
        hint="remove the link: every image belongs to one class and one part",
    )


def _within(inner: str, outer: str) -> bool:
    return Path(inner).is_relative_to(outer)


def _only(folders: Sequence[Path], role: str, root: Path) -> Path | None:
    if len(folders) > 1:
        raise UserError(
            f"{listed(folders)}: more than one {role} part",
            where=clean(root),
            hint="put their class folders into one of them, or move the other out of data.root",
        )
    return folders[0] if folders else None


def _no_validation(validation: OwnValidation, root: Path) -> UserError:
    return UserError(
        f'data.validation = "{validation}", but there is no val/ beside a train/',
        where=clean(root),
        hint="leave data.validation out: a share of the training part then validates",
    )


def listed(folders: Sequence[Path], most: int = 4) -> str:
    """The first few names of folders, for messages."""
    names = [f"{clean(folder.name, 80)}/" for folder in folders]
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
