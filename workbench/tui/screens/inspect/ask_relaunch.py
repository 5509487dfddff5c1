"""Before the run's recipe is trained anew: what will be done, and a look at it in Compose instead."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from workbench.tui.screens.guarded import Guarded
from workbench.tui.text import plain, plain_lines

LAUNCH, COMPOSE = "launch", "compose"


class AskRelaunch(Guarded, ModalScreen[str | None]):
    """`LAUNCH`, `COMPOSE`, or None when it was left."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", f"answer('{LAUNCH}')", "launch"),
        Binding("c", f"answer('{COMPOSE}')", "compose"),
        Binding("n,escape,q", "dismiss(None)", "no"),
    ]

    def __init__(self, corrections: int, command: str, warning: str = "") -> None:
        """`warning`: what is given up by it; empty for nothing."""
        super().__init__(classes="asking")
        self._corrections, self._command, self._warning = corrections, command, warning

    def compose(self) -> ComposeResult:
        """What, by which command, the keys."""
        plural = "" if self._corrections == 1 else "s"
        with Vertical(classes="box"):
            yield Static(plain(f"Train again with {self._corrections} correction{plural}?", "bold"))
            command = plain(self._command)
            command.no_wrap, command.overflow = False, "fold"
            yield Static(command, classes="detail")
            if self._warning:
                yield Static(plain_lines(self._warning), classes="problem")
            yield Static(Text("y launch it   c look at the recipe in Compose first   n no"), classes="keys")

    def action_answer(self, answer: str) -> None:
        """Close with the answer."""
        self.dismiss(answer)
