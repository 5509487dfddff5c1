"""Which columns the table has: any key, those chosen first and in their order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from workbench.support.clean import clean
from workbench.tui.screens.place import GuardedLoop


class ChooseColumns(GuardedLoop, ModalScreen[None]):
    """A list of columns to tick; every change is shown at once.

    Args:
        keys: every column there could be, standard ones first.
        chosen: those shown now.
        example: what a column says of the run under the cursor.
        show: called with the columns chosen from now on; empty for those that fit.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "close"),
        Binding("down", "move(1)", "next", priority=True),
        Binding("up", "move(-1)", "previous", priority=True),
        Binding("ctrl+down,shift+down", "shift(1)", "later", priority=True),
        Binding("ctrl+up,shift+up", "shift(-1)", "sooner", priority=True),
        Binding("ctrl+r", "standard", "standard", priority=True),
    ]

    def __init__(
        self,
        keys: Sequence[str],
        chosen: Sequence[str],
        example: Callable[[str], str],
        show: Callable[[tuple[str, ...]], object],
    ) -> None:
        super().__init__(classes="asking")
        self._keys, self._chosen, self._example, self._show = list(keys), list(chosen), example, show
        self._shown: list[str] = []

    def compose(self) -> ComposeResult:
        """A line to narrow by, the list, the keys."""
        with Vertical(classes="box tall"):
            yield Static(Text("Columns", "bold"))
            yield Input(placeholder="type to narrow: accuracy, lr, backbone …")
            yield OptionList()
            yield Static(
                Text("enter shows, hides   shift+↑↓ moves   ^r standard   esc closes"), classes="keys"
            )

    def on_mount(self) -> None:
        """Show all, the chosen ones first."""
        self._list()

    @on(Input.Changed)
    def _typed(self, message: Input.Changed) -> None:
        message.stop()
        self._list()

    @on(Input.Submitted)
    def _entered(self, message: Input.Submitted) -> None:
        message.stop()
        self._toggle()

    @on(OptionList.OptionSelected)
    def _picked(self, message: OptionList.OptionSelected) -> None:
        message.stop()
        self._toggle()

    @property
    def _here(self) -> str | None:
        highlighted = self.query_one(OptionList).highlighted
        return None if highlighted is None else self._shown[highlighted]

    def _toggle(self) -> None:
        key = self._here
        if key is None:
            return
        if key in self._chosen:
            self._chosen.remove(key)
        else:
            self._chosen.append(key)
        self._apply(key)

    def action_move(self, by: int) -> None:
        """Move the cursor of the list while the line keeps the focus."""
        options = self.query_one(OptionList)
        if options.highlighted is not None:
            options.highlighted = (options.highlighted + by) % len(self._shown)

    def action_shift(self, by: int) -> None:
        """Move a chosen column to the left or right."""
        key = self._here
        if key not in self._chosen:
            return
        place = self._chosen.index(key)
        self._chosen.insert(max(0, place + by), self._chosen.pop(place))
        self._apply(key)

    def action_standard(self) -> None:
        """The columns that fit, as at first."""
        self._chosen = []
        self._apply(None)

    def _apply(self, key: str | None) -> None:
        self._show(tuple(self._chosen))
        self._list(key)

    def _list(self, cursor: str | None = None) -> None:
        words = self.query_one(Input).value.casefold().split()
        others = [key for key in self._keys if key not in self._chosen]
        ordered = [*self._chosen, *(sorted(others, key=len) if words else others)]
        self._shown = [key for key in ordered if all(word in key.casefold() for word in words)]
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options([Option(self._line(key)) for key in self._shown])
        if self._shown:
            options.highlighted = self._shown.index(cursor) if cursor in self._shown else 0

    def _line(self, key: str) -> Text:
        line = Text(
            f"[{'x' if key in self._chosen else ' '}] {clean(key)}", no_wrap=True, overflow="ellipsis"
        )
        example = clean(self._example(key), 30)
        if example and example != "–":
            line.append(f"  {example}", style="dim")
        return line
