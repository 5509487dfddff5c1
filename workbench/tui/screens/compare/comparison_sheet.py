"""A table that is given whole and redraws only what differs; the cursor stays on its row and column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.style import Style
from rich.text import Text
from textual.widgets import DataTable
from textual.widgets.data_table import CursorType

from workbench.runs.comparison import goodness
from workbench.runs.summary import RunSummary
from workbench.runs.values import delta_words
from workbench.tui.draw.chart_drawing import MARKERS
from workbench.tui.screens.compare.board import Board
from workbench.tui.screens.compare.look import Look
from workbench.tui.text import STATUS_MARKS, plain
from workbench.tui.themes import Palette


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its key never changes while what it shows may."""

    key: str
    label: Text
    right: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A line; a cell a column."""

    key: str
    cells: tuple[Text, ...]


class Sheet(DataTable[Text]):
    """Shows `Row`s; the first column stays in sight when the others scroll."""

    DEFAULT_CSS = """
    Sheet { height: 1fr; background: $background; scrollbar-size: 1 1; scrollbar-color: $panel; }
    Sheet:focus { background-tint: $background 0%; }
    Sheet > .datatable--header { background: $background; color: $text-muted; }
    Sheet > .datatable--fixed { background: $background; color: $text-muted; }
    Sheet > .datatable--cursor { background: $panel; color: $foreground; text-style: bold; }
    Sheet:focus > .datatable--cursor {
        background: $block-cursor-background; color: $block-cursor-foreground; text-style: none;
    }
    """

    def __init__(self, *, cursor: CursorType, id: str, classes: str = "") -> None:
        super().__init__(
            cursor_type=cursor, fixed_columns=1, zebra_stripes=False, cell_padding=1, id=id, classes=classes
        )
        self._given: tuple[tuple[Column, ...], tuple[Row, ...]] = ((), ())

    @property
    def column_key(self) -> str:
        """Of the column under the cursor; empty in an empty table."""
        shown = self._given[0]
        return shown[self.cursor_column].key if self.cursor_column < len(shown) else ""

    @property
    def row_key(self) -> str:
        """Of the row under the cursor; empty in an empty table."""
        shown = self._given[1]
        return shown[self.cursor_row].key if self.cursor_row < len(shown) else ""

    def fill(self, columns: Sequence[Column], rows: Sequence[Row]) -> None:
        """Show this in place of what is there."""
        new = (tuple(columns), tuple(rows))
        old, self._given = self._given, new
        if _headings(old[0]) == _headings(new[0]) and _keys(old[1]) == _keys(new[1]):
            self._change(old[1], new[1])
        else:
            self._replace(old, new)

    def point(self, *, row: str | None = None, column: str | None = None) -> None:
        """Put the cursor on a row, a column or both, where they are shown."""
        columns, rows = self._given
        at_row = _place([each.key for each in rows], row)
        at_column = _place([each.key for each in columns], column)
        wanted = (
            self.cursor_row if at_row is None else at_row,
            self.cursor_column if at_column is None else at_column,
        )
        if wanted != (self.cursor_row, self.cursor_column):
            self.move_cursor(row=wanted[0], column=wanted[1], animate=False)

    def on_data_table_cell_highlighted(self) -> None:
        """Once the table has scrolled to the cursor, go to where no column is cut at its left."""
        self.call_after_refresh(self._snap)

    def on_resize(self) -> None:
        """Another size shows other columns, and may show all rows down to the cursor's."""
        self.call_after_refresh(self._snap)
        if self.cursor_row < self.size.height - self.header_height:
            self.scroll_to(y=0, animate=False, force=True)

    def _snap(self) -> None:
        """As little to the right as the cursor's column allows, and never within a column."""
        shown = self.ordered_columns
        if self.cursor_type != "cell" or not 0 < self.cursor_column < len(shown):
            return
        widths = [column.get_render_width(self) for column in shown]
        room = self.scrollable_content_region.width - widths[0]
        if room <= 0:  # not in sight
            return
        starts = [sum(widths[1:place]) for place in range(1, self.cursor_column + 1)]
        end = starts[-1] + widths[self.cursor_column]
        fitting = [start for start in starts if end - start <= room]
        self.scroll_to(x=min(fitting, default=starts[-1]), animate=False, force=True)

    def _change(self, old: Sequence[Row], new: Sequence[Row]) -> None:
        for before, after in zip(old, new, strict=True):
            for column, one, other in zip(self._given[0], before.cells, after.cells, strict=True):
                if _drawn(one) != _drawn(other):
                    self.update_cell(after.key, column.key, _aligned(other, column), update_width=True)

    def _replace(
        self, old: tuple[Sequence[Column], Sequence[Row]], new: tuple[Sequence[Column], Sequence[Row]]
    ) -> None:
        row = old[1][self.cursor_row].key if self.cursor_row < len(old[1]) else ""
        column = old[0][self.cursor_column].key if self.cursor_column < len(old[0]) else ""
        x, y = self.scroll_x, self.scroll_y
        self.clear(columns=True)
        for each in new[0]:
            self.add_column(_aligned(each.label, each), key=each.key)
        for line in new[1]:
            cells: list[Any] = [_aligned(c, each) for c, each in zip(line.cells, new[0], strict=True)]
            self.add_row(*cells, key=line.key)
        self.point(row=row, column=column)
        self.scroll_to(x, y, animate=False)


