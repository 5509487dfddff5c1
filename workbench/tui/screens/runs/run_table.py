"""The table of runs, which draws only the lines in sight that changed, and what stands there without runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.strip import Strip
from textual.widgets import Static

from workbench.runs.glance import Glance
from workbench.runs.summary import RunSummary
from workbench.runs.watching import RunsView
from workbench.support.clean import clean
from workbench.tui.screens.runs.columns import GAP, Column, Placed, Row, place
from workbench.tui.screens.runs.run_list import Listing
from workbench.tui.themes import Palette, palette_of
from workbench.tui.widgets.line_list import LineList

_MARGIN = 2
"""Cells left of the first column: the cursor's bar and the mark of a selected run."""
_SIDEWAYS = 8
_PAW = ("  ▄▄  ▄▄  ", "  ▀▀  ▀▀  ", "▄▄      ▄▄", "▀▀ ▄▄▄▄ ▀▀", "  ▟████▙  ", "  ▜████▛  ")


class RunsTable(LineList):
    """A header and a line a run. The cursor stays on its run when rows move, come or go."""

    DEFAULT_CSS = """
    RunsTable { scrollbar-size-horizontal: 1; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+d", "page(1)", "page down", show=False, id="table.page_down"),
        Binding("ctrl+u", "page(-1)", "page up", show=False, id="table.page_up"),
        Binding("g", "jump(0)", "first", show=False, id="table.first"),
        Binding("G", "jump(-1)", "last", show=False, id="table.last"),
        Binding("escape", "dismiss", "clear", show=False, id="table.clear"),
        Binding("left", "sideways(-1)", "left", show=False, id="table.left"),
        Binding("right", "sideways(1)", "right", show=False, id="table.right"),
    ]
    HEAD = 1

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
        self._runs: Sequence[RunSummary] = ()
        self._glances: Mapping[str, Glance] = {}
        self._selected: frozenset[str] = frozenset()
        self._chosen: tuple[str, ...] = ()
        self._columns: list[Placed] = []
        self._sorted: tuple[str, bool] = ("", False)
        self._now = datetime.fromtimestamp(0)

    # What it shows

    @property
    def seen(self) -> Sequence[RunSummary]:
        """The runs in sight."""
        return self._runs[self.in_sight.start : self.in_sight.stop]

    @property
    def columns(self) -> Sequence[Column]:
        """The columns shown, from left to right."""
        return [placed.column for placed in self._columns]

    def show_rows(self, rows: Sequence[RunSummary], now: datetime) -> None:
        """Show these runs in this order; lines that look as before are not drawn again."""
        before = list(self.seen)
        minute_passed = now.replace(second=0, microsecond=0) != self._now.replace(second=0, microsecond=0)
        self._runs, self._now = rows, now
        columns = self._columns
        self._resize_canvas()
        self.reveal_cursor()
        if minute_passed or self._columns != columns:
            self.refresh()
        else:
            self._redraw_changed(before)
        self.post_message(self.Moved(self.cursor))

    def show_glances(self, glances: Mapping[str, Glance]) -> None:
        """Draw what was read of the runs in sight."""
        old, self._glances = self._glances, glances
        for row in self.in_sight:
            run = self._runs[row].id
            if old.get(run) != glances.get(run):
                self.redraw_row(row)

    def show_selected(self, selected: frozenset[str]) -> None:
        """Mark the selected runs."""
        changed, self._selected = self._selected ^ selected, selected
        for row in self.in_sight:
            if self._runs[row].id in changed:
                self.redraw_row(row)

    def show_columns(self, chosen: Sequence[str]) -> None:
        """Show these columns; none for those that fit."""
        self._chosen = tuple(chosen)
        self._resize_canvas()
        self.refresh()

    def show_order(self, key: str, descending: bool) -> None:
        """Mark the column of the key that it is sorted by; an empty key for none."""
        self._sorted = (key, descending)
        self.refresh()

    # Moving

    def action_dismiss(self) -> None:
        """Clear the filter, then the selection."""
        self.post_message(self.Dismissed())

    def action_sideways(self, by: int) -> None:
        """Columns that do not fit."""
        self.scroll_to(x=self.scroll_x + by * _SIDEWAYS, animate=False)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Other rows come into sight."""
        super().watch_scroll_y(old_value, new_value)
        if round(old_value) != round(new_value):
            self.post_message(self.Scrolled())

    def on_resize(self) -> None:
        """Other columns may fit."""
        self._resize_canvas()
        self.reveal_cursor()
        self.post_message(self.Scrolled())

    def on_click(self, event: events.Click) -> None:
        """Move there; twice opens; on the margin, or with Ctrl, selects; on a title sorts."""
        offset = event.get_content_offset(self)
        if offset is None:
            return
        x, row = offset.x + round(self.scroll_x) - _MARGIN, self.row_at(event)
        if offset.y == 0:
            hit = next((p for p in self._columns if p.start <= x < p.start + p.width), None)
            if hit is not None:
                self.post_message(self.HeaderClicked(hit.column))
        if row is None:
            return
        self.move_to(self._runs[row].id)
        if x < 0 or event.ctrl:
            self.post_message(self.Picked(self.cursor))
        elif event.chain == 2:
            self.post_message(self.Opened(self.cursor))

    # Drawing

    def _resize_canvas(self) -> None:
        width = self.size.width or self.app.size.width
        tall = len(self._runs) + 1 > self.size.height
        bar = 1 if tall and not self.show_vertical_scrollbar else 0
        going = any(summary.status.is_running for summary in self._runs)
        name = max((len(summary.name) for summary in self._runs), default=0)
        self._columns = place(self._chosen, width - _MARGIN - bar, name=name, going=going)
        last = self._columns[-1]
        across = _MARGIN + last.start + last.width
        ids = [summary.id for summary in self._runs]
        self.set_lines(ids, width=across if self._chosen else min(across, width))

    def _redraw_changed(self, before: Sequence[RunSummary]) -> None:
        after, first = self.seen, self.in_sight.start
        for line in range(max(len(before), len(after))):
            old = before[line] if line < len(before) else None
            new = after[line] if line < len(after) else None
            if old is not new:
                self.redraw_row(first + line)

    def draw_head(self, line: int) -> Strip:
        """The columns' titles."""
        colours = palette_of(self.app.theme)
        segments = [Segment(" " * _MARGIN)]
        base = self.rich_style
        key, descending = self._sorted
        for placed in self._columns:
            sorted_here = bool(key) and placed.column.key == key
            title = placed.column.title
            if sorted_here:
                title = title.rstrip() + ("↓" if descending else "↑")
            style = f"bold {colours.accent}" if sorted_here else f"bold {colours.muted}"
            segments += _cell(Text(title, style=style), placed, self.app.console)
        return Strip(segments).apply_style(base)

    def draw_row(self, row: int) -> Strip:
        """A run."""
        colours, summary = palette_of(self.app.theme), self._runs[row]
        shown = Row(summary, self._glances.get(summary.id), self._now)
        here, selected = summary.id == self.cursor, summary.id in self._selected
        accent = Style.parse(colours.accent)
        segments = [Segment("▌" if here else " ", accent), Segment("✓" if selected else " ", accent)]
        for placed in self._columns:
            segments += _cell(placed.column.draw(shown, colours), placed, self.app.console)
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


