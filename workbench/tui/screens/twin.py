"""`y`: the command lines that give what is on the screen, to read and to copy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from workbench.support.clean import clean
from workbench.tui.screens.guarded import Guarded


class TwinScreen(Guarded, ModalScreen[None]):
    """A list of command lines; Enter or c copies the one under the cursor."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,y", "dismiss(None)", "close"),
        Binding("c", "copy", "copy"),
        Binding("j", "move(1)", "down"),
        Binding("k", "move(-1)", "up"),
    ]

    def __init__(self, commands: Sequence[str], copy: Callable[[str], None]) -> None:
        super().__init__(classes="asking")
        self._commands, self._copy = list(commands), copy

    def compose(self) -> ComposeResult:
        """The commands, folded where they are long."""
        with Vertical(classes="box"):
            yield Static(Text("The same on the command line", "bold"))
            yield OptionList(*(Option(Text(clean(command), overflow="fold")) for command in self._commands))
            yield Static(Text("enter or c copies   esc closes"), classes="keys")

    def on_option_list_option_selected(self, message: OptionList.OptionSelected) -> None:
        """Copy it and close."""
        message.stop()
        self._copy(self._commands[message.option_index])
        self.dismiss(None)

    def action_copy(self) -> None:
        """Copy what is under the cursor and close."""
        highlighted = self.query_one(OptionList).highlighted
        if highlighted is not None:
            self._copy(self._commands[highlighted])
        self.dismiss(None)

    def action_move(self, by: int) -> None:
        """Move the cursor."""
        options = self.query_one(OptionList)
        if by > 0:
            options.action_cursor_down()
        else:
            options.action_cursor_up()
