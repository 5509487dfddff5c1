"""What Label asks on top of itself: a class by its name, a folder, whether to launch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static

from workbench.labels.strokes import Merge, Rename, class_named, completions, rows_of
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.tui.screens.dialogs import AskChoice, AskText, TypedList
from workbench.tui.screens.label.captions import counted
from workbench.tui.screens.label.label_sheet import Tally
from workbench.tui.screens.place import GuardedLoop
from workbench.tui.text import plain, plain_lines

if TYPE_CHECKING:
    from workbench.tui.app import PetbenchApp

LAUNCH, WATCH, COMPOSE = "launch", "watch", "compose"
_MOST_FOLDERS = 200


class AskClass(TypedList):
    """A class by its name: one that there is, or a new one; None when it was left.

    Args:
        completes: whether Enter takes the first class that begins with what was typed; else what was typed
            is a new class unless there is one of that very name.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("tab", "complete", "complete", priority=True)]

    def __init__(self, question: str, tally: Tally, *, completes: bool) -> None:
        super().__init__(question)
        self._tally, self._completes = tally, completes

    def compose(self) -> ComposeResult:
        """The question, the line, what is wrong with it, the classes that fit."""
        with Vertical(classes="box"):
            yield Static(plain_lines(self.question, "bold"))
            yield Input(placeholder="its name")
            yield Static("", classes="problem")
            yield OptionList()
            yield Static(Text("enter takes it   tab completes   esc leaves"), classes="keys")

    def on_mount(self) -> None:
        """All classes."""
        self._narrow("")

    @on(Input.Changed)
    def _typed(self, message: Input.Changed) -> None:
        message.stop()
        self._narrow(message.value)

    def _narrow(self, typed: str) -> None:
        problem, new = self._problem(typed) if typed.strip() else "", ""
        fitting = completions(self._tally.journal, typed)
        if typed.strip() and not problem:
            meant = class_named(self._tally.journal, typed)
            new = "" if meant in fitting else meant
            is_first = meant in fitting or not self._completes
            others = [name for name in fitting if name != meant]
            fitting = [meant, *others] if is_first else [*others, meant]
        self.fill({name: self._line(name, is_new=name == new) for name in fitting})
        self.query_one(".problem", Static).update(plain_lines(problem))

    def _line(self, name: str, *, is_new: bool) -> Text:
        if is_new:
            return Text.assemble("new class ", (clean(name), "bold"))
        line = plain(name)
        line.append(f"  {counted(self._tally.classes[name], 'image', 'images')}", style="dim")
        return line

    @on(Input.Submitted)
    def _take(self, message: Input.Submitted) -> None:
        message.stop()
        problem = self._problem(message.value)
        if problem or self.highlighted is None:
            self.query_one(".problem", Static).update(plain_lines(problem or "type a name"))
        else:
            self.dismiss(self.highlighted)

    def _problem(self, typed: str) -> str:
        """Why a name will not do; of nothing typed, where Enter would take what nobody chose."""
        if not typed.strip():
            return "" if self._completes else "type a name"
        try:
            class_named(self._tally.journal, typed)
        except UserError as error:
            return str(error)
        return ""

    @on(OptionList.OptionSelected)
    def _picked(self, message: OptionList.OptionSelected) -> None:
        message.stop()
        self.dismiss(self.listed[message.option_index])

    def action_complete(self) -> None:
        """Put the class under the cursor into the line."""
        if self.highlighted is not None:
            line = self.query_one(Input)
            line.value = self.highlighted
            line.cursor_position = len(line.value)

    def on_click(self, event: events.Click) -> None:
        """A click beside the box leaves."""
        if event.widget is self:
            self.dismiss(None)


async def ask_rename(bench: PetbenchApp, tally: Tally, chosen: str) -> Rename | None:
    """Which class, and how it is called from now on."""
    old = await bench.push_screen_wait(_class_there_is("Rename which class", tally, chosen))
    if old is None:
        return None
    question = f"{clean(old, 60)} is called from now on"
    name = AskText(question, old, check=lambda typed: rows_of(Rename(old, typed), tally.journal, ""))
    new = await bench.push_screen_wait(name)
    return None if new is None else Rename(old, new)


async def ask_merge(bench: PetbenchApp, tally: Tally, chosen: str) -> Merge | None:
    """Which class, and into which other one."""
    old = await bench.push_screen_wait(_class_there_is("Merge which class", tally, chosen))
    if old is None:
        return None
    question = f"Into which does {clean(old, 60)} go"
    into = await bench.push_screen_wait(_class_there_is(question, tally, without=old))
    return None if into is None else Merge(old, into)


