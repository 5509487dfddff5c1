"""A line of words, some of which do something when clicked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text
from textual import events
from textual.app import RenderResult
from textual.message import Message
from textual.widget import Widget


@dataclass(frozen=True, slots=True)
class Word:
    """A piece of the line."""

    text: Text
    action: str = ""
    """Id of the action that a click on it does; empty for none."""


class ActionLine(Widget):
    """Words from the left, and one more at the right end; a click posts `Chosen`."""

    DEFAULT_CSS = "ActionLine { height: 1; padding: 0 1; }"

    @dataclass
    class Chosen(Message):
        """A word with an action was clicked."""

        action: str

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._words: tuple[Word, ...] = ()
        self._right = Text()
        self._spans: list[tuple[int, int, str]] = []

    def show(self, words: Sequence[Word], right: Text | None = None) -> None:
        """Show other words; `right` stays whole when they do not all fit."""
        self._words, self._right = tuple(words), right or Text()
        self.refresh()

    def render(self) -> RenderResult:
        width = self.size.width
        room = max(0, width - self._right.cell_len - (1 if self._right else 0))
        line = Text(no_wrap=True, end="")
        self._spans = []
        for number, word in enumerate(self._words):
            if number:
                line.append("  ")
            start = line.cell_len
            line.append_text(word.text)
            if word.action:
                self._spans.append((start, line.cell_len, word.action))
        line.truncate(room, overflow="ellipsis", pad=True)
        if self._right:
            line.append(" ").append_text(self._right)
        return line

    def on_click(self, event: events.Click) -> None:
        """Do what was clicked."""
        place = event.get_content_offset(self)
        for start, end, action in self._spans:
            if place is not None and start <= place.x < end:
                self.post_message(self.Chosen(action))
