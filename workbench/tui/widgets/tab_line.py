"""The line of tabs: keys and names on the left, the open one lit; what is shown on the right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text
from textual import events
from textual.app import RenderResult
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from workbench.tui.actions import Action
from workbench.tui.themes import palette_of


class TabLine(Widget):
    """Draws one tab an action; a click on one posts `Chosen`.

    Args:
        actions: those that open the tabs.
        gap: cells between two tabs.
    """

    DEFAULT_CSS = "TabLine { height: 1; padding: 0 1; }"

    chosen: reactive[str] = reactive("")
    """The name of the open tab's action."""
    words: reactive[str] = reactive("")

    @dataclass
    class Chosen(Message):
        """A tab was clicked."""

        action: Action

    def __init__(self, actions: Sequence[Action], *, gap: int = 2) -> None:
        super().__init__()
        self._actions = tuple(actions)
        self._gap = " " * gap
        self._spans: list[tuple[int, int, Action]] = []

    def render(self) -> RenderResult:
        """The tabs, then the words where there is room for them."""
        colours, width = palette_of(self.app.theme), self.size.width
        line = Text(no_wrap=True, end="")
        self._spans = []
        for action in self._actions:
            start = line.cell_len
            here = action.name == self.chosen
            line.append(f"{action.shown_key} ", f"bold {colours.accent}")
            line.append(action.label, f"bold underline {colours.text}" if here else colours.muted)
            self._spans.append((start, line.cell_len, action))
            line.append(self._gap)
        line.truncate(max(0, width), overflow="ellipsis")
        words = Text(self.words, style=colours.muted, no_wrap=True, end="")
        words.truncate(max(0, width - line.cell_len), overflow="ellipsis")
        line.append(" " * max(0, width - line.cell_len - words.cell_len))
        return line.append_text(words)

    def on_click(self, event: events.Click) -> None:
        """Open the tab that was clicked."""
        at = event.get_content_offset(self)
        for start, end, action in self._spans:
            if at is not None and start <= at.x < end:
                self.post_message(self.Chosen(action))
