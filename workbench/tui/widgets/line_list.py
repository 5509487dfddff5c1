"""A list of lines: drawn as they come into sight, with a cursor that goes through them and stays in sight."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip


class LineList(ScrollView, can_focus=True):
    """Lines by their ids. The cursor stays on its line when lines move, come or go.

    A line of an empty id is passed over by the cursor; in a list of none but such lines keys scroll. What
    extends it says by `set_lines` which lines there are, and draws one in `draw_row`.

    Args:
        cursor: the id of the line that the cursor is on at first, once there are lines.
    """

    DEFAULT_CSS = "LineList { height: 1fr; width: 1fr; scrollbar-size-vertical: 1; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "up", show=False, id="list.up"),
        Binding("down", "move(1)", "down", show=False, id="list.down"),
        Binding("pageup", "page(-1)", "page up", show=False, id="list.page_up"),
        Binding("pagedown", "page(1)", "page down", show=False, id="list.page_down"),
        Binding("home", "jump(0)", "first", show=False, id="list.first"),
        Binding("end", "jump(-1)", "last", show=False, id="list.last"),
    ]
    HEAD: ClassVar[int] = 0
    """Lines at the top that stay when the others scroll."""

    @dataclass
    class Moved(Message):
        """The cursor is on another line now, or on none."""

        id: str

    def __init__(self, cursor: str = "", *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._ids: Sequence[str] = ()
        self._rows: dict[str, int] = {}
        """Where the lines are that the cursor can be on, from the first to the last."""
        self._stops: list[int] = []
        self._cursor, self._row = cursor, 0
        self._wanted = ""

    # What there is

    @property
    def cursor(self) -> str:
        """The id of the line under the cursor; empty where there is none."""
        return self._cursor

    @property
    def in_sight(self) -> range:
        """The lines in sight, by their places."""
        first = round(self.scroll_y)
        return range(first, max(first, min(first + self.size.height - self.HEAD, len(self._ids))))

    def row_of(self, id: str) -> int | None:
        """The place of a line that the cursor can be on; None where it is not there."""
        return self._rows.get(id)

    def set_lines(self, ids: Sequence[str], *, width: int, otherwise: str = "") -> bool:
        """Have other lines; the cursor stays on its own.

        Args:
            ids: one a line.
            width: of the widest line; beyond the list's own it scrolls sideways.
            otherwise: where the cursor goes when its line is gone; default: to the line in its place.

        Returns:
            whether the cursor is on another line now.
        """
        self._ids, before, row = ids, self._cursor, self._row
        self._rows = {id: row for row, id in enumerate(ids) if id}
        self._stops = list(self._rows.values())
        self.virtual_size = Size(width, self.HEAD + len(ids))
        known = [id for id in (self._wanted, before, otherwise) if id in self._rows]
        if known:
            self._row = self._rows[known[0]]
        elif self._stops:
            self._row = self._stops[min(bisect_left(self._stops, self._row), len(self._stops) - 1)]
        else:
            self._row = 0
        if self._wanted in self._rows:
            self._wanted = ""
        self._cursor = ids[self._row] if self._stops else ""
        if self._row != row:
            self.redraw_row(row)
            self.redraw_row(self._row)
        return self._cursor != before

    # Moving

    def move_to(self, id: str) -> None:
        """Put the cursor on a line; on one that is not there yet, as soon as it is."""
        if id in self._rows:
            self._move(self._rows[id])
        else:
            self._wanted = id

    def _move(self, row: int) -> None:
        self._wanted = ""
        if row == self._row:
            return
        before, self._row, self._cursor = self._row, row, self._ids[row]
        self.redraw_row(before)
        self.redraw_row(row)
        self.reveal_cursor()
        self.post_message(self.Moved(self._cursor))

    def reveal_cursor(self) -> None:
        """Scroll, no further than needed, so that the line under the cursor is in sight."""
        self.reveal(self._row, self._row)

    def reveal(self, first: int, last: int) -> None:
        """Scroll, no further than needed, so that these lines are in sight; if not all can be, the first."""
        height, top = self.size.height - self.HEAD, round(self.scroll_y)
        if height < 1:
            return
        if first < top or last - first >= height:
            self.scroll_to(y=first, animate=False, force=True)
        elif last >= top + height:
            self.scroll_to(y=last - height + 1, animate=False, force=True)

    def action_move(self, by: int) -> None:
        """To the next line that can have the cursor, or the one before."""
        if self._stops:
            place = bisect_left(self._stops, self._row) + by
            self._move(self._stops[max(0, min(place, len(self._stops) - 1))])
        elif by > 0:
            self.action_scroll_down()
        else:
            self.action_scroll_up()

    def action_page(self, by: int) -> None:
        """By as many lines as are in sight, less one."""
        if self._stops:
            self.action_move(by * max(1, self.size.height - self.HEAD - 1))
        elif by > 0:
            self.action_page_down()
        else:
            self.action_page_up()

    def action_jump(self, to: int) -> None:
        """To the first line or the last."""
        if self._stops:
            self._move(self._stops[to])
        elif to == 0:
            self.action_scroll_home()
        else:
            self.action_scroll_end()

    # Drawing

    def draw_row(self, row: int) -> Strip:
        """A line; what is missing of the width is filled up, what does not fit is cut."""
        return Strip.blank(self.size.width, self.rich_style)

    def draw_head(self, line: int) -> Strip:
        """A line of those that stay at the top."""
        return Strip.blank(self.size.width, self.rich_style)

    def render_line(self, y: int) -> Strip:
        """One line of the screen: of the head, of the list, or nothing below it."""
        left, row = round(self.scroll_x), round(self.scroll_y) + y - self.HEAD
        if self._ids and y < self.HEAD:
            strip = self.draw_head(y)
        elif y >= self.HEAD and row < len(self._ids):
            strip = self.draw_row(row)
        else:
            return Strip.blank(self.size.width, self.rich_style)
        return strip.crop_extend(left, left + self.size.width, self.rich_style)

    def redraw_row(self, row: int) -> None:
        """Draw a line anew, if it is in sight."""
        y = row - round(self.scroll_y)
        if 0 <= y < self.size.height - self.HEAD:
            self.refresh(Region(0, self.HEAD + y, self.size.width, 1))

    def row_at(self, event: events.MouseEvent) -> int | None:
        """The line under the mouse; None beside the lines, and on the head."""
        offset = event.get_content_offset(self)
        if offset is None or offset.y < self.HEAD:
            return None
        row = round(self.scroll_y) + offset.y - self.HEAD
        return row if row < len(self._ids) else None
