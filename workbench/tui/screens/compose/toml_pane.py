"""The recipe's TOML to be edited as text; harmful characters in it show as a dot, and stay in the text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import TextArea

from workbench.support.clean import clean
from workbench.tui.themes import Palette, palette_of

_TABLE = re.compile(r"^\s*\[[^#]*\]")
_KEY = re.compile(r"^\s*[A-Za-z0-9_.\"'-]+(?=\s*=)")
# Quotes are stepped over so that a # within text begins no comment.
_PARTS = re.compile(r"\"(?:[^\"\\]|\\.)*+\"|'[^']*+'|(#.*)")


class TomlPane(TextArea):
    """A text area whose changes by the user are told as `Typed`; undo and redo are the screen's."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "to the form", show=False),
        Binding("ctrl+z,super+z", "ask_undo", "undo", show=False),
        Binding("ctrl+y,super+y", "ask_redo", "redo", show=False),
    ]

    @dataclass
    class Typed(Message):
        """The user changed the text."""

        text: str

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

    def show(self, text: str, wrong_line: int | None) -> None:
        """Show a text that came from elsewhere; the cursor stays where it was as far as that is there."""
        self.wrong_line = wrong_line
        if text != self.text:
            self._given = text
            place = self.cursor_location
            scroll = self.scroll_offset
            with self.prevent(TextArea.Changed):
                self.load_text(text)
            last = max(0, self.document.line_count - 1)
            self.move_cursor((min(place[0], last), place[1]))
            self.scroll_to(scroll.x, scroll.y, animate=False)
        self.refresh()

    def on_text_area_changed(self, message: TextArea.Changed) -> None:
        """Tell what was typed."""
        message.stop()
        if self.text != self._given:
            self._given = self.text
            self.post_message(self.Typed(self.text))

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
