"""Files that a command writes where the user says: refused in words before any work, written whole."""

from __future__ import annotations

import os
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from workbench.cli.console import console, print_text
from workbench.support.atomic import atomic_write
from workbench.support.clean import clean
from workbench.support.errors import UserError

OutDir = Annotated[
    Path,
    typer.Option(
        "--out", metavar="DIR", help="Write the pictures there; made where needed.", show_default=False
    ),
]


def check_file(path: Path, option: str) -> Path:
    """The file that `option` names, its `~` resolved: one that can be written.

    Raises:
        UserError: it is a directory, the one that it would lie in is not there, or takes no file.
    """
    path = path.expanduser()
    where = f"{option} {clean(path)}"
    if path.is_dir():
        raise UserError("is a directory", where=where, allowed="a file")
    _check_folder(path.parent, where)
    return path


def _check_folder(folder: Path, where: str) -> None:
    if not folder.exists():
        made = quote(clean(folder))
        raise UserError(f"no directory {clean(folder)}", where=where, hint=f"mkdir -p {made} makes it")
    if not folder.is_dir():
        raise UserError(f"{clean(folder)} is no directory", where=where)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"{clean(folder)} is not yours to write to", where=where)


def write_file(path: Path, content: str | bytes) -> None:
    """Write `path`, which `check_file` took, whole or not at all; through a link, and into a device as it is.

    Raises:
        UserError: the disk is full, or the like.
    """
    data = content if isinstance(content, bytes) else content.encode("utf-8", "backslashreplace")
    try:
        if path.exists() and not path.is_file():  # /dev/stdout, a named pipe: not to be replaced by a file
            with path.open("wb") as stream:
                stream.write(data)
        else:
            atomic_write(path.resolve(), data)
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror or error}", where=clean(path)) from error


def write_out(text: str, output: Path | None) -> None:
    """Print `text`, or write it to `output`, which `check_file` took, and say so.

    Raises:
        UserError: the file cannot be written.
    """
    if output is None:
        print_text(text)
        return
    write_file(output, text)
    if output.is_file():
        console.print(f"written to {clean(output)}", soft_wrap=True)


def make_folder(folder: Path, option: str = "--out") -> Path:
    """The directory that `option` names, absolute, made where needed.

    Raises:
        UserError: it is a file, or cannot be made.
    """
    folder = folder.expanduser().absolute()
    where = f"{option} {clean(folder)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot be made: {error.strerror or error}", where=where) from error
    _check_folder(folder, where)
    return folder