class EmptyState(Static):
    """Why the table is empty, and what to press; nothing while it is not."""

    def show_listing(self, listing: Listing, view: RunsView, home: Path) -> None:
        """Tell of a listing of `view`, which was read from the runs directory `home`."""
        colours = palette_of(self.app.theme)
        if listing.rows:
            self.update("")
        elif view.problem:
            self.update(Text(f"{clean(home)}: {view.problem}", style=colours.bad))
        elif view.total == 0:
            self.update(_no_runs(home, colours))
        elif view.complete:
            self.update(_nothing_fits(listing, colours))
        else:
            self.update("")


def _no_runs(home: Path, colours: Palette) -> Text:
    """For a newcomer."""
    text = Text(justify="center")
    text.append("\n".join(_PAW) + "\n\n", style=colours.accent)
    text.append("No runs yet\n\n", style="bold")
    text.append("Press ")
    text.append("n", style=f"bold {colours.accent}")
    text.append(" to compose the first one, or in another terminal:\n\n")
    text.append("petbench run quickstart\n\n", style=f"bold {colours.text}")
    text.append("It trains in seconds on drawn pets and shows up here.\n\n", style=colours.muted)
    text.append("L", style=f"bold {colours.accent}")
    text.append(" labels a folder of your own images.\n\n")
    text.append(f"Looking in {clean(home)}", style=colours.muted)
    return text


def _nothing_fits(listing: Listing, colours: Palette) -> Text:
    """For a filter that is too narrow, or runs that are all put away."""
    text = Text(justify="center")
    if listing.of == 0:
        text.append(f"All {listing.hidden:,} runs are archived\n\n", style="bold")
        text.append("A", style=f"bold {colours.accent}")
        text.append(" shows archived runs", style=colours.muted)
        return text
    text.append("No run fits the filter\n", style="bold")
    text.append(f"{clean(listing.query.filter.strip(), 200)}\n\n")
    text.append("esc", style=f"bold {colours.accent}")
    text.append(" clears it   ", style=colours.muted)
    text.append("/", style=f"bold {colours.accent}")
    text.append(" changes it", style=colours.muted)
    if listing.hidden:
        text.append("   A", style=f"bold {colours.accent}")
        text.append(f" looks into {listing.hidden:,} archived runs too", style=colours.muted)
    return text
