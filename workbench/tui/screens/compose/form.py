"""The form: a list of lines to move through; says what the user wants changed, and changes nothing itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from workbench.recipe.literals import toml_literal
from workbench.tui.screens.compose.drawing import draw_line
from workbench.tui.screens.compose.fields import LAYERS, FieldKind, FormField
from workbench.tui.screens.compose.lines import (
    VALUE_COLUMN,
    FormState,
    Line,
    LineKind,
    form_lines,
    group_id,
)
from workbench.tui.themes import palette_of

_MARGIN = 2
"""Lines kept in sight above and below the cursor's."""
_FEW = 3
"""Choices that Enter goes through; more are listed."""


def _is_turned(field: FormField) -> bool:
    """Whether Enter goes to the next value: what else it would do is to type or list."""
    return field.kind is FieldKind.CHOICE and len(field.choices) <= _FEW


class Form(ScrollView, can_focus=True):
    """Draws a `FormState`, one line a field, and moves a cursor through it."""

    DEFAULT_CSS = "Form { height: 1fr; width: 1fr; scrollbar-size-vertical: 1; overflow-x: hidden; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "up", show=False),
        Binding("down", "move(1)", "down", show=False),
        Binding("left", "turn(-1)", "previous value", show=False),
        Binding("right", "turn(1)", "next value", show=False),
        Binding("space", "change", "change", show=False),
        Binding("enter", "enter", "edit", show=False),
        Binding("home,g", "jump(0)", "top", show=False),
        Binding("end,G", "jump(-1)", "end", show=False),
        Binding("pageup", "page(-1)", "page up", show=False),
        Binding("pagedown", "page(1)", "page down", show=False),
    ]

    @dataclass
    class Moved(Message):
        """The cursor is on another line."""

        id: str

    @dataclass
    class Set(Message):
        """A field is to have another value; None: to be left out."""

        key: str
        literal: str | None

    @dataclass
    class Asked(Message):
        """A field is to be typed in, or its many choices to be listed."""

        field: FormField

    @dataclass
    class Opened(Message):
        """A group is to be opened or closed."""

        group: str
        is_open: bool

    def __init__(self, state: FormState) -> None:
        super().__init__(classes="first-focus")
        self._state = state
        self._cursor = group_id("")
        self._lines: list[Line] = []
        self._strips: dict[int, Strip] = {}

    # What the screen asks

    @property
    def cursor(self) -> str:
        """The id of the line under the cursor: a field's key, `group:NAME`, `layer:NAME`."""
        return self._cursor

    @property
    def field(self) -> FormField | None:
        """The field under the cursor."""
        line = self._line_under_cursor()
        return None if line is None else line.field

    def show(self, state: FormState) -> None:
        """Draw another state; the cursor stays on its field, or goes to its group when that is gone."""
        self._state = state
        self._rebuild()

    def move_to(self, id: str) -> None:
        """Put the cursor on a line, if it is there; before the form has a size, once it has one."""
        if not self._lines:
            self._cursor = id
        elif any(line.id == id for line in self._lines):
            self._cursor = id
            self._after_move()

    def value_region(self, key: str) -> Region | None:
        """Where a field's value is drawn, in the form's own cells; None while it is out of sight."""
        row = next((row for row, line in enumerate(self._lines) if line.id == key), None)
        if row is None:
            return None
        y = row - self.scroll_offset.y
        if not 0 <= y < self.size.height:
            return None
        return Region(VALUE_COLUMN, y, max(8, self.size.width - VALUE_COLUMN), 1)

    # How it draws

    def _rebuild(self) -> None:
        width = self.size.width
        if not width:
            return
        has_moved = not self._lines
        self._lines = form_lines(self._state, width - 2)
        self.virtual_size = Size(width, len(self._lines))
        if not any(line.id == self._cursor for line in self._lines):
            self._cursor = self._nearest_id()
            has_moved = True
        if has_moved:
            self.post_message(self.Moved(self._cursor))
        self._strips.clear()
        self.refresh()

    def _nearest_id(self) -> str:
        group = self._cursor.partition(".")[0] if "." in self._cursor else ""
        return group_id("finetune" if self._cursor.startswith("layer:") else group)

    def on_resize(self) -> None:
        """Fold anew, and keep the cursor in sight."""
        self._rebuild()
        self.reveal_cursor()

    def on_focus(self) -> None:
        """The cursor shows."""
        self._strips.clear()
        self.refresh()

    def on_blur(self) -> None:
        """The cursor pales."""
        self._strips.clear()
        self.refresh()

    def notify_style_update(self) -> None:
        """Another theme has other colours."""
        super().notify_style_update()
        self._strips.clear()

    def render_line(self, y: int) -> Strip:
        """One row of cells."""
        row = y + self.scroll_offset.y
        if row not in self._strips:
            self._strips[row] = self._draw(row)
        return self._strips[row]

    def _draw(self, row: int) -> Strip:
        width = self.size.width
        if row >= len(self._lines):
            return Strip.blank(width, self.rich_style)
        line = self._lines[row]
        colours = palette_of(self.app.theme)
        text = draw_line(line, self._state, width - 1, colours)
        segments = [Segment(" "), *text.render(self.app.console)]
        style = self.rich_style
        if line.id and line.id == self._cursor:
            style += self.get_component_rich_style("form--cursor") if self.has_focus else Style(bold=True)
        strip = Strip(segments).adjust_cell_length(width)
        return strip.apply_style(style) if style else strip

    COMPONENT_CLASSES: ClassVar[set[str]] = {"form--cursor"}

    # How it moves

    def action_move(self, by: int) -> None:
        """To the next line that can have the cursor."""
        ids = self._ids()
        if self._cursor in ids:
            self._to(ids[max(0, min(len(ids) - 1, ids.index(self._cursor) + by))])

    def action_jump(self, to: int) -> None:
        """To the first or the last line."""
        ids = self._ids()
        if ids:
            self._to(ids[to])

    def action_page(self, by: int) -> None:
        """By as many lines as are in sight."""
        self.action_move(by * max(1, self.size.height - 1))

    def _ids(self) -> list[str]:
        return [line.id for line in self._lines if line.id]

    def _to(self, id: str) -> None:
        if id != self._cursor:
            self._cursor = id
            self._after_move()

    def _after_move(self) -> None:
        self._strips.clear()
        self.refresh()
        self.reveal_cursor()
        self.post_message(self.Moved(self._cursor))

    def reveal_cursor(self) -> None:
        """Scroll so that the line under the cursor is in sight, with what is said of it."""
        row = self._row()
        if row is None:
            return
        below = row
        while below + 1 < len(self._lines) and not self._lines[below + 1].id:
            below += 1  # with what is said of it
        above = min(row, _MARGIN)
        region = Region(0, row - above, 1, below - row + 1 + above + _MARGIN)
        self.scroll_to_region(region, animate=False)

    def _row(self) -> int | None:
        return next((row for row, line in enumerate(self._lines) if line.id == self._cursor), None)

    def _line_under_cursor(self) -> Line | None:
        row = self._row()
        return None if row is None else self._lines[row]

    # How it changes things

    def action_enter(self) -> None:
        """Open or close a group, tick a box, list choices, or type a value."""
        line = self._line_under_cursor()
        if line is None:
            return
        if line.kind is LineKind.FIELD and line.field is not None and not _is_turned(line.field):
            self.post_message(self.Asked(line.field))
        else:
            self.action_change()

    def action_change(self) -> None:
        """Open or close a group, tick a box, go to the next value, or type one."""
        line = self._line_under_cursor()
        if line is None:
            return
        if line.kind is LineKind.GROUP and line.group is not None:
            self.post_message(self.Opened(line.group.name, line.group.name not in self._state.opened))
        elif line.kind is LineKind.LAYER:
            self._tick_layer(line)
        elif line.field is not None and not self._turned(line.field, 1):
            self.post_message(self.Asked(line.field))

    def action_turn(self, by: int) -> None:
        """The next or the previous value of a choice; a group opens to the right and closes to the left."""
        line = self._line_under_cursor()
        if line is None:
            return
        if line.kind is LineKind.GROUP and line.group is not None:
            self.post_message(self.Opened(line.group.name, by > 0))
        elif line.kind is LineKind.LAYER:
            learns = self._learns(line)
            if learns != (by > 0):
                self._tick_layer(line)
        elif line.field is not None:
            self._turned(line.field, by)

    def _turned(self, one: FormField, by: int) -> bool:
        """Go on to another of the field's choices; whether it has any."""
        if not one.choices or one.key == LAYERS:
            return False
        value = self._state.draft.look()[one.key]
        literal = "" if value is None else toml_literal(value)
        place = one.choices.index(literal) + by if literal in one.choices else 0
        self.post_message(self.Set(one.key, one.choices[place % len(one.choices)] or None))
        return True

    def _learns(self, line: Line) -> bool:
        network = self._state.network
        assert network is not None
        assert line.layer is not None
        return line.layer.name in network.learning(self._state.draft.look()[LAYERS])

    def _tick_layer(self, line: Line) -> None:
        """Let a group learn or not; all of them are "all", and the head alone is always something."""
        network = self._state.network
        assert network is not None
        assert line.layer is not None
        learning = set(network.learning(self._state.draft.look()[LAYERS])) ^ {line.layer.name}
        names = [name for name in network.group_names if name in learning]
        self.post_message(self.Set(LAYERS, '"all"' if names == network.group_names else toml_literal(names)))

    def on_click(self, event: events.Click) -> None:
        """Go there; a group, a tick box, a choice, and what is under the cursor already, change."""
        offset = event.get_content_offset(self)
        if offset is None:
            return
        row = offset.y + self.scroll_offset.y
        if row >= len(self._lines) or not self._lines[row].id:
            return
        line = self._lines[row]
        was_there = line.id == self._cursor
        self._to(line.id)
        if line.kind in (LineKind.GROUP, LineKind.LAYER):
            self.action_change()
        elif was_there or (line.field is not None and line.field.choices and offset.x >= VALUE_COLUMN):
            self.action_enter()
