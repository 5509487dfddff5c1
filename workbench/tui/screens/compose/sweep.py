"""Before a sweep is launched: how many runs, and which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from workbench.recipe.grid import GridPoint
from workbench.runs.estimate import Estimate
from workbench.support.units import human_seconds
from workbench.tui.screens.guarded import Guarded
from workbench.tui.text import plain


class SweepScreen(Guarded, ModalScreen[bool]):
    """The list of a sweep's runs; closes with whether to launch them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("L,y", "dismiss(True)", "launch"),
        Binding("escape,q,n", "dismiss(False)", "leave"),
    ]

    def __init__(self, points: Sequence[GridPoint], estimate: Estimate | None) -> None:
        super().__init__(classes="asking")
        self._points, self._estimate = list(points), estimate

    def compose(self) -> ComposeResult:
        """The number, the runs, the keys."""
        count = len(self._points)
        with Vertical(classes="box tall"):
            yield Static(Text(f"A sweep of {count} run{'s' if count > 1 else ''}", "bold"), id="count")
            if self._estimate is not None and self._estimate.total_seconds is not None:
                total = human_seconds(count * self._estimate.total_seconds)
                yield Static(Text(f"about {total} one after the other"))
            yield OptionList(*(Option(plain(", ".join(point.changes))) for point in self._points))
            yield Static(Text("L launches them all   esc leaves"), classes="keys")

    def on_mount(self) -> None:
        """Arrows scroll the list."""
        self.query_one(OptionList).focus()
