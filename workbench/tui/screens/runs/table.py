"""The table of runs: draws the rows in sight, whatever their number, and only those that changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from workbench.runs.glance import Glance
from workbench.runs.summary import RunSummary
from workbench.tui.screens.runs.columns import GAP, Column, Placed, Row, place
from workbench.tui.themes import Palette, palette_of

_MARGIN = 2
"""Cells left of the first column: the cursor's bar and the mark of a selected run."""
_SIDEWAYS = 8


class RunsTable(ScrollView, can_focus=True):
    """A header and a line a run. The cursor stays on its run when rows move, come or go."""

    DEFAULT_CSS = """
    RunsTable { height: 1fr; width: 1fr; scrollbar-size-vertical: 1; scrollbar-size-horizontal: 1; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "move(1)", "down", show=False, id="table.down"),
        Binding("up", "move(-1)", "up", show=False, id="table.up"),
        Binding("pagedown,ctrl+d", "page(1)", "page down", show=False, id="table.page_down"),
        Binding("pageup,ctrl+u", "page(-1)", "page up", show=False, id="table.page_up"),
        Binding("home,g", "jump(0)", "first", show=False, id="table.first"),
        Binding("end,G", "jump(-1)", "last", show=False, id="table.last"),
        Binding("escape", "dismiss", "clear", show=False, id="table.clear"),
        Binding("left", "sideways(-1)", "left", show=False, id="table.left"),
        Binding("right", "sideways(1)", "right", show=False, id="table.right"),
    ]

    @dataclass
    class Moved(Message):
        """The cursor is on another run now, or on none."""

        run: str

    @dataclass
    class Opened(Message):
        """A run was double-clicked."""

        run: str

    @dataclass
    class Picked(Message):
        """A run's margin was clicked: select it, or no longer."""

        run: str

    @dataclass
    class HeaderClicked(Message):
        """A column's title was clicked."""

        column: Column

    class Scrolled(Message):
        """Other rows are seen."""

    class Dismissed(Message):
        """Escape: less of what narrows the table or is selected in it."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.tooltip = None
        self._rows: Sequence[RunSummary] = ()
        self._places: dict[str, int] = {}
        self._glances: Mapping[str, Glance] = {}
        self._selected: frozenset[str] = frozenset()
        self._chosen: tuple[str, ...] = ()
        self._columns: list[Placed] = []
        self._sorted: tuple[str, bool] = ("", False)
        self._now = datetime.fromtimestamp(0)
        self._cursor = 0
        self._wanted = ""

    # What it shows

    @property
    def cursor_run(self) -> str:
        """The id of the run under the cursor; empty where there is none."""
        return self._rows[self._cursor].id if self._cursor < len(self._rows) else ""

    @property
    def seen(self) -> Sequence[RunSummary]:
        """The runs in sight."""
        first = round(self.scroll_y)
        return self._rows[first : first + max(0, self.size.height - 1)]

    @property
    def columns(self) -> Sequence[Column]:
        """The columns shown, from left to right."""
        return [placed.column for placed in self._columns]

    def show_rows(self, rows: Sequence[RunSummary], now: datetime) -> None:
        """Show these runs in this order; lines that look as before are not drawn again."""
        before, wanted = list(self.seen), self._wanted or self.cursor_run
        minute_passed = now.replace(second=0, microsecond=0) != self._now.replace(second=0, microsecond=0)
        self._rows, self._now = rows, now
        self._places = {summary.id: place for place, summary in enumerate(rows)}
        columns = self._columns
        self._resize_canvas()
        self._cursor = self._places.get(wanted, min(self._cursor, max(0, len(rows) - 1)))
        if wanted in self._places:
            self._wanted = ""
        self._keep_cursor_in_sight()
        if minute_passed or self._columns != columns:
            self.refresh()
        else:
            self._redraw_changed(before)
        self.post_message(self.Moved(self.cursor_run))

    def show_glances(self, glances: Mapping[str, Glance]) -> None:
        """Draw what was read of the runs in sight."""
        old, self._glances = self._glances, glances
        for line, summary in enumerate(self.seen):
            if old.get(summary.id) != glances.get(summary.id):
                self._redraw_line(line)

    def show_selected(self, selected: frozenset[str]) -> None:
        """Mark the selected runs."""
        changed, self._selected = self._selected ^ selected, selected
        for line, summary in enumerate(self.seen):
            if summary.id in changed:
                self._redraw_line(line)

    def show_columns(self, chosen: Sequence[str]) -> None:
        """Show these columns; none for those that fit."""
        self._chosen = tuple(chosen)
        self._resize_canvas()
        self.refresh()

    def show_order(self, column_id: str, descending: bool) -> None:
        """Mark the column that it is sorted by; an empty id for none."""
        self._sorted = (column_id, descending)
        self.refresh()

    def move_to(self, run: str) -> None:
        """Put the cursor on a run; one that is not there yet, as soon as it is."""
        if run in self._places:
            self._move_cursor(self._places[run])
        else:
            self._wanted = run

    # Moving

    def action_move(self, by: int) -> None:
        """The next or previous run."""
        self._move_cursor(self._cursor + by)

    def action_page(self, by: int) -> None:
        """A screenful."""
        self._move_cursor(self._cursor + by * max(1, self.size.height - 2))

    def action_jump(self, to: int) -> None:
        """The first run or the last."""
        self._move_cursor(len(self._rows) - 1 if to < 0 else to)

    def action_dismiss(self) -> None:
        """Clear the filter, then the selection."""
        self.post_message(self.Dismissed())

    def action_sideways(self, by: int) -> None:
        """Columns that do not fit."""
        self.scroll_to(x=self.scroll_x + by * _SIDEWAYS, animate=False)

    def _move_cursor(self, to: int) -> None:
        self._wanted = ""
        to = max(0, min(to, len(self._rows) - 1))
        if to == self._cursor:
            return
        for row in (self._cursor, to):
            self._redraw_line(row - round(self.scroll_y))
        self._cursor = to
        self._keep_cursor_in_sight()
        self.post_message(self.Moved(self.cursor_run))

    def _keep_cursor_in_sight(self) -> None:
        height = self.size.height - 1
        if height < 1:
            return
        top = round(self.scroll_y)
        if self._cursor < top:
            self.scroll_to(y=self._cursor, animate=False, force=True)
        elif self._cursor >= top + height:
            self.scroll_to(y=self._cursor - height + 1, animate=False, force=True)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Other rows come into sight."""
        super().watch_scroll_y(old_value, new_value)
        if round(old_value) != round(new_value):
            self.post_message(self.Scrolled())

    def on_resize(self) -> None:
        """Other columns may fit."""
        self._resize_canvas()
        self._keep_cursor_in_sight()
        self.post_message(self.Scrolled())

    def on_click(self, event: events.Click) -> None:
        """Move there; twice opens; on the margin, or with Ctrl, selects; on a title sorts."""
        offset = event.get_content_offset(self)
        if offset is None:
            return
        x = offset.x + round(self.scroll_x) - _MARGIN
        if offset.y == 0:
            hit = next((p for p in self._columns if p.start <= x < p.start + p.width), None)
            if hit is not None:
                self.post_message(self.HeaderClicked(hit.column))
            return
        row = round(self.scroll_y) + offset.y - 1
        if row >= len(self._rows):
            return
        self._move_cursor(row)
        if x < 0 or event.ctrl:
            self.post_message(self.Picked(self.cursor_run))
        elif event.chain == 2:
            self.post_message(self.Opened(self.cursor_run))

    # Drawing

    def _resize_canvas(self) -> None:
        width = self.size.width or self.app.size.width
        tall = len(self._rows) + 1 > self.size.height
        bar = 1 if tall and not self.show_vertical_scrollbar else 0
        going = any(summary.status.is_running for summary in self._rows)
        name = max((len(summary.name) for summary in self._rows), default=0)
        self._columns = place(self._chosen, width - _MARGIN - bar, name=name, going=going)
        last = self._columns[-1]
        across = _MARGIN + last.start + last.width
        self.virtual_size = Size(across if self._chosen else min(across, width), len(self._rows) + 1)

    def _redraw_changed(self, before: Sequence[RunSummary]) -> None:
        after = self.seen
        for line in range(max(len(before), len(after))):
            old = before[line] if line < len(before) else None
            new = after[line] if line < len(after) else None
            if old is not new:
                self._redraw_line(line)

    def _redraw_line(self, line: int) -> None:
        if 0 <= line < self.size.height - 1:
            self.refresh(Region(0, line + 1, self.size.width, 1))

    def render_line(self, y: int) -> Strip:
        """The header, or the run at this line."""
        colours = palette_of(self.app.theme)
        width, left = self.size.width, round(self.scroll_x)
        row = round(self.scroll_y) + y - 1
        if y == 0 and self._rows:
            strip = self._header(colours)
        elif y > 0 and row < len(self._rows):
            strip = self._line(row, colours)
        else:
            return Strip.blank(width, self.rich_style)
        return strip.crop_extend(left, left + width, self.rich_style)

    def _header(self, colours: Palette) -> Strip:
        segments = [Segment(" " * _MARGIN)]
        base = self.rich_style
        for placed in self._columns:
            sorted_here = placed.column.id == self._sorted[0]
            title = placed.column.title
            if sorted_here:
                title = title.rstrip() + ("↓" if self._sorted[1] else "↑")
            style = f"bold {colours.accent}" if sorted_here else f"bold {colours.muted}"
            segments += _cell(Text(title, style=style), placed, self.app.console)
        return Strip(segments).apply_style(base)

    def _line(self, place: int, colours: Palette) -> Strip:
        summary = self._rows[place]
        row = Row(summary, self._glances.get(summary.id), self._now)
        here, selected = place == self._cursor, summary.id in self._selected
        accent = Style.parse(colours.accent)
        segments = [Segment("▌" if here else " ", accent), Segment("✓" if selected else " ", accent)]
        for placed in self._columns:
            segments += _cell(placed.column.draw(row, colours), placed, self.app.console)
        strip = Strip(segments)
        if not here:
            return strip.apply_style(self.rich_style)
        shade = self.app.theme_variables.get("panel", "#262b32")
        cursor = self.rich_style + Style(bgcolor=shade, bold=self.has_focus)
        width = max(self.size.width, self.virtual_size.width)
        return strip.apply_style(cursor).extend_cell_length(width, cursor)


def _cell(text: Text, placed: Placed, console: Console) -> list[Segment]:
    """`text` cut or filled to the column's width, and the gap after it."""
    text.truncate(placed.width, overflow="ellipsis")
    blank = " " * (placed.width - text.cell_len)
    # A text without spans renders without its own style.
    segments = Segment.apply_style(text.render(console, end=""), console.get_style(text.style))
    right = placed.column.right or text.justify == "right"
    filled = [Segment(blank), *segments] if right else [*segments, Segment(blank)]
    return [*filled, Segment(" " * GAP)]
