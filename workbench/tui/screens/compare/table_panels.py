"""The tables of Compare: results and recipes; a line a number or a key, a column a run or a group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.style import Style
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from workbench.runs.comparison import Difference, recipe_rows
from workbench.runs.comparison_table import RESULT, TableRow
from workbench.runs.seed_groups import SEED_KEYS
from workbench.runs.values import MARK, setting_words
from workbench.support.units import NOTHING
from workbench.tui.screens.compare.board import Board
from workbench.tui.screens.compare.comparison_sheet import (
    Column,
    Row,
    Sheet,
    column_of,
    headings,
    status_text,
)
from workbench.tui.screens.compare.look import Look
from workbench.tui.text import plain
from workbench.tui.themes import Palette, palette_of

_CELL_LIMIT = 28


class ResultPanel(Vertical):
    """Draws results with their changes from the baseline, and below what the signs mean."""

    DEFAULT_CSS = """
    ResultPanel { height: 1fr; width: 1fr; }
    ResultPanel > .notes { height: auto; max-height: 5; padding: 0 1; color: $text-muted; }
    """

    def __init__(self) -> None:
        super().__init__(id="results")
        self._sheet = Sheet(cursor="cell", id="result-sheet")
        self._sheet.tooltip = "Left and right choose a run; changes are from the baseline ★."

    def compose(self) -> ComposeResult:
        """The table, then what the signs mean."""
        yield self._sheet
        yield Static(classes="notes", markup=False)

    def show(self, board: Board, look: Look) -> None:
        """Draw this in place of what is there."""
        colours = palette_of(self.app.theme)
        self._sheet.fill(_columns(board, look, colours), result_lines(board, look, colours))
        self._sheet.point(column=column_of(board, look))
        table = board.table(seeds=look.seeds)
        lines = [plain(note) for note in table.notes]
        lines += [plain(f"⚠ {warning}", colours.warning) for warning in table.warnings]
        self.query_one(".notes", Static).update(Text("\n").join(lines))


def _columns(board: Board, look: Look, colours: Palette) -> list[Column]:
    return headings(board, look, colours, first="result", right=True)


def result_lines(board: Board, look: Look, colours: Palette) -> list[Row]:
    """A line a number with its changes, the tests below the test accuracy; of runs also states and seeds."""
    table = board.table(seeds=look.seeds)
    rows = [
        Row(f"{row.section} {row.key} {row.kind}", (Text(row.title(percent=False)), *_cells(row, colours)))
        for row in table.told(*RESULT)
    ]
    if look.seeds:
        return rows
    states = [status_text(run, colours, short=True) for run in board.runs]
    seeds = [plain(run.recipe.get("seed", NOTHING), colours.muted) for run in board.runs]
    return [Row("status", (Text("status"), *states)), *rows, Row("seed", (Text("seed"), *seeds))]


def _cells(row: TableRow, colours: Palette) -> list[Text]:
    """Behind each number its change from the baseline, and the mark of its test."""
    shades = {1: colours.good, -1: colours.bad, 0: colours.muted}
    cells = []
    for place, value in enumerate(row.cells):
        quiet = value is None or row.kind == "interval"
        text = Text(row.words(place, percent=False), colours.muted if quiet else "", end="")
        if change := row.change(place, percent=False):
            text.append(" ").append(change, Style(color=shades[row.goodness(place)]))
        if row.marked:
            text.append(MARK if place in row.marked else " ", colours.accent)
        if place in row.doubted:
            text.append(" ⚠", colours.warning)
        cells.append(text)
    return cells


class RecipePanel(Vertical):
    """Draws the keys in which the recipes differ, or all of them."""

    DEFAULT_CSS = """
    RecipePanel { height: 1fr; width: 1fr; }
    """

    def __init__(self) -> None:
        super().__init__(id="recipe")
        self._sheet = Sheet(cursor="cell", id="recipe-sheet")
        self._sheet.tooltip = "Left and right choose a run; what differs from the baseline ★ stands out."

    def compose(self) -> ComposeResult:
        """The table."""
        yield self._sheet

    def show(self, board: Board, look: Look) -> None:
        """Draw this in place of what is there."""
        rows = differences(board, look)
        columns, lines = recipe_lines(board, look, rows, palette_of(self.app.theme))
        self._sheet.fill(columns, lines)
        self._sheet.point(column=column_of(board, look))


def differences(board: Board, look: Look) -> list[Difference]:
    """The rows of the table, of runs or of groups."""
    if look.seeds:
        leaders = [board.runs[group.runs[0]] for group in board.groups.groups]
        rows = recipe_rows(leaders)
        return rows if look.all_keys else list(board.groups.recipe)
    return recipe_rows(board.runs) if look.all_keys else list(board.comparison.recipe)


def recipe_lines(
    board: Board, look: Look, rows: list[Difference], colours: Palette
) -> tuple[list[Column], list[Row]]:
    """The table's columns and lines; what is not as the baseline has it is bright."""
    columns = headings(
        board, look, colours, first=f"{len(rows)} {'keys' if look.all_keys else 'differences'}"
    )
    first = board.groups.baseline if look.seeds else board.baseline
    names = short_keys([row.key for row in rows])
    lines = []
    for name, row in zip(names, rows, strict=True):
        cells = [_cell(value, value == row.values[first], colours) for value in row.values]
        lines.append(Row(row.key, (plain(name), *cells)))
    return columns, lines


def _cell(value: Any, same: bool, colours: Palette) -> Text:
    quiet = same or value is None
    return plain(setting_words(value), colours.muted if quiet else f"bold {colours.text}", limit=_CELL_LIMIT)


def short_keys(keys: Sequence[str]) -> list[str]:
    """Recipe keys without their tables where the last part is enough to tell them apart."""
    lasts = Counter(key.rpartition(".")[2] for key in keys)
    return [
        key if lasts[key.rpartition(".")[2]] > 1 or key in SEED_KEYS else key.rpartition(".")[2]
        for key in keys
    ]
