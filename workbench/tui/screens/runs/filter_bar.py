"""The filter's line: what is typed, how many runs fit, and under it what is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input, Label, Static

from workbench.tui.screens.runs.run_list import Listing
from workbench.tui.text import plain_lines

EXAMPLE = "pseudo.labelled_fraction=0.1 and test.accuracy>0.85"
LANGUAGE = (
    "words find names and tags; key=value, key>value; tag:good; has:teacher; and, or, not, (…); "
    "enter goes to the runs, esc clears"
)


class FilterInput(Input):
    """The line itself: Enter and Down go on to the runs, Escape gives the filter up."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "leave", "to the runs", show=False, id="filter.down"),
        Binding("escape", "clear", "clear", show=False, id="filter.clear"),
    ]

    class Left(Message):
        """On to the runs."""

    def action_leave(self) -> None:
        """On to the runs; the filter stays."""
        self.post_message(self.Left())

    def action_clear(self) -> None:
        """No filter, and on to the runs."""
        self.value = ""
        self.post_message(self.Left())


class FilterBar(Vertical):
    """Posts `Changed` while somebody types."""

    DEFAULT_CSS = """
    FilterBar { height: auto; }
    FilterBar Horizontal { height: 1; }
    FilterBar #slash { width: 2; padding: 0 0 0 1; color: $text-muted; }
    FilterBar FilterInput { border: none; height: 1; padding: 0 1; width: 1fr; background: $background; }
    FilterBar FilterInput:focus { border: none; background: $panel; }
    FilterBar #count { width: auto; padding: 0 1; color: $text-muted; }
    FilterBar #problem { height: auto; max-height: 4; padding: 0 2; display: none; color: $error; }
    FilterBar #problem.-hint { color: $text-muted; }
    """

    @dataclass
    class Changed(Message):
        """Another text stands there."""

        text: str

    def compose(self) -> ComposeResult:
        """The line, the count, the problem."""
        with Horizontal():
            yield Label("/", id="slash")
            line = FilterInput(
                placeholder=f"filter, such as {EXAMPLE}", select_on_focus=False, max_length=4096
            )
            line.tooltip = LANGUAGE
            yield line
            yield Label("", id="count")
        yield Static("", id="problem", markup=False)

    @property
    def text(self) -> str:
        """What is typed."""
        return self.query_one(FilterInput).value

    def write(self, text: str) -> None:
        """Put a text there, as if typed."""
        self.query_one(FilterInput).value = text

    def start_typing(self) -> None:
        """Take the focus, at once: the next letters may have been typed already."""
        self.screen.set_focus(self.query_one(FilterInput))

    def show_listing(self, listing: Listing, reading: str) -> None:
        """Say how many fit, or what is wrong; `reading` says that runs are still being read."""
        problem = self.query_one("#problem", Static)
        typing = self.query_one(FilterInput).has_focus
        hint = "" if not typing else "  ".join(listing.suggestions) if self.text else LANGUAGE
        problem.update(plain_lines(listing.problem or hint))
        problem.set_class(not listing.problem, "-hint")
        problem.display = bool(listing.problem or hint)
        self.query_one("#count", Label).update(Text(_count(listing, reading)))

    @on(Input.Changed)
    def _typed(self, message: Input.Changed) -> None:
        message.stop()
        self.post_message(self.Changed(message.value))

    @on(Input.Submitted)
    def _submitted(self, message: Input.Submitted) -> None:
        message.stop()
        self.post_message(FilterInput.Left())


def _count(listing: Listing, reading: str) -> str:
    parts = [reading] if reading else []
    if listing.is_kept:
        parts.append("as before:")
    parts.append(
        f"{len(listing.rows):,} of {listing.of:,}" if listing.query.filter.strip() else f"{listing.of:,} runs"
    )
    if listing.hidden:
        parts.append(f"+{listing.hidden:,} archived")
    return " ".join(parts)
