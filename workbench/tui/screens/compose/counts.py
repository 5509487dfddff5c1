"""The split class by class: labelled, unlabelled, validation and test images."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from workbench.dataset.split_summary import ClassCounts, SplitSummary
from workbench.support.clean import clean
from workbench.tui.screens.guarded import Guarded
from workbench.tui.themes import palette_of

_NAME = 30


class CountsScreen(Guarded, ModalScreen[None]):
    """A table of a split, the classes with the fewest labels first."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,c,enter", "dismiss(None)", "close")]

    def __init__(self, summary: SplitSummary) -> None:
        super().__init__(classes="asking")
        self._summary = summary

    def compose(self) -> ComposeResult:
        """The ceiling, a row a class, the sum."""
        summary, colours = self._summary, palette_of(self.app.theme)
        covered, classes = summary.covered, len(summary.classes)
        ceiling = f"{100 * summary.ceiling:.1f} %"
        told = f"{covered} of {classes} classes have a label: accuracy can reach {ceiling}"
        heads = "".join(f"{word:>12}" for word in ("labelled", "unlabelled", "validation", "test"))
        with Vertical(classes="box tall"):
            yield Static(Text(told, "bold"))
            yield Static(Text(f"{'class':<{_NAME}}{heads}", colours.muted), classes="detail")
            rows = sorted(summary.classes, key=lambda row: row.labelled)
            yield OptionList(*(Option(_row(row, colours.warning)) for row in (*rows, summary.total)))
            yield Static(Text("esc closes"), classes="keys")

    def on_mount(self) -> None:
        """Arrows scroll the list."""
        self.query_one(OptionList).focus()


def _row(row: ClassCounts, colour: str) -> Text:
    numbers = (row.labelled, row.unlabelled, row.validation, row.test)
    text = Text(f"{clean(row.name, _NAME - 1):<{_NAME}}", no_wrap=True)
    return text.append("".join(f"{number:>12,}" for number in numbers), style="" if row.labelled else colour)
