"""The one console: colours where the terminal has them, plain text elsewhere, outside text never markup."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from workbench.support.clean import clean

# Markup, emoji codes and highlighting are off: a file named `[red].jpg` or `:smile:` must print as it is.
console = Console(markup=False, emoji=False, highlight=False)
error_console = Console(stderr=True, markup=False, emoji=False, highlight=False)


def print_problem(message: str) -> None:
    """What went wrong, on standard error: the first line stands out, what to do follows."""
    first, *others = message.strip().splitlines()
    error_console.print(f"petbench: {clean(first)}", style="bold red", soft_wrap=True)
    for line in others:
        error_console.print(f"  {clean(line)}", soft_wrap=True)


def print_json(value: object) -> None:
    """`value` as JSON on standard output, for scripts; ASCII, so nothing in it can drive a terminal."""
    print(json.dumps(value, indent=2, ensure_ascii=True, default=str))


def make_table(columns: Sequence[str], *, title: str = "", right: Sequence[str] = ()) -> Table:
    """An empty table in the house's style; columns named in `right` hold numbers."""
    table = Table(title=Text(clean(title)) if title else None, box=box.SIMPLE_HEAD, title_justify="left")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def cell(value: object, style: str = "") -> Text:
    """A table cell of outside text, cleaned."""
    return Text(clean(value), style=style)


def percent(share: float | None) -> str:
    """0.8842 -> '88.42'; a dash where there is none."""
    return "–" if share is None else f"{100 * share:.2f}"
