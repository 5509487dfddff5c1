"""`?`: what the keys do on the screen below, and what is focused there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from workbench.tui.actions import SCOPES, Action
from workbench.tui.screens.guarded import Guarded
from workbench.tui.text import plain
from workbench.tui.themes import palette_of

_MOVING = (
    ("arrows or hjkl", "move"),
    ("tab, shift+tab", "next, previous part of the screen"),
    ("mouse", "click to choose, click again to open, wheel to scroll"),
)


class HelpScreen(Guarded, ModalScreen[None]):
    """Every action of a scope with its key, its sentence and its command line."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,enter", "dismiss(None)", "close"),
        Binding("j", "scroll(1)", "down"),
        Binding("k", "scroll(-1)", "up"),
    ]

    def __init__(self, scope: str, focus_help: str) -> None:
        super().__init__(classes="asking")
        self._scope, self._focus_help = scope, focus_help

    def compose(self) -> ComposeResult:
        """What is focused, then the screen's actions, moving about, and the app's actions."""
        accent = f"bold {palette_of(self.app.theme).accent}"
        with Vertical(classes="box tall"):
            yield Static(Text(f"{self._scope.capitalize()}: what the keys do", "bold"))
            with VerticalScroll():
                if self._focus_help:
                    yield Static(plain(self._focus_help), classes="detail")
                yield Static(_table(SCOPES[self._scope], accent))
                moving = _empty_table()
                for keys, what in _MOVING:
                    moving.add_row(Text(keys, accent), Text(what))
                yield Static(moving, classes="detail")
                yield Static(_table(SCOPES["everywhere"], accent), classes="detail")
            yield Static(Text("esc closes"), classes="keys")

    def action_scroll(self, by: int) -> None:
        """Move the text by a line."""
        self.query_one(VerticalScroll).scroll_relative(y=by, animate=False)


def _empty_table() -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    return table


def _table(actions: Sequence[Action], accent: str) -> Table:
    table = _empty_table()
    for action in actions:
        what = Text(action.help)
        if action.twin:
            what.append(f"\n{action.twin}", style="dim")
        table.add_row(Text(action.shown_key, accent), what)
    return table
