"""The one place through which commands print: lines, tables, JSON, warnings and what went wrong.

Text from outside is never markup, and no control, escape or bidi character reaches a terminal or a file, even
where a caller forgot to clean. On a screen, lines fit its width; into a pipe or a file, nothing is wrapped or
cut. What becomes of output that cannot be written is told in `streams.py`, files in `files.py`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from shlex import quote
from typing import Annotated, Any, BinaryIO

import typer
from rich.console import Console as RichConsole
from rich.console import ConsoleDimensions, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from workbench.cli.tables import BOUNDLESS, cell, make_table
from workbench.runs.export import record_text
from workbench.support.atomic import atomic_write
from workbench.support.clean import clean, clean_lines
from workbench.support.errors import UserError

__all__ = [
    "Console", "byte_output", "cell", "confirm", "console", "error_console", "make_table", "print_json",
    "print_problem", "print_text", "warn",
]  # fmt: skip

_NARROWEST = 20


class Console(RichConsole):
    """A console whose width is the screen's, or none; the last to clean what is printed."""

    def __init__(self, *, stderr: bool = False) -> None:
        # Markup, emoji codes and highlighting are off: a file named `[red].jpg` or `:smile:` prints as it is.
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)

    @property
    def is_screen(self) -> bool:
        """Whether a person looks at it; colours alone (FORCE_COLOR) make no screen of a pipe."""
        return self.file.isatty() if self._force_terminal is None else self._force_terminal

    @property
    def size(self) -> ConsoleDimensions:
        """Of the screen; boundless columns elsewhere."""
        if not self.is_screen:
            return ConsoleDimensions(BOUNDLESS, 25)
        width, height = super().size
        return ConsoleDimensions(max(width or 80, _NARROWEST), height)

    @size.setter
    def size(self, new_size: tuple[int, int]) -> None:
        self._width, self._height = new_size

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As rich does, with whatever could still drive a terminal shown as an escape."""
        for segment in super().render(renderable, options):
            text, style, control = segment
            if control or text.isprintable() or text == "\n":
                yield segment
            else:
                yield Segment(clean_lines(text), style)


console = Console()
error_console = Console(stderr=True)


def print_problem(message: str) -> None:
    """What went wrong, on standard error: the first line stands out, what to do follows."""
    first, *others = message.strip().splitlines() or [""]
    error_console.print(f"petbench: {clean(first)}", style="bold red", soft_wrap=True)
    for line in others:
        error_console.print(f"  {clean(line)}", soft_wrap=True)


def warn(text: str) -> None:
    """A warning of one line on standard error."""
    error_console.print(Text(f"warning: {clean(text)}", style="yellow"), soft_wrap=True)


def print_text(text: str) -> None:
    """Text for another program on standard output, its line ends as they are; the caller has cleaned it."""
    sys.stdout.write(text)


def byte_output() -> BinaryIO:
    """Standard output for rows that are written as they come."""
    sys.stdout.flush()
    return sys.stdout.buffer


def print_json(shape: str, record: Mapping[str, Any]) -> None:
    """`record` as JSON on standard output, for scripts; `shape` is one of `schemas.SHAPES`."""
    print_text(record_text(shape, record))


def confirm(question: str, yes: bool, *, hint: str) -> None:
    """Ask before something is removed, unless `yes`.

    Raises:
        UserError: there is nobody to ask; `hint` says what to type then.
        Abort: the answer is no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise UserError("there is nobody to ask", hint=hint)
    typer.confirm(question, abort=True, err=True)


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


def check_folder(folder: Path, *, new: bool, option: str = "--out") -> Path:
    """The directory that `option` names, absolute: one that can be made or filled. Nothing is made here.

    Args:
        new: it must not be there yet, or be empty.

    Raises:
        UserError: it is a file, holds something, or the nearest directory that is there takes no other.
    """
    folder = folder.expanduser().absolute()
    where = f"{option} {clean(folder)}"
    if os.path.lexists(folder) and not folder.is_dir():
        raise UserError("is a file", where=where, allowed="a directory")
    if new and folder.is_symlink():
        raise UserError("is a link", where=where, hint="name a directory that is empty or not there yet")
    try:
        if new and folder.is_dir() and any(folder.iterdir()):
            raise UserError(
                "is there already, and not empty", where=where, hint="name another, or remove this one"
            )
        there = next(parent for parent in (folder, *folder.parents) if os.path.lexists(parent))
    except OSError as error:
        raise UserError(f"cannot be looked at: {error.strerror or error}", where=where) from error
    _check_folder(there, where)
    return folder


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
