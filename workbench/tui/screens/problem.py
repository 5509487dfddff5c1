"""Something went wrong: what, where it is written down, what to press; never a traceback."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from workbench.support.paths import short_path
from workbench.tui.screens.guarded import Guarded
from workbench.tui.text import plain, plain_lines


class ProblemScreen(Guarded, ModalScreen[bool]):
    """A panel over the screen it happened on; closes with whether to go back to the runs.

    Args:
        log: where the whole story is; None for a mistake of the user's, which is told in full.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "dismiss(False)", "close"),
        Binding("r", "dismiss(True)", "runs"),
    ]

    def __init__(self, title: str, story: str, log: Path | None = None) -> None:
        super().__init__(classes="asking problem-panel")
        self._title, self._story, self._log = title, story, log

    def compose(self) -> ComposeResult:
        """The story, then where to read on."""
        with Vertical(classes="box"):
            yield Static(plain_lines(self._title, "bold"))
            with VerticalScroll():
                yield Static(plain_lines(self._story))
                if self._log is not None:
                    yield Static(plain("The traceback is in"), classes="detail")
                    yield Static(Text(str(plain(short_path(self._log))), overflow="fold"))
            yield Static(Text("esc goes on   r back to the runs"), classes="keys")
