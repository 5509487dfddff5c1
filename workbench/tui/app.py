"""The app: its screens, its own actions, what it keeps; a table of contents, the logic is in the modules."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on, work
from textual.binding import Binding, BindingType
from textual.filter import LineFilter
from textual.notifications import SeverityLevel
from textual.worker import WorkerFailed, get_current_worker

from workbench.runs.status import RunStatus
from workbench.runs.watching import RunsView, RunsWatch
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.plugins import Plugin
from workbench.tui.app_session import Session
from workbench.tui.faults import log_fault
from workbench.tui.palette import PaletteEntries
from workbench.tui.places import Place, RunsPlace, pack_place, surviving, unpack_place
from workbench.tui.runs_feed import GpusRead, RunsChanged, endings, feed
from workbench.tui.screens import load_screens, screen_for
from workbench.tui.screens.dialogs import HelpScreen, ProblemScreen, TwinScreen
from workbench.tui.screens.place import GuardedLoop, PlaceScreen, TypeAhead, bindings_of
from workbench.tui.terminal import FewColours, StoppableDriver, copy
from workbench.tui.text import STATUS_MARKS
from workbench.tui.themes import DEFAULT_THEME, themes
from workbench.tui.widgets.top_bar import clock_text

if TYPE_CHECKING:
    from workbench.jobs import GpuUse

_SAVE_SECONDS = 0.5
_WITHOUT_RGB = ("ansi-dark", "ansi-light")
"""Textual's themes of terminal colours; heat maps and pictures need colours that can be mixed."""
_DEEPEST = 8
"""Screens on top of each other; beyond that the oldest are forgotten."""


