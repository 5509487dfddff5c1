"""The one place through which commands print: lines, tables, JSON, warnings and what went wrong.

Text from outside is never markup, and no control, escape or bidi character reaches a terminal or a file, even
where a caller forgot to clean. On a screen, lines fit its width; into a pipe or a file, nothing is wrapped or
cut. What becomes of output that cannot be written is told in `streams.py`, files in `files.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

import typer
from rich.console import Console as RichConsole
from rich.console import ConsoleDimensions, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from workbench.cli.tables import BOUNDLESS, cell, make_table, percent
from workbench.runs.export import record_text
from workbench.support.clean import clean, clean_lines
from workbench.support.errors import UserError

__all__ = [
    "Console", "cell", "confirm", "console", "error_console", "make_table", "percent", "print_json",
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