def _aligned(text: Text, column: Column) -> Text:
    if not column.right:
        return text
    aligned = text.copy()
    aligned.justify = "right"
    return aligned


def _keys(rows: Sequence[Row]) -> list[str]:
    return [row.key for row in rows]


def _headings(columns: Sequence[Column]) -> list[tuple[str, object]]:
    return [(column.key, _drawn(column.label)) for column in columns]


def _drawn(text: Text) -> tuple[object, ...]:
    """All that shows of a text; its own equality leaves the style out."""
    return (text.plain, text.style, text.spans)


def _place(keys: Sequence[str], key: str | None) -> int | None:
    return keys.index(key) if key in keys else None


_NAME_CELLS = 18
STAR = "★"
GROUP = "━"


def headings(board: Board, look: Look, colours: Palette, *, first: str, right: bool = False) -> list[Column]:
    """A column for the names of the lines, then one a run or a group; keys are the ids of (first) runs."""
    columns = [Column("", Text(first))]
    if look.seeds:
        for number, (group, name) in enumerate(zip(board.groups.groups, board.group_names, strict=True)):
            is_baseline = number == board.groups.baseline
            label = heading(name, GROUP, number, is_baseline=is_baseline, colours=colours, limit=_NAME_CELLS)
            columns.append(Column(board.runs[group.runs[0]].id, label, right))
        return columns
    for place, (run, name) in enumerate(zip(board.runs, board.names, strict=True)):
        label = heading(
            name,
            marker(place),
            place,
            is_baseline=place == board.baseline,
            colours=colours,
            limit=_NAME_CELLS,
        )
        columns.append(Column(run.id, label, right))
    return columns


def column_of(board: Board, look: Look) -> str:
    """The key of the column that the chosen run is in; empty where none is chosen."""
    place = board.place_of(look.chosen)
    if place is None or not look.seeds:
        return look.chosen
    return board.runs[board.groups.groups[board.group_of(place)].runs[0]].id


def marker(place: int) -> str:
    """The sign that the chart draws on the curve of the run at `place`."""
    return MARKERS[place % len(MARKERS)]


def heading(
    name: str, sign: str, colour: int, *, is_baseline: bool, colours: Palette, limit: int = 0
) -> Text:
    """`▲ ★ name`, the sign in the series colour number `colour`."""
    text = Text(end="", no_wrap=True)
    text.append(f"{sign} ", colours.series_colour(colour))
    if is_baseline:
        text.append(f"{STAR} ", style=colours.accent)
    return text.append_text(plain(name, limit=limit))


def status_text(summary: RunSummary, colours: Palette, *, short: bool = False) -> Text:
    """`✓ done`, `● live student 2/5 · 3/5`, `✗ failed`; short: without what it is at."""
    mark = STATUS_MARKS[summary.status]
    text = Text(f"{mark.sign} {mark.word}", style=getattr(colours, mark.colour), end="")
    progress = summary.progress
    if progress is not None and not short:
        round_words = f" {progress.round}/{progress.rounds}" if progress.round else ""
        text.append(f" {progress.stage}{round_words} · {progress.epoch}/{progress.epochs}", colours.muted)
    return text


def delta_text(key: str, delta: float | None, colours: Palette) -> Text:
    """The change with its sign, in colour for better or worse."""
    style = {1: colours.good, -1: colours.bad, 0: colours.muted}[goodness(key, delta)]
    return Text(delta_words(key, delta, percent=False), style=Style(color=style), end="")