class PetbenchApp(GuardedLoop, TypeAhead):
    """The workbench on one runs directory.

    Args:
        runs_home: where runs lie.
        data_home: where data sets lie.
        session: what was kept; `Session(None)` keeps nothing.
        now: seconds since the epoch; tests stop the clock with it.
        few_colours: whether the terminal has 16 colours or 8.
        live: whether to follow the runs directory; tests that show a fixed view turn it off.
    """

    CSS_PATH = "petbench.tcss"
    TITLE = "petbench"
    ENABLE_COMMAND_PALETTE = True
    COMMANDS: ClassVar[set[Any]] = {PaletteEntries}
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings_of("everywhere"),
        *(
            Binding(key, f"simulate_key('{arrow}')", show=False)
            for key, arrow in (("h", "left"), ("j", "down"), ("k", "up"), ("l", "right"))
        ),
    ]

    def __init__(
        self,
        runs_home: Path,
        data_home: Path,
        session: Session,
        *,
        now: Callable[[], float] = time.time,
        few_colours: bool = False,
        live: bool = True,
        first: Place | None = None,
    ) -> None:
        super().__init__()
        self.driver_class = StoppableDriver
        self.runs_home, self.data_home, self.session, self.now = runs_home, data_home, session, now
        self.runs_watch = RunsWatch(runs_home)
        self.view: RunsView | None = None
        self.gpus: tuple[GpuUse, ...] = ()
        self.faults: list[Exception] = []
        """Faults of petbench's own so far; tests look at them."""
        self.follows = live
        self._few_colours = FewColours(enabled=few_colours)
        self._statuses: dict[str, RunStatus] = {}
        self._places: list[Place] = []
        self._fault_open = False
        self._first = first

    # Beginning and end

    def on_mount(self) -> None:
        """Themes, the screens of the last time, then the reader thread."""
        for theme in themes():
            self.register_theme(theme)
        for name in _WITHOUT_RGB:
            self.unregister_theme(name)
        kept = self.session.section("app")
        wanted = kept.get("theme")
        self.theme = wanted if wanted in self.available_themes else DEFAULT_THEME
        self.theme_changed_signal.subscribe(self, lambda _theme: self._keep())
        places = [place for place in map(self._recall, kept.get("places", [])) if place is not None]
        if self._first is not None:  # in place of the one of its kind
            places = [*(place for place in places if place.kind != self._first.kind), self._first]
        self._open(places)
        self._keep()
        self.set_interval(_SAVE_SECONDS, self._save)
        self.set_interval(1.0, self._tick)
        self._clock = clock_text(self.now())
        if self.session.window > 1:
            self.notify(
                f"petbench is open on these runs already; this is window {self.session.window}.\n"
                "Each keeps a draft of its own: o in Compose lists the others'.",
                timeout=10,
            )
        if self.follows:
            self._follow_runs()
            self.call_after_refresh(self._load_screens)
        if not self.is_headless:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.exit)

    @work(thread=True, exclusive=True, group="feed")
    def _follow_runs(self) -> None:
        worker = get_current_worker()
        feed(self.runs_watch, self.post_message, lambda: worker.is_cancelled, read_gpus=True)

    @work(thread=True, group="load")
    def _load_screens(self) -> None:
        load_screens()

    @work(thread=True, exclusive=True, group="save")
    def _save(self) -> None:
        self.session.save()

    def on_unmount(self) -> None:
        """The last changes go to disk."""
        self.session.save()

    def _tick(self) -> None:
        clock = clock_text(self.now())
        if clock != self._clock:
            self._clock = clock
            self._redraw_bar()

    # Where one is

    def go(self, place: Place) -> None:
        """Show a place: on top of the others, or instead of the one of its kind that is open."""
        kinds = [open_.kind for open_ in self._places]
        depth = kinds.index(place.kind) if place.kind in kinds else len(self._places)
        if depth == 0:
            self._leave_to(1)
            return
        screen = screen_for(place)  # first: where it cannot be made, all stays as it is
        self._leave_to(depth)
        self._places.append(place)
        self.push_screen(screen)
        self._keep()

    def replaced(self, place: Place) -> None:
        """The screen on top shows another place now, and did so by itself."""
        self._places[-1] = place
        self._keep()

    def _leave_to(self, depth: int) -> None:
        while len(self._places) > depth:
            self._places.pop()
            self.pop_screen()
        self._keep()

    def _open(self, places: list[Place]) -> None:
        above = [place for place in places if place.kind != RunsPlace.kind][-_DEEPEST:]
        if above:
            load_screens()  # each begins to read in a thread of its own
        self._places = [RunsPlace()]
        self.push_screen(screen_for(RunsPlace()))
        for place in above:
            self._places.append(place)
            self.push_screen(screen_for(place))

    def _recall(self, values: object) -> Place | None:
        place = unpack_place(values)
        return None if place is None else surviving(place, self.runs_home)

    def _keep(self) -> None:
        values = {"theme": self.theme, "places": [pack_place(place) for place in self._places]}
        self.session.keep("app", values)

    # What the reader thread found

    @on(RunsChanged)
    def _runs_changed(self, message: RunsChanged) -> None:
        for ending in endings(self._statuses, message.view):
            mark = STATUS_MARKS[ending.status]
            bad = ending.status in (RunStatus.FAILED, RunStatus.LOST)
            said = f"{mark.sign} {ending.name}: {mark.word}"
            self.notify(
                f"{said}\n{ending.reason}" if ending.reason else said,
                severity="error" if bad else "information",
                timeout=10,
            )
            self.bell()
        self.view = message.view
        self._statuses = {summary.id: summary.status for summary in message.view.summaries}
        screen = self._place_screen()
        if screen is not None:
            screen._show_view()

    @on(GpusRead)
    def _gpus_read(self, message: GpusRead) -> None:
        self.gpus = message.gpus
        self._redraw_bar()

    def _redraw_bar(self) -> None:
        screen = self._place_screen()
        if screen is not None:
            screen.show_clock()

    def _place_screen(self) -> PlaceScreen[Any] | None:
        """The topmost of the screens with a place, below whatever asks something on top of it."""
        return next((s for s in reversed(self.screen_stack) if isinstance(s, PlaceScreen)), None)

    def clock_text(self) -> str:
        """The time as the top bar shows it."""
        return clock_text(self.now())

    # The app's own actions

    def do_help(self) -> None:
        """Explain the keys."""
        screen = self._place_screen()
        if screen is not None:
            self.push_screen(HelpScreen(screen.SCOPE, screen.focus_help()))

    def do_palette(self) -> None:
        """Find anything."""
        self.action_command_palette()

    def do_twin(self) -> None:
        """Show the command lines of the screen."""
        screen = self._place_screen()
        if screen is not None:
            self.push_screen(TwinScreen(screen.twin(), self.copy_text))

    def do_back(self) -> None:
        """Leave the screen on top; the runs stay."""
        if len(self._places) > 1:
            self._leave_to(len(self._places) - 1)

    def do_theme(self) -> None:
        """Choose the colours."""
        self.search_themes()

    def do_picture(self) -> None:
        """Save the screen; its text is in the SVG as text."""
        name = f"petbench-{self._places[-1].kind}-{datetime.fromtimestamp(self.now()):%Y%m%d-%H%M%S}.svg"
        try:
            self.notify(f"saved {self.save_screenshot(name, path='.')}")
        except OSError as error:
            self.notify(f"cannot save {name}: {error.strerror or error}", severity="error")

    def do_quit(self) -> None:
        """Close."""
        self.exit()

    def action_help_quit(self) -> None:
        """What Textual binds ^C to; its own words are markup, which we never parse."""
        self.notify("^C closes nothing: esc goes back, q quits (^q where letters are typed). Runs go on.")

    def action_act(self, action_id: str) -> None:
        """What the bindings of the app call."""
        screen = self._place_screen()
        if screen is not None and screen is self.screen:
            screen.action_act(action_id)

    # What screens call

    def look_again(self, run_ids: Iterable[str]) -> None:
        """Something was done to these runs: have them read at once."""
        self.runs_watch.look_again(run_ids)

    def copy_text(self, text: str) -> None:
        """Copy by whatever works here, and say where it went."""
        self.notify(copy(text, super().copy_to_clipboard))

    def copy_to_clipboard(self, text: str) -> None:
        """Textual's own way to copy selected text goes the same way."""
        self._clipboard = text
        self.copy_text(text)

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = False,
    ) -> None:
        """Textual's, with text from outside made harmless and never parsed as markup."""
        harmless = "\n".join(clean(line) for line in message.splitlines())
        super().notify(harmless, title=clean(title), severity=severity, timeout=timeout, markup=False)

    def show_broken_plugin(self, plugin: Plugin) -> None:
        """Another package's plug-in cannot be loaded; told from whatever thread found out."""
        self.notify(plugin.warning, severity="warning", timeout=20)

    def show_user_error(self, error: UserError) -> None:
        """A mistake of the user's: what, where, what is allowed, what to do."""
        self.notify(str(error), severity="error", timeout=10)

    def report_fault(self, error: Exception) -> None:
        """A fault of petbench's own: into the log, and a panel that says so; the app goes on."""
        if isinstance(error, WorkerFailed) and isinstance(error.error, UserError):
            self.show_user_error(error.error)
            return
        self.faults.append(error)
        log = log_fault(error)
        if self._fault_open or not self.is_running:
            return
        self._fault_open = True
        cause = error.error if isinstance(error, WorkerFailed) else error
        story = f"{type(cause).__name__}: {cause}\n\nThis is a fault in petbench. Your runs go on."
        panel = ProblemScreen("Something went wrong here", story, log)
        self.call_later(partial(self.push_screen, panel, self._fault_seen))

    def _fault_seen(self, to_runs: bool | None) -> None:
        self._fault_open = False
        if to_runs:
            self._leave_to(1)

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's, and after them the terminal's own colours where it has no others."""
        few = self._few_colours
        return [*super().get_line_filters(), few] if few.enabled else super().get_line_filters()

    def _handle_exception(self, error: Exception) -> None:
        # Textual would end the app with a traceback over the terminal; here a widget that failed is blank.
        self.report_fault(error)
