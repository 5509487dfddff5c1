"""The form: lines to move through, and one to type in. It says what the user wants, and changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip

from workbench.support.toml_text import toml_literal
from workbench.tui.screens.compose.editors import FieldEditor
from workbench.tui.screens.compose.form_lines import (
    VALUE_COLUMN,
    FormState,
    Line,
    LineKind,
    draw_line,
    form_lines,
    group_id,
)
from workbench.tui.screens.compose.knob_fields import LAYERS, FieldKind, FormField
from workbench.tui.themes import palette_of
from workbench.tui.widgets.line_list import LineList

_MARGIN = 2
"""Lines kept in sight above and below the cursor's."""
_FEW = 3
"""Choices that Enter goes through; more are listed."""


def _is_turned(field: FormField) -> bool:
    """Whether Enter goes to the next value: what else it would do is to type or list."""
    return field.kind is FieldKind.CHOICE and len(field.choices) <= _FEW


class Form(LineList):
    """Draws a `FormState`, a line a field; a line's id is a field's key, `group:NAME` or `layer:NAME`."""

    DEFAULT_CSS = "Form { overflow-x: hidden; }"
    COMPONENT_CLASSES: ClassVar[set[str]] = {"form--cursor"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "turn(-1)", "previous value", show=False),
        Binding("right", "turn(1)", "next value", show=False),
        Binding("space", "change", "change", show=False),
        Binding("enter", "enter", "edit", show=False),
        Binding("g", "jump(0)", "top", show=False),
        Binding("G", "jump(-1)", "end", show=False),
    ]

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
        super().__init__(group_id(""), classes="first-focus")
        self._state = state
        self._lines: list[Line] = []

    # What the screen asks

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
        elif id == self.cursor:
            self.reveal_cursor()
            self.post_message(self.Moved(id))
        elif self.row_of(id) is not None:
            super().move_to(id)

    def value_region(self, key: str) -> Region | None:
        """Where a field's value is drawn, in the form's own cells; None while it is out of sight."""
        row = self.row_of(key)
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
        is_first = not self._lines
        self._lines = form_lines(self._state, width - 2)
        has_moved = self.set_lines(
            [line.id for line in self._lines], width=width, otherwise=self._group_of(self.cursor)
        )
        if has_moved or is_first:
            self.post_message(self.Moved(self.cursor))
        self.refresh()

    @staticmethod
    def _group_of(id: str) -> str:
        """Where the cursor goes from a line that is gone."""
        group = id.partition(".")[0] if "." in id else ""
        return group_id("finetune" if id.startswith("layer:") else group)

    def on_resize(self) -> None:
        """Fold anew, and keep the cursor in sight."""
        self._rebuild()
        self.reveal_cursor()

    def on_focus(self) -> None:
        """The cursor shows."""
        self.refresh()

    def on_blur(self) -> None:
        """The cursor pales."""
        self.refresh()

    def draw_row(self, row: int) -> Strip:
        """A line of the form."""
        width, line = self.size.width, self._lines[row]
        text = draw_line(line, self._state, width - 1, palette_of(self.app.theme))
        segments = [Segment(" "), *text.render(self.app.console)]
        style = self.rich_style
        if line.id and line.id == self.cursor:
            style += self.get_component_rich_style("form--cursor") if self.has_focus else Style(bold=True)
        strip = Strip(segments).adjust_cell_length(width)
        return strip.apply_style(style) if style else strip

    def reveal_cursor(self) -> None:
        """Scroll so that the line under the cursor is in sight, with what is said of it and those around."""
        row = self.row_of(self.cursor)
        if row is None:
            return
        below = row
        while below + 1 < len(self._lines) and not self._lines[below + 1].id:
            below += 1  # with what is said of it
        self.reveal(max(0, row - _MARGIN), min(below + _MARGIN, len(self._lines) - 1))

    def _line_under_cursor(self) -> Line | None:
        row = self.row_of(self.cursor)
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
        offset, row = event.get_content_offset(self), self.row_at(event)
        if offset is None or row is None or not self._lines[row].id:
            return
        line = self._lines[row]
        was_there = line.id == self.cursor
        if not was_there:
            self.move_to(line.id)
        if line.kind in (LineKind.GROUP, LineKind.LAYER):
            self.action_change()
        elif was_there or (line.field is not None and line.field.choices and offset.x >= VALUE_COLUMN):
            self.action_enter()


class FormPane(Container):
    """The form, and the line that a value is typed in, over the field's place."""

    def __init__(self, state: FormState) -> None:
        super().__init__(id="form-pane")
        self.form, self.editor = Form(state), FieldEditor()

    def compose(self) -> ComposeResult:
        """The line lies above."""
        yield self.form
        yield self.editor

    def open_editor(self, field: FormField, typed: str) -> None:
        """Have a field typed in, once it is in sight; the line begins with `typed`."""
        self.form.reveal_cursor()
        self.call_after_refresh(self._open_editor, field, typed)

    def _open_editor(self, field: FormField, typed: str) -> None:
        region = self.form.value_region(field.key)
        if region is not None:
            self.editor.styles.offset = (region.x + 1, region.y)
            self.editor.styles.width = region.width - 2
            self.editor.open(field, typed)

    def close_editor(self) -> None:
        """Give the keys back to the form."""
        had_focus = self.editor.has_focus
        self.editor.close()
        if had_focus:
            self.form.focus()
