"""What the five screens share: keys from the registry, refusals with a reason, the bars, kept state."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import Screen
from textual.widget import Widget

from workbench.runs.summary import RunSummary
from workbench.runs.watching import RunsView
from workbench.support.errors import UserError
from workbench.tui.actions import ACTIONS, SCOPES, Action
from workbench.tui.places import Place
from workbench.tui.screens.guarded import Guarded
from workbench.tui.widgets.key_bar import KeyBar
from workbench.tui.widgets.top_bar import TopBar

if TYPE_CHECKING:
    from workbench.tui.app import PetbenchApp

WIDE_COLUMNS = 120
"""From this width on, screens show panels side by side."""

AnyPlace = TypeVar("AnyPlace", bound=Place)


def bindings_of(scope: str) -> list[Binding]:
    """Textual's bindings for the registry's actions of `scope`; a screen's BINDINGS."""
    return [
        Binding(a.key, f"act('{a.id}')", a.label, show=False, tooltip=a.help, id=a.id) for a in SCOPES[scope]
    ]


class PlaceScreen(Guarded, Screen[None], Generic[AnyPlace]):
    """A screen that shows a place.

    A subclass sets `SCOPE` and `BINDINGS = bindings_of(SCOPE)`, lays out `body`, and has `do_NAME` for every
    action of its scope. `why_not` refuses actions with a reason, `twin` tells the command line, `kept` and
    `restore` what the session remembers. `-wide` and `-narrow` are set on it as classes for its styles.
    """

    SCOPE: ClassVar[str]
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (WIDE_COLUMNS, "-wide")]  # noqa: RUF012 - as Textual has it
    AUTO_FOCUS: ClassVar[str | None] = ".first-focus"

    def __init__(self, place: AnyPlace) -> None:
        super().__init__()
        self.place: AnyPlace = place

    @property
    def bench(self) -> PetbenchApp:
        """The app, with its own methods known."""
        return cast("PetbenchApp", self.app)

    def compose(self) -> ComposeResult:
        """The bars around the subclass's `body`."""
        shown = [*(a for a in SCOPES[self.SCOPE] if a.footer)][:5]
        yield TopBar(self.title_text())
        with Vertical(id="body"):
            yield from self.body()
        yield KeyBar([*shown, ACTIONS["everywhere.help"]], self._refusal)

    def on_mount(self) -> None:
        """Bring back what was kept, and show what is known already."""
        self.restore(self.bench.session.section(self.SCOPE))
        self.show_clock()
        self._show_view()

    def on_screen_resume(self) -> None:
        """Another screen was on top: catch up."""
        self.show_clock()
        self._show_view()

    # What a subclass tells

    def title_text(self) -> str:
        """What the top bar says after the app's name; empty for nothing."""
        return ""

    def body(self) -> Iterable[Widget]:
        """The screen's own widgets; one of class `first-focus` gets the focus."""
        raise NotImplementedError

    def why_not(self, action: str) -> str | None:
        """Why the action (by its id) cannot be done now, as a sentence; None when it can."""
        return None

    def twin(self) -> list[str]:
        """The command lines that give what is on the screen, most fitting first."""
        raise NotImplementedError

    def kept(self) -> Mapping[str, Any]:
        """What the session shall remember, as JSON values."""
        return {}

    def restore(self, values: Mapping[str, Any]) -> None:
        """Take up what `kept` returned in an earlier life; the values are not to be trusted."""

    def runs_changed(self, view: RunsView) -> None:
        """The runs directory changed, or the screen is shown again."""

    def focus_help(self) -> str:
        """A sentence on what has the focus, for the help screen; empty for nothing special."""
        focused = self.focused
        return str(focused.tooltip or "") if focused is not None else ""

    # What a subclass calls

    def keep(self) -> None:
        """Have the session remember `kept` from now on; call it whenever that changed."""
        self.bench.session.keep(self.SCOPE, self.kept())

    def refresh_keys(self) -> None:
        """Draw the key bar anew after something changed what can be done."""
        self.query_one(KeyBar).refresh()

    def retitle(self) -> None:
        """Have the top bar say `title_text` as it is now."""
        self.query_one(TopBar).retitle(self.title_text())

    def find_summary(self, run_id: str) -> RunSummary | None:
        """What the latest view knows of a run; None for one that is not there."""
        view = self.bench.view
        return None if view is None else view.by_id.get(run_id)

    def show_clock(self) -> None:
        """The time and the GPUs, as the app knows them."""
        bar = self.query_one(TopBar)
        bar.clock, bar.gpus = self.bench.clock_text(), self.bench.gpus
        bar.window = self.bench.session.window

    # How it works

    def perform(self, action: Action) -> None:
        """Do an action of this screen or of the app, or say why not; from a key, the bar or the palette."""
        reason = self._refusal(action.id)
        if reason is not None:
            self.notify(reason, severity="warning")
            return
        owner: object = self.bench if action.scope == "everywhere" else self
        try:
            result = getattr(owner, f"do_{action.name}")()
        except UserError as error:
            self.bench.show_user_error(error)
            return
        except Exception as error:
            self.bench.report_fault(error)
            return
        if inspect.isawaitable(result):
            self.run_worker(self._finish(result), group=f"act-{action.id}", exclusive=True)

    async def _finish(self, result: Any) -> None:
        try:
            await result
        except UserError as error:
            self.bench.show_user_error(error)
        except Exception as error:
            self.bench.report_fault(error)

    def action_act(self, action_id: str) -> None:
        """What every binding calls."""
        self.perform(ACTIONS[action_id])

    @on(KeyBar.Chosen)
    def _on_chosen(self, message: KeyBar.Chosen) -> None:
        message.stop()
        self.perform(message.action)

    def _refusal(self, action_id: str) -> str | None:
        return None if action_id.startswith("everywhere.") else self.why_not(action_id)

    def _show_view(self) -> None:
        view = self.bench.view
        if view is not None:
            self.query_one(TopBar).view = view
            self.runs_changed(view)
            self.refresh_keys()
