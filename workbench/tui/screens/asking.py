"""Small questions on top of a screen: yes or no, one line of text, one of a list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from workbench.support.errors import UserError
from workbench.tui.screens.guarded import Guarded
from workbench.tui.text import plain, plain_lines


class AskYesNo(Guarded, ModalScreen[bool]):
    """A question that ends or throws away something: y does it, anything else does not."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "yes"),
        Binding("n,escape,enter", "answer(False)", "no"),
    ]

    def __init__(self, question: str, detail: str = "") -> None:
        super().__init__(classes="asking")
        self._question, self._detail = question, detail

    def compose(self) -> ComposeResult:
        """The question, what it means, the two keys."""
        with Vertical(classes="box"):
            yield Static(plain_lines(self._question, "bold"))
            if self._detail:
                yield Static(plain_lines(self._detail), classes="detail")
            yield Static(Text("y yes   n no"), classes="keys")

    def action_answer(self, answer: bool) -> None:
        """Close with the answer."""
        self.dismiss(answer)

    def on_click(self, event: events.Click) -> None:
        """A click beside the box is a no."""
        if event.widget is self:
            self.dismiss(False)


class AskText(Guarded, ModalScreen[str | None]):
    """One line of text; None when it was left. `check` raises UserError on text that will not do."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "leave")]

    def __init__(
        self,
        question: str,
        value: str = "",
        *,
        placeholder: str = "",
        check: Callable[[str], object] | None = None,
    ) -> None:
        super().__init__(classes="asking")
        self._question, self._value, self._placeholder, self._check = question, value, placeholder, check

    def compose(self) -> ComposeResult:
        """The question, the line, what is wrong with it."""
        with Vertical(classes="box"):
            yield Static(plain_lines(self._question, "bold"))
            yield Input(self._value, placeholder=self._placeholder, select_on_focus=False)
            yield Static("", classes="problem")
            yield Static(Text("enter takes it   esc leaves"), classes="keys")

    @on(Input.Submitted)
    def _take(self, message: Input.Submitted) -> None:
        message.stop()
        if self._say_problem(message.value):
            self.dismiss(message.value)

    @on(Input.Changed)
    def _look(self, message: Input.Changed) -> None:
        message.stop()
        self._say_problem(message.value)

    def _say_problem(self, value: str) -> bool:
        """Show what is wrong; whether nothing is."""
        problem = ""
        try:
            if self._check is not None:
                self._check(value)
        except UserError as error:
            problem = str(error)
        self.query_one(".problem", Static).update(plain_lines(problem))
        return not problem

    def action_leave(self) -> None:
        """Close without an answer."""
        self.dismiss(None)


class AskChoice(Guarded, ModalScreen[str | None]):
    """One of a list, narrowed by typing; None when it was left.

    Args:
        choices: (value, how it reads); values are unique.
        chosen: the value under the cursor at first.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "leave"),
        Binding("down", "move(1)", "next", priority=True),
        Binding("up", "move(-1)", "previous", priority=True),
    ]

    def __init__(self, question: str, choices: Sequence[tuple[str, str]], chosen: str = "") -> None:
        super().__init__(classes="asking")
        self._question, self._choices, self._chosen = question, list(choices), chosen
        self._shown: list[str] = []

    def compose(self) -> ComposeResult:
        """The question, a line to narrow by, the list."""
        with Vertical(classes="box tall"):
            yield Static(plain_lines(self._question, "bold"))
            yield Input(placeholder="type to narrow")
            yield OptionList()

    def on_mount(self) -> None:
        """Show all."""
        self._narrow("")

    @on(Input.Changed)
    def _typed(self, message: Input.Changed) -> None:
        message.stop()
        self._narrow(message.value)

    def _narrow(self, typed: str) -> None:
        words = typed.casefold().split()
        fitting = [(v, t) for v, t in self._choices if all(word in t.casefold() for word in words)]
        self._shown = [value for value, _ in fitting]
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options([Option(plain(text)) for _, text in fitting])
        if fitting:
            options.highlighted = self._shown.index(self._chosen) if self._chosen in self._shown else 0

    @on(Input.Submitted)
    def _take(self, message: Input.Submitted) -> None:
        message.stop()
        highlighted = self.query_one(OptionList).highlighted
        if highlighted is not None:
            self.dismiss(self._shown[highlighted])

    @on(OptionList.OptionSelected)
    def _picked(self, message: OptionList.OptionSelected) -> None:
        message.stop()
        self.dismiss(self._shown[message.option_index])

    def action_move(self, by: int) -> None:
        """Move the cursor of the list while the line keeps the focus."""
        options = self.query_one(OptionList)
        if options.highlighted is not None:
            options.highlighted = (options.highlighted + by) % len(self._shown)

    def action_leave(self) -> None:
        """Close without an answer."""
        self.dismiss(None)
