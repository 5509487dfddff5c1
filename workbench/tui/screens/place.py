"""What the screens share: a loop that outlives a fault, keys from the registry, the bars, kept state."""

from __future__ import annotations

import asyncio
import inspect
from abc import abstractmethod
from collections import deque
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

from textual import events, on
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.message import Message
from textual.message_pump import MessagePump
from textual.screen import Screen
from textual.widget import Widget
from textual.worker import Worker

from workbench.runs.summary import RunSummary
from workbench.runs.watching import RunsView
from workbench.support.errors import UserError
from workbench.tui.actions import ACTIONS, SCOPES, Action
from workbench.tui.places import Place
from workbench.tui.screens import load_screens
from workbench.tui.widgets.action_line import ActionLine, KeyBar
from workbench.tui.widgets.top_bar import TopBar

if TYPE_CHECKING:
    from workbench.tui.app import PetbenchApp

_LONGEST_SECONDS = 0.5
"""A widget that goes while a key is on its way through it never passes it on; then the next key is let in."""
_QUESTION_SECONDS = 0.02
"""Between two looks whether an action that a key began has asked its question: a few turns of the loop."""


class GuardedLoop(MessagePump):
    """Mixed into the app and its screens: a fault in a handler is logged and shown, and the loop goes on.

    Textual alone would end the app with a traceback.
    """

    async def _dispatch_message(self, message: Message) -> None:
        try:
            await super()._dispatch_message(message)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            cast("PetbenchApp", self.app).report_fault(error)


class TypeAhead(App[None]):
    """Mixed into the app: keys typed faster than it acts each wait until the one before has had its effect.

    Textual hands every key at once to the widget that has the focus; a key that the widget does not want
    comes back to the app, behind the keys that were typed meanwhile. Those of `/lite` then never reach the
    line that `/` opens, which shows right after the start and whenever the machine is busy. The same goes for
    the letters of a name behind the key that asks for it: they wait until the question has the focus.
    """

    def __init__(self) -> None:
        super().__init__()
        self._waiting_keys: deque[events.Key] = deque()
        self._key_under_way: events.Key | None = None
        self._key_screen: Screen[Any] | None = None
        self._asking: Worker[Any] | None = None

    def may_ask(self, work: Worker[Any]) -> None:
        """Have keys wait until this work of the screen before the user has asked its question, or is done."""
        self._asking = work

    async def on_event(self, event: events.Event) -> None:
        """Hold back a key that was typed while another is under way."""
        if not isinstance(event, events.Key) or event.is_forwarded:
            await super().on_event(event)
        elif self._key_under_way is not None:
            self._waiting_keys.append(event)
        else:
            await self._let_in(event)

    async def _let_in(self, key: events.Key) -> None:
        self._key_under_way, self._key_screen = key, self.screen
        target: MessagePump = self.focused or self.screen
        self.set_timer(_LONGEST_SECONDS, lambda: self.call_later(self._given_up, key))
        try:
            await super().on_event(key)
        finally:
            self._follow(key, target)

    def _follow(self, key: events.Key, node: MessagePump | None) -> None:
        """Come back behind the key, which bubbles from the focused widget up to the app."""
        while node is not None and node is not self:
            parent = node._parent
            if node.call_later(self._follow, key, parent):
                return
            node = parent  # it is closing and takes no more messages
        self.call_later(self._arrived, key)

    async def _given_up(self, key: events.Key) -> None:
        if self._key_under_way is key:
            self._asking = None  # it works on something else, and keys do not wait for that
            await self._arrived(key)

    async def _arrived(self, key: events.Key) -> None:
        if self._key_under_way is not key:
            return  # said already, by the timer or by the widgets
        asking, shown = self._asking, self.screen
        if asking is not None and not asking.is_finished and shown is asking.node:
            self.set_timer(_QUESTION_SECONDS, lambda: self.call_later(self._arrived, key))
        elif shown is self._key_screen or not shown.call_later(self._had_effect, key):
            await self._had_effect(key)  # else behind the new screen's first focus

    async def _had_effect(self, key: events.Key) -> None:
        if self._key_under_way is not key:
            return
        self._key_under_way = None
        if self._waiting_keys:
            await self._let_in(self._waiting_keys.popleft())


WIDE_COLUMNS = 120
"""From this width on, screens show panels side by side."""

AnyPlace = TypeVar("AnyPlace", bound=Place)


def bindings_of(scope: str) -> list[Binding]:
    """Textual's bindings for the registry's actions of `scope`; a screen's BINDINGS."""
    return [
        Binding(a.key, f"act('{a.id}')", a.label, show=False, tooltip=a.help, id=a.id) for a in SCOPES[scope]
    ]


class PlaceScreen(GuardedLoop, Screen[None], Generic[AnyPlace]):
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
        help_ = ACTIONS.get(f"{self.SCOPE}.help", ACTIONS["everywhere.help"])  # `?` may mean something here
        yield KeyBar([*shown, help_], self._refusal)

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

    @abstractmethod
    def body(self) -> Iterable[Widget]:
        """The screen's own widgets; one of class `first-focus` gets the focus."""

    def why_not(self, action: str) -> str | None:
        """Why the action (by its id) cannot be done now, as a sentence; None when it can."""
        return None

    @abstractmethod
    def twin(self) -> list[str]:
        """The command lines that give what is on the screen, most fitting first."""

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
        load_screens()
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
            self.bench.may_ask(
                self.run_worker(self._finish(result), group=f"act-{action.id}", exclusive=True)
            )

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

    @on(ActionLine.Chosen)
    def _on_chosen(self, message: ActionLine.Chosen) -> None:
        message.stop()
        self.perform(ACTIONS[message.action])

    def _refusal(self, action_id: str) -> str | None:
        return None if action_id.startswith("everywhere.") else self.why_not(action_id)

    def _show_view(self) -> None:
        view = self.bench.view
        if view is not None:
            self.query_one(TopBar).view = view
            self.runs_changed(view)
            self.refresh_keys()
