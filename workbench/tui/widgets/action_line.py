"""Lines of words that do something when clicked: any words, the keys at the bottom, the tabs of a screen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.text import Text
from textual import events
from textual.app import RenderResult
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from workbench.tui.actions import Action
from workbench.tui.themes import palette_of


@dataclass(frozen=True, slots=True)
class Word:
    """A piece of the line."""

    text: Text
    action: str = ""
    """Id of the action that a click on it does; empty for none."""


class ActionLine(Widget):
    """Words from the left, and one more at the right end; a click posts `Chosen` to the screen."""

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
        room = max(0, self.size.width - self._right.cell_len - (1 if self._right else 0))
        line = self.lay(self._words, room, gap=2)
        if self._right:
            line.pad_right(room - line.cell_len)
            line.append(" ").append_text(self._right)
        return line

    def lay(self, words: Sequence[Word], room: int, *, gap: int) -> Text:
        """The words in `room` cells, `gap` between two of them; a click finds them where they lie."""
        line = Text(no_wrap=True, end="")
        self._spans = []
        for number, word in enumerate(words):
            line.append(" " * gap if number else "")
            start = line.cell_len
            line.append_text(word.text)
            if word.action:
                self._spans.append((start, line.cell_len, word.action))
        line.truncate(room, overflow="ellipsis")
        return line

    def on_click(self, event: events.Click) -> None:
        """Do what was clicked."""
        place = event.get_content_offset(self)
        for start, end, action in self._spans:
            if place is not None and start <= place.x < end:
                self.post_message(self.Chosen(action))


class KeyBar(ActionLine):
    """The line at the bottom: the few keys that matter here; a dim one says why when it is pressed.

    Args:
        why_not: by an action's id, why it cannot be done now; asked anew at each drawing.
    """

    DEFAULT_CSS = "KeyBar { dock: bottom; background: $panel; }"

    def __init__(self, actions: Sequence[Action], why_not: Callable[[str], str | None]) -> None:
        super().__init__()
        self._actions, self._why_not = tuple(actions), why_not

    def render(self) -> RenderResult:
        colours = palette_of(self.app.theme)
        words = []
        for action in self._actions:
            able = self._why_not(action.id) is None
            text = Text(end="")
            text.append(action.shown_key, style=f"bold {colours.accent}" if able else colours.muted)
            text.append(f" {action.label}", style="" if able else f"{colours.muted} dim")
            words.append(Word(text, action.id))
        return self.lay(words, self.size.width, gap=3)


class TabLine(ActionLine):
    """The tabs of a screen: keys and names on the left, the open one lit; what is shown on the right.

    Args:
        actions: those that open the tabs.
        gap: cells between two tabs.
    """

    chosen: reactive[str] = reactive("")
    """The name of the open tab's action."""
    words: reactive[str] = reactive("")

    def __init__(self, actions: Sequence[Action], *, gap: int = 2) -> None:
        super().__init__()
        self._actions, self._gap = tuple(actions), gap

    def render(self) -> RenderResult:
        """The tabs, then the words where there is room for them."""
        colours, width = palette_of(self.app.theme), self.size.width
        tabs = []
        for action in self._actions:
            text = Text(end="")
            text.append(f"{action.shown_key} ", f"bold {colours.accent}")
            here = action.name == self.chosen
            text.append(action.label, f"bold underline {colours.text}" if here else colours.muted)
            tabs.append(Word(text, action.id))
        line = self.lay(tabs, width, gap=self._gap)
        words = Text(self.words, style=colours.muted, no_wrap=True, end="")
        words.truncate(max(0, width - line.cell_len - self._gap), overflow="ellipsis")
        line.append(" " * max(0, width - line.cell_len - words.cell_len))
        return line.append_text(words)
