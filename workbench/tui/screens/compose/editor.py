"""The line that a field's value is typed in, over the field's place on the form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input

from workbench.support.clean import clean
from workbench.tui.screens.compose.fields import FormField


class FieldEditor(Input):
    """Shown while a field is being typed in; what is pasted becomes harmless text first."""

    DEFAULT_CSS = """
    FieldEditor {
        position: absolute; layer: above; display: none;
        height: 1; border: none; padding: 0; background: $panel; color: $foreground;
    }
    FieldEditor:focus { border: none; background-tint: $accent 20%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave(0)", "leave", show=False),
        Binding("enter,down,tab", "leave(1)", "next", show=False),
        Binding("up,shift+tab", "leave(-1)", "previous", show=False),
    ]

    @dataclass
    class Left(Message):
        """Typing is over."""

        by: int
        """Fields to move on by."""

    def __init__(self) -> None:
        super().__init__(compact=True, select_on_focus=False)
        self.field: FormField | None = None

    def open(self, field: FormField, typed: str) -> None:
        """Begin with what the field holds."""
        self.field = field
        with self.prevent(Input.Changed):
            self.value = typed
        self.cursor_position = len(typed)
        self.display = True
        self.focus()

    def close(self) -> None:
        """Be gone."""
        self.field = None
        self.display = False

    def action_leave(self, by: int) -> None:
        """Say that typing is over."""
        self.post_message(self.Left(by))

    def replace(self, text: str, start: int, end: int) -> None:
        """What is typed or pasted, harmless."""
        super().replace(clean(text), start, end)

    def insert_text_at_cursor(self, text: str) -> None:
        """What is typed or pasted, harmless."""
        super().insert_text_at_cursor(clean(text))
