"""What opens on top of any screen: small questions, its keys, its command lines, what went wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.paths import short_path
from workbench.tui.actions import SCOPES, Action
from workbench.tui.screens.place import GuardedLoop
from workbench.tui.text import plain, plain_lines
from workbench.tui.themes import palette_of


class AskYesNo(GuardedLoop, ModalScreen[bool]):
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


class AskText(GuardedLoop, ModalScreen[str | None]):
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


class TypedList(GuardedLoop, ModalScreen[str | None]):
    """A line to type into, and a list below that what is typed decides; None when it was left."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "leave"),
        Binding("down", "move(1)", "next", priority=True),
        Binding("up", "move(-1)", "previous", priority=True),
    ]

    def __init__(self, question: str) -> None:
        super().__init__(classes="asking")
        self.question = question
        self.listed: list[str] = []
        """What stands in the list."""

    @property
    def highlighted(self) -> str | None:
        """What the list's cursor is on."""
        place = self.query_one(OptionList).highlighted
        return None if place is None else self.listed[place]

    def fill(self, lines: Mapping[str, Text], at: str = "") -> None:
        """Have these in the list, the cursor on one of them, else on the first."""
        self.listed = list(lines)
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options([Option(line) for line in lines.values()])
        options.highlighted = (self.listed.index(at) if at in lines else 0) if lines else None

    def action_move(self, by: int) -> None:
        """Move the cursor of the list while the line keeps the focus."""
        options = self.query_one(OptionList)
        if options.highlighted is not None:
            options.highlighted = (options.highlighted + by) % len(self.listed)

    def action_leave(self) -> None:
        """Close without an answer."""
        self.dismiss(None)


class AskChoice(TypedList):
    """One of a list, narrowed by typing; None when it was left.

    Args:
        choices: (value, how it reads); values are unique.
        chosen: the value under the cursor at first.
        makes: the value that what was typed means where it is none of the choices; raises UserError on text
            that will not do. Without it there are no others.
    """

    def __init__(
        self,
        question: str,
        choices: Sequence[tuple[str, str]],
        chosen: str = "",
        *,
        makes: Callable[[str], str] | None = None,
    ) -> None:
        super().__init__(question)
        self._choices, self._chosen, self._makes = list(choices), chosen, makes

    def compose(self) -> ComposeResult:
        """The question, a line to narrow by, the list."""
        with Vertical(classes="box tall"):
            yield Static(plain_lines(self.question, "bold"))
            yield Input(
                placeholder="type to narrow" if self._makes is None else "type to narrow, or a new name"
            )
            yield Static("", classes="problem")
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
        begun = " ".join(words)
        fitting.sort(key=lambda one: (one[0].casefold() != begun, not one[0].casefold().startswith(begun)))
        made = self._made(typed)
        if made and made not in [value for value, _ in fitting]:
            fitting.append((made, f"new: {clean(made)}"))
        self.fill({value: plain(text) for value, text in fitting}, self._chosen)

    def _made(self, typed: str) -> str:
        """What was typed as a value of its own; empty where it is none, and said if it will not do."""
        problem = made = ""
        if self._makes is not None and typed.strip():
            try:
                made = self._makes(typed)
            except UserError as error:
                problem = str(error)
        told = self.query_one(".problem", Static)
        told.display = bool(problem)
        told.update(plain_lines(problem))
        return made

    @on(Input.Submitted)
    def _take(self, message: Input.Submitted) -> None:
        message.stop()
        if self.highlighted is not None:
            self.dismiss(self.highlighted)

    @on(OptionList.OptionSelected)
    def _picked(self, message: OptionList.OptionSelected) -> None:
        message.stop()
        self.dismiss(self.listed[message.option_index])


_MOVING = (
    ("arrows or hjkl", "move"),
    ("tab, shift+tab", "next, previous part of the screen"),
    ("mouse", "click to choose, click again to open, wheel to scroll"),
)


class HelpScreen(GuardedLoop, ModalScreen[None]):
    """`?`: every action of a scope with its key, its sentence and its command line."""

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


class TwinScreen(GuardedLoop, ModalScreen[None]):
    """`y`: the command lines that give what is on the screen; Enter or c copies the one under the cursor."""

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


class ProblemScreen(GuardedLoop, ModalScreen[bool]):
    """What went wrong, where it is written down, what to press; never a traceback.

    It lies over the screen it happened on, and closes with whether to go back to the runs.

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
