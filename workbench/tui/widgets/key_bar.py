"""The line at the bottom: the few keys that matter here; a dim one says why when it is pressed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.text import Text
from textual import events
from textual.app import RenderResult
from textual.message import Message
from textual.widget import Widget

from workbench.tui.actions import Action
from workbench.tui.themes import palette_of


class KeyBar(Widget):
    """Shows `actions`; a click on one posts `Chosen`."""

    DEFAULT_CSS = "KeyBar { height: 1; dock: bottom; background: $panel; padding: 0 1; }"

    @dataclass
    class Chosen(Message):
        """An action was clicked."""

        action: Action

    def __init__(self, actions: Sequence[Action], why_not: Callable[[str], str | None]) -> None:
        super().__init__()
        self._actions = tuple(actions)
        self._why_not = why_not
        self._spans: list[tuple[int, int, Action]] = []

    def render(self) -> RenderResult:
        colours = palette_of(self.app.theme)
        line = Text(no_wrap=True, end="")
        self._spans = []
        for action in self._actions:
            start = line.cell_len
            able = self._why_not(action.id) is None
            line.append(action.shown_key, style=f"bold {colours.accent}" if able else colours.muted)
            line.append(f" {action.label}", style="" if able else f"{colours.muted} dim")
            self._spans.append((start, line.cell_len, action))
            line.append("   ")
        line.truncate(max(0, self.size.width), overflow="ellipsis")
        return line

    def on_click(self, event: events.Click) -> None:
        """Do what was clicked."""
        x = event.get_content_offset(self)
        if x is None:
            return
        for start, end, action in self._spans:
            if start <= x.x < end:
                self.post_message(self.Chosen(action))
