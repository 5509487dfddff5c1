"""What the sub-folders of a data set are: its classes, its parts, or a pool. A part's name is no class."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from workbench.dataset.catalogue import Part
from workbench.support.class_key import class_key
from workbench.support.clean import clean
from workbench.support.errors import UserError

Role = Literal["train", "test", "validation", "pool", "unclear"]
"""What a reserved name says; "unclear": people mean different parts by it."""
OwnValidation = Literal["own", "train"]
"""What becomes of a folder's own validation part: `data.validation`."""

_ROLES: dict[Role, str] = {
    "train": "train|training|trn|trainval|labelled|labeled|annotated",
    "test": "test|testing|tst",
    "validation": "val|valid|validation|validate",
    "pool": "unlabelled|unlabeled|unlabel|notlabelled|notlabeled|nolabel|nolabels|unannotated|untagged|pool",
    "unclear": "dev|development|holdout|heldout|eval|evaluation",
}
# `train_images`, `Test-Set` and `val2017` are no classes either.
_RESERVED = {
    role: re.compile(rf"(?:{names})(?:sets?|data|images?|imgs|pictures|photos|split|part|folder)?(?:20\d\d)?")
    for role, names in _ROLES.items()
}
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
    validation: OwnValidation | None
    """What becomes of a validation part, within the classes too."""
    has_parts: bool = False
    """Whether folders before the classes say which image is for what."""
    aside: tuple[Path, ...] = ()
    """What lies beside the parts and is none: folders without an image, and loose files."""
    own_pool: tuple[Path, ...] = ()
    """Folders beside the classes or parts whose images are of unknown class."""
    pool: tuple[Path, ...] = ()
    """Likewise, but those that `data.extra_unlabelled` reads."""
    left: Path | None = None
    """The test folder that is left to be predicted."""


def role_of(name: str) -> Role | None:
    """What a folder's name is reserved for, whatever its case, hyphens, blanks and width; None: a class."""
    letters = "".join(letter for letter in class_key(name) if letter.isalnum())
    return next((role for role, names in _RESERVED.items() if names.fullmatch(letters)), None)


def read_layout(
    root: Path, *, pool: str = "", validation: OwnValidation | None = None, leave: Path | None = None
) -> FolderLayout:
    """Tell classes, parts and pools apart by their names; whatever is not clear is refused, never guessed.

    `root/CLASS/…`, or `train/CLASS/…` with `test/CLASS/…`, `val/CLASS/…` or both; `labelled/` is another name
    for `train/`. Folders such as `unlabelled/` beside them are pools.

    Args:
        pool: `data.extra_unlabelled`.
        validation: `data.validation`.
        leave: a folder to take no notice of.

    Raises:
        UserError: the folder cannot be read, or names what to write or to move.
    """
    entries = read_entries(root)
    folders = [entry for entry in entries if entry.is_dir() and entry != leave]
    loose = [entry for entry in entries if not entry.is_dir()]
    named: dict[Role, list[Path]] = {role: [] for role in _ROLES}
    classes: list[Path] = []
    for folder in folders:
        role = role_of(folder.name)
        (classes if role is None else named[role]).append(folder)
    _refuse_unclear(named["unclear"], root)
    given = os.path.realpath(Path(pool).expanduser()) if pool else None
    extra = tuple(folder for folder in named["pool"] if os.path.realpath(folder) == given)
    own = tuple(folder for folder in named["pool"] if folder not in extra)
    _refuse_own_links([*classes, *named["train"], *named["test"], *named["validation"]], root)
    one = {role: _only(named[role], role, root) for role in ("train", "test", "validation")}
    if not any(one.values()):
        return FolderLayout((PartFolder(root, None),), validation, False, (), own, extra, leave)
    parts = parts_of(one["train"], one["test"], one["validation"], validation, root)
    return FolderLayout(parts, validation, True, (*classes, *loose), own, extra, leave)


def parts_of(
    train: Path | None, test: Path | None, own: Path | None, validation: OwnValidation | None, root: Path
) -> tuple[PartFolder, ...]:
    """What each of these folders is for, the training part first.

    Raises:
        UserError: there is no training part, or nobody says what the validation part is for.
    """
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
        raise no_validation(validation, root)
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
        names = sorted(os.listdir(directory))  # noqa: PTH208 (of a million, paths sort ten times as slowly)
        return [directory / name for name in names if not is_hidden(name)]
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
        inner[:] = sorted(name for name in inner if not is_hidden(name))
        links = [name for name in inner if Path(folder, name).is_symlink()]
        yield from (Path(folder, name) for name in sorted([*files, *links]) if not is_hidden(name))


def unreadable_folder(folder: Path, error: OSError) -> UserError:
    """The message about a folder that cannot be listed."""
    return UserError(
        f"the folder cannot be read ({error.strerror or error})",
        where=clean(folder),
        hint="make it readable, or move it out of the data set",
    )


def is_hidden(name: str) -> bool:
    """Whether what is called so is no part of any data set."""
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


def no_validation(validation: OwnValidation, root: Path) -> UserError:
    """The message about a `data.validation` without such a part."""
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
