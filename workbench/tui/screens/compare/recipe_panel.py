"""The recipes as a table: a line a key, a column a run or a group of seeds."""

from __future__ import annotations

from typing import Any

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical

from workbench.runs.compare import Difference, recipe_rows
from workbench.tui.screens.compare.board import Board
from workbench.tui.screens.compare.headings import column_of, headings
from workbench.tui.screens.compare.look import Look
from workbench.tui.screens.compare.naming import short_keys
from workbench.tui.screens.compare.sheet import Column, Row, Sheet
from workbench.tui.text import plain
from workbench.tui.themes import Palette, palette_of

_CELL_LIMIT = 28


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
    if value is None:
        return Text("–", colours.muted)
    words = " ".join(map(str, value)) if isinstance(value, list) else str(value)
    if isinstance(value, bool):
        words = "true" if value else "false"
    return plain(words or '""', colours.muted if same else f"bold {colours.text}", limit=_CELL_LIMIT)
