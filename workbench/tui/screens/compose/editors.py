"""Where a person types: a field's value over its place on the form, and the recipe's TOML.

Both say that something was typed once typing pauses, and give it at once to whoever asks before.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Input, TextArea

from workbench.support.clean import clean
from workbench.tui.screens.compose.knob_fields import FormField
from workbench.tui.themes import Palette, palette_of

_TYPING_SECONDS = 0.15
"""A pause in typing after which it is looked at what was typed."""
_TABLE = re.compile(r"^\s*\[[^#]*\]")
_KEY = re.compile(r"^\s*[A-Za-z0-9_.\"'-]+(?=\s*=)")
# Quotes are stepped over so that a # within text begins no comment.
_PARTS = re.compile(r"\"(?:[^\"\\]|\\.)*+\"|'[^']*+'|(#.*)")


class PendingText:
    """What was typed and nobody took yet; the widget posts a message once typing pauses."""

    def __init__(self, widget: Widget, message: Callable[[], Message]) -> None:
        self._widget, self._message = widget, message
        self._text: str | None = None
        self._timer: Timer | None = None

    @property
    def is_there(self) -> bool:
        """Whether something waits to be taken."""
        return self._text is not None

    def put(self, text: str) -> None:
        """Keep what was typed in place of what was before, and wait for a pause."""
        self._stop()
        self._text = text
        self._timer = self._widget.set_timer(
            _TYPING_SECONDS, lambda: self._widget.post_message(self._message())
        )

    def take(self) -> str | None:
        """Hand it over; None where there is nothing."""
        self._stop()
        text, self._text = self._text, None
        return text

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer = None


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
    class Paused(Message):
        """Something was typed that `take` gives."""

    @dataclass
    class Left(Message):
        """Typing is over."""

        by: int
        """Fields to move on by."""

    def __init__(self) -> None:
        super().__init__(compact=True, select_on_focus=False)
        self.field: FormField | None = None
        self._pending_text = PendingText(self, self.Paused)

    def open(self, field: FormField, typed: str) -> None:
        """Begin with what the field holds."""
        self.field = field
        self._pending_text.take()
        with self.prevent(Input.Changed):
            self.value = typed
        self.cursor_position = len(typed)
        self.display = True
        self.focus()

    def close(self) -> None:
        """Be gone."""
        self.field = None
        self.display = False

    def take(self) -> str | None:
        """What was typed since it was last taken; None for nothing."""
        return self._pending_text.take()

    def on_input_changed(self, message: Input.Changed) -> None:
        """Wait for a pause in typing."""
        message.stop()
        if self.field is not None:
            self._pending_text.put(message.value)

    def action_leave(self, by: int) -> None:
        """Say that typing is over."""
        self.post_message(self.Left(by))

    def replace(self, text: str, start: int, end: int) -> None:
        """What is typed or pasted, harmless."""
        super().replace(clean(text), start, end)

    def insert_text_at_cursor(self, text: str) -> None:
        """What is typed or pasted, harmless."""
        super().insert_text_at_cursor(clean(text))


class TomlPane(TextArea):
    """The recipe's TOML to be edited as text; undo and redo are the screen's.

    Harmful characters show as a dot, and stay in the text.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "to the form", show=False),
        Binding("ctrl+z,super+z", "ask_undo", "undo", show=False),
        Binding("ctrl+y,super+y", "ask_redo", "redo", show=False),
    ]

    @dataclass
    class Paused(Message):
        """The user changed the text; `take` gives it."""

    @dataclass
    class Left(Message):
        """The user wants to go back to the form."""

    @dataclass
    class Undo(Message):
        """The user wants a step taken back, or made again."""

        redo: bool

    def __init__(self) -> None:
        super().__init__(
            "", soft_wrap=False, show_line_numbers=True, tab_behavior="focus", compact=True, id="toml"
        )
        self.wrong_line: int | None = None
        self._given = ""
        self._pending_text = PendingText(self, self.Paused)

    def show(self, text: str, wrong_line: int | None) -> None:
        """Show a text that came from elsewhere; the cursor stays where it was as far as that is there.

        What the user has typed meanwhile and nobody took stays.
        """
        self.wrong_line = wrong_line
        if text != self.text and not self._pending_text.is_there:
            self._given = text
            place = self.cursor_location
            scroll = self.scroll_offset
            with self.prevent(TextArea.Changed):
                self.load_text(text)
            last = max(0, self.document.line_count - 1)
            self.move_cursor((min(place[0], last), place[1]))
            self.scroll_to(scroll.x, scroll.y, animate=False)
        self.refresh()

    def take(self) -> str | None:
        """The text as the user changed it since it was last taken; None where it was not."""
        return self._pending_text.take()

    def on_text_area_changed(self, message: TextArea.Changed) -> None:
        """Wait for a pause in typing."""
        message.stop()
        if self.text != self._given:
            self._given = self.text
            self._pending_text.put(self.text)

    def get_line(self, line_index: int) -> Text:
        """A line with colours; every harmful character is exchanged for one that shows."""
        line = self.document.get_line(line_index)
        text = Text("".join(_visible(char) for char in line), end="", no_wrap=True)
        _colour(text, palette_of(self.app.theme))
        if self.wrong_line == line_index + 1:
            text.stylize(f"underline {palette_of(self.app.theme).bad}")
        return text

    def action_leave(self) -> None:
        """Back to the form."""
        self.post_message(self.Left())

    def action_ask_undo(self) -> None:
        """The screen has one history for form and text."""
        self.post_message(self.Undo(redo=False))

    def action_ask_redo(self) -> None:
        """The screen has one history for form and text."""
        self.post_message(self.Undo(redo=True))


def _visible(char: str) -> str:
    return char if char == "\t" or clean(char) == char else "·"


def _colour(text: Text, colours: Palette) -> None:
    line = text.plain
    table = _TABLE.match(line)
    if table is not None:
        text.stylize(f"bold {colours.accent}", table.start(), table.end())
    key = _KEY.match(line)
    if key is not None:
        text.stylize(colours.series[1], key.start(), key.end())
    for part in _PARTS.finditer(line):
        if part[1] is not None:
            text.stylize(f"{colours.muted} italic", part.start(), part.end())
        else:
            text.stylize(colours.good, part.start(), part.end())