def _class_there_is(question: str, tally: Tally, chosen: str = "", *, without: str = "") -> AskChoice:
    names = [name for name in tally.classes if name != without]
    choices = [(name, f"{clean(name)}  ({tally.classes[name]:,})") for name in names]
    return AskChoice(question, choices, chosen)


class AskFolder(TypedList):
    """A folder that there is, as an absolute path; None when it was left.

    Folders that begin with what was typed are listed; tab goes into the one under the cursor.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("tab", "complete", "complete", priority=True)]

    def __init__(self, question: str, value: str = "") -> None:
        super().__init__(question)
        self._value = value

    def compose(self) -> ComposeResult:
        """The question, the line, what is wrong with it, the folders that fit."""
        with Vertical(classes="box"):
            yield Static(plain_lines(self.question, "bold"))
            yield Input(self._value, placeholder="~/photos", select_on_focus=False)
            yield Static("", classes="problem")
            yield OptionList()
            yield Static(
                Text("enter takes what is typed   tab completes   ↑↓ choose   esc leaves"), classes="keys"
            )

    def on_mount(self) -> None:
        """What lies there."""
        self._list(self._value)

    @on(Input.Changed)
    def _typed(self, message: Input.Changed) -> None:
        message.stop()
        self._say("")
        self._list(message.value)

    def _list(self, typed: str) -> None:
        self.fill({name: plain(f"{name.rpartition('/')[2]}/") for name in folders_beginning(typed)})

    @on(Input.Submitted)
    def _take(self, message: Input.Submitted) -> None:
        message.stop()
        self._answer(message.value)

    @on(OptionList.OptionSelected)
    def _picked(self, message: OptionList.OptionSelected) -> None:
        message.stop()
        self._complete(message.option_index)

    def _answer(self, typed: str) -> None:
        if not typed.strip():
            self._say("type a folder's path")
            return
        path = Path(typed.strip()).expanduser().absolute()
        try:
            is_folder, is_there = path.is_dir(), os.path.lexists(path)
        except (OSError, ValueError) as error:
            self._say(f"{path}: {error}")
            return
        if is_folder:
            self.dismiss(str(path))
        else:
            self._say(f"{path}: {'it is no folder' if is_there else 'no such folder'}")

    def _say(self, problem: str) -> None:
        self.query_one(".problem", Static).update(plain_lines(problem))

    def action_complete(self) -> None:
        """Go into the folder under the cursor."""
        highlighted = self.query_one(OptionList).highlighted
        if highlighted is not None:
            self._complete(highlighted)

    def _complete(self, place: int) -> None:
        line = self.query_one(Input)
        line.value = f"{self.listed[place]}/"
        line.cursor_position = len(line.value)
        line.focus()


def folders_beginning(typed: str) -> Iterator[str]:
    """Folders whose paths begin with what was typed, as it was typed (`~/ph` → `~/photos`); hidden ones too
    where a dot was typed."""
    head, slash, begin = typed.rpartition("/")
    place = Path(head + slash or ".").expanduser()
    try:
        with os.scandir(place) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir())
    except (OSError, ValueError):
        return
    fitting = [name for name in names if name.startswith(begin) and (begin or not name.startswith("."))]
    yield from (f"{head}{slash}{name}" for name in fitting[:_MOST_FOLDERS])


@dataclass(frozen=True, slots=True)
class Written:
    """A recipe that was written for the labels."""

    path: Path
    lines: Sequence[str]
    """What it says and why, for people."""


class AskLaunch(GuardedLoop, ModalScreen[str | None]):
    """`LAUNCH`, `WATCH`, `COMPOSE`, or None when it was left."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,enter", f"answer('{WATCH}')", "launch and watch"),
        Binding("b", f"answer('{LAUNCH}')", "launch and label on"),
        Binding("c", f"answer('{COMPOSE}')", "compose"),
        Binding("n,escape,q", "dismiss(None)", "no"),
    ]

    def __init__(self, written: Written) -> None:
        super().__init__(classes="asking")
        self._written = written

    def compose(self) -> ComposeResult:
        """What was written and why, the command, the keys."""
        with Vertical(classes="box"):
            yield Static(plain("Train on these labels?", "bold"))
            told = "\n".join(f"· {line}" for line in self._written.lines)
            yield Static(plain_lines(told), classes="detail")
            command = plain(f"petbench launch {self._written.path}")
            command.no_wrap, command.overflow = False, "fold"
            yield Static(command, classes="detail")
            keys = "y launch, watch   b launch, label on   c to Compose   n no"
            yield Static(Text(keys), classes="keys")

    def action_answer(self, answer: str) -> None:
        """Close with the answer."""
        self.dismiss(answer)

    def on_click(self, event: events.Click) -> None:
        """A click beside the box is a no."""
        if event.widget is self:
            self.dismiss(None)
