"""The Watch screen: panels over one run's news, and what can be done with the run."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal, final, get_args

from rich.text import Text
from textual import events, on, work
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widget import Widget
from textual.widgets import Static
from textual.worker import get_current_worker

from workbench.runs.confusion import CLASS_ORDERS
from workbench.runs.curves import AXES
from workbench.runs.layout import RunDirectory
from workbench.runs.sources import SplitSource, sources_of
from workbench.runs.watching import RunsView
from workbench.support.clean import clean
from workbench.tui.actions import ACTIONS
from workbench.tui.places import ComposePlace, InspectPlace, WatchPlace
from workbench.tui.screens.dialogs import AskYesNo
from workbench.tui.screens.place import PlaceScreen, bindings_of
from workbench.tui.screens.watch.confidence_tab import ConfidencePanel
from workbench.tui.screens.watch.confusion_tab import ConfusionPanel
from workbench.tui.screens.watch.curve_tab import QUANTITIES, SMOOTHINGS, CurvesPanel
from workbench.tui.screens.watch.headline import RunControl, command_lines, head_line, notice_lines, refusal
from workbench.tui.screens.watch.log_tab import LogPanel
from workbench.tui.screens.watch.news import News, NewsReader, RunNews, RunUnreadable, read_news
from workbench.tui.screens.watch.pseudo_tab import PseudoPanel
from workbench.tui.text import coloured_toml
from workbench.tui.themes import palette_of
from workbench.tui.widgets.action_line import TabLine

Tab = Literal["curves", "confusion", "pseudo", "log", "recipe", "confidence"]
TABS: tuple[Tab, ...] = get_args(Tab)


@final
class WatchScreen(PlaceScreen[WatchPlace]):
    """One run, live or past."""

    SCOPE = "watch"
    CSS_PATH = "watch.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_of("watch")]

    def __init__(self, place: WatchPlace) -> None:
        super().__init__(place)
        self.news: News | None = None
        self._reader: NewsReader | None = None
        self.tab: Tab = "curves"
        self._seen = threading.Event()
        self._recipe_shown = ""

    @property
    def run(self) -> RunDirectory:
        """The run that is watched."""
        return RunDirectory(self.bench.runs_home / self.place.run)

    # Layout

    def title_text(self) -> str:
        """What the top bar says."""
        return "watch"

    def body(self) -> Iterable[Widget]:
        """Head, tabs, and the panels, of which styles show those of the tab."""
        yield Static(id="head", markup=False)
        yield Static(id="notice", markup=False)
        yield TabLine([ACTIONS[f"watch.{tab}"] for tab in TABS], gap=3)
        with Horizontal(id="panels"):
            yield CurvesPanel()
            with Vertical(id="side"):
                yield ConfusionPanel()
                yield PseudoPanel()
            yield LogPanel()
            yield ConfidencePanel()
            with VerticalScroll(id="recipe"):
                yield Static(id="recipe-text", markup=False)

    # Beginning and end

    def on_mount(self) -> None:
        """Begin to read."""
        self._seen.set()
        if not self.run.path.is_dir():
            self.query_one("#head", Static).update(Text(f"there is no run {clean(self.place.run)}"))
            return
        self.read()

    @on(events.ScreenResume)
    def _look(self) -> None:
        self._seen.set()

    @on(events.ScreenSuspend)
    def _look_away(self) -> None:
        self._seen.clear()

    @work(thread=True, exclusive=True, group="news")
    def read(self) -> None:
        """Follow the run in a thread; an app that follows nothing has it read once."""
        worker = get_current_worker()
        if self._reader is None:
            self._reader = NewsReader(self.run, self.bench.data_home)
        read_news(
            self._reader,
            self.post_message,
            lambda: worker.is_cancelled,
            self._seen.is_set,
            once=not self.bench.follows,
        )

    # News

    @on(RunNews)
    def _news_came(self, message: RunNews) -> None:
        message.stop()
        self.news = message.news
        self._draw()
        self.refresh_keys()

    @on(RunUnreadable)
    def _unreadable(self, message: RunUnreadable) -> None:
        message.stop()
        self.notify(f"the run cannot be read now: {message.reason}", severity="warning")

    def runs_changed(self, view: RunsView) -> None:
        """The place in the queue may be another."""
        self._draw_head()

    def show_clock(self) -> None:
        """How long a run has been silent goes by the clock, and the GPUs are read along with it."""
        super().show_clock()
        self._draw_head()
        self.query_one(CurvesPanel).show_facts(self.bench.gpus)

    def on_resize(self) -> None:
        """The head goes by the width."""
        self._draw_head()

    def _draw(self) -> None:
        """Every panel that is seen; the others when their tab comes."""
        self._draw_head()
        news = self.news
        if news is None:
            return
        curves, confusion = self._curves, self._confusion
        pseudo = self.query_one(PseudoPanel)
        if curves.display:
            curves.show(news, self.bench.gpus)
        if confusion.display:
            confusion.show(news)
        if pseudo.display:
            pseudo.show(news)
        log = self.query_one(LogPanel)
        if log.display:
            log.show(news.log)
        confidence = self.query_one(ConfidencePanel)
        if confidence.display:
            confidence.show(news)
        if self.tab == "recipe" and self._recipe_shown != news.recipe_text:
            self._recipe_shown = news.recipe_text
            coloured = coloured_toml(news.recipe_text, palette_of(self.app.theme))
            self.query_one("#recipe-text", Static).update(coloured)

    def _draw_head(self) -> None:
        if self.news is None:
            return
        palette = palette_of(self.app.theme)
        width = max(10, self.size.width - 2)
        self.query_one("#head", Static).update(head_line(self.news.following, palette, width))
        notice = self.query_one("#notice", Static)
        lines = notice_lines(self.news, self.find_summary(self.place.run), palette, self.bench.now())
        notice.set_class(lines is not None, "-said")
        if lines is not None:
            notice.update(lines)

    # Tabs

    def _show_tab(self) -> None:
        for tab in TABS:
            self.set_class(tab == self.tab, f"-tab-{tab}")
        self.query_one(TabLine).chosen = self.tab
        self.call_after_refresh(self._draw)

    def _go_tab(self, tab: Tab) -> None:
        self.tab = tab
        self._show_tab()
        focus: dict[Tab, str] = {
            "curves": "#accuracy",
            "confusion": "#heat",
            "pseudo": "#pseudo",
            "log": "#log-lines",
            "recipe": "#recipe",
            "confidence": "#confidence",
        }
        self.set_focus(self.query_one(focus[tab]))  # at once: a later one would take it from the search
        self.keep()
        self.refresh_keys()

    def do_curves(self) -> None:
        """Tab 1."""
        self._go_tab("curves")

    def do_confusion(self) -> None:
        """Tab 2."""
        self._go_tab("confusion")

    def do_pseudo(self) -> None:
        """Tab 3."""
        self._go_tab("pseudo")

    def do_log(self) -> None:
        """Tab 4."""
        self._go_tab("log")

    def do_recipe(self) -> None:
        """Tab 5."""
        self._go_tab("recipe")

    def do_confidence(self) -> None:
        """Tab 6."""
        self._go_tab("confidence")

    # The run itself

    @property
    def _control(self) -> RunControl:
        return RunControl(self.run, self.bench.data_home, self._agreed, self.notify)

    async def _agreed(self, question: str, detail: str) -> bool:
        answer: bool | None = await self.bench.push_screen_wait(AskYesNo(question, detail))
        return bool(answer)

    async def do_stop(self) -> None:
        """Stop it, or take it out of the queue."""
        assert self.news is not None
        await self._control.stop(self.news)

    async def do_pause(self) -> None:
        """Park it, or go on with one that does not run."""
        assert self.news is not None
        await self._control.pause(self.news)

    def do_inspect(self) -> None:
        """The images that it was least sure of."""
        self.bench.go(InspectPlace(run=self.place.run))

    def do_edit(self) -> None:
        """Its recipe in Compose."""
        self.bench.go(ComposePlace(source=f"run:{self.place.run}"))

    # Looking at curves

    def do_smooth(self) -> None:
        """Off, light, strong."""
        self._curves.next_smoothing()
        self.keep()

    def do_log_axis(self) -> None:
        """Powers of ten, or not."""
        self._curves.set_view(log_y=not self._curves.log_y)
        self.keep()

    def do_x_axis(self) -> None:
        """Epochs, steps, time."""
        self._curves.next_axis()
        self.keep()

    def do_quantity(self) -> None:
        """What the second chart shows."""
        self._curves.next_quantity()
        self.keep()

    def do_zoom_in(self) -> None:
        """Half of it."""
        self._curves.charts[0].zoom(2)

    def do_zoom_out(self) -> None:
        """Twice as much."""
        self._curves.charts[0].zoom(0.5)

    def do_pan_left(self) -> None:
        """The part before."""
        self._curves.charts[0].pan(-1)

    def do_pan_right(self) -> None:
        """The part after."""
        self._curves.charts[0].pan(1)

    def do_whole(self) -> None:
        """All of it."""
        self._curves.charts[0].reset()

    # Looking at confusions, rounds and the log

    def do_order(self) -> None:
        """The classes' order."""
        self._confusion.next_order()
        self.keep()

    def do_earlier(self) -> None:
        """An epoch or a round back."""
        self._step(-1)

    def do_later(self) -> None:
        """An epoch or a round on."""
        self._step(1)

    def do_next(self) -> None:
        """The next match or pair."""
        self._jump(1)

    def do_previous(self) -> None:
        """The one before."""
        self._jump(-1)

    def do_search(self) -> None:
        """Words in the log; goes there first."""
        if self.tab != "log":
            self._go_tab("log")
        self.query_one(LogPanel).open_search()

    def do_follow(self) -> None:
        """Stay at the log's end, or not."""
        if self.tab != "log":
            self._go_tab("log")
        self.query_one(LogPanel).toggle_follow()

    def key_escape(self, event: events.Key) -> None:
        """Leaves the search of the log before anything else."""
        log = self.query_one(LogPanel)
        if self.tab == "log" and (log.is_searching or log.view.words):
            event.stop()
            event.prevent_default()
            log.close_search(forget=True)

    def _step(self, by: int) -> None:
        rounds = self.tab == "pseudo" or (self.tab == "curves" and self._focus_is_in("#pseudo"))
        (self.query_one(PseudoPanel) if rounds else self._confusion).step(by)

    def _jump(self, by: int) -> None:
        if self.tab != "log":
            self._confusion.jump(by)
        elif not self.query_one(LogPanel).jump(by):
            self.notify("no line has these words; / looks for others", severity="warning")

    def _focus_is_in(self, selector: str) -> bool:
        wanted = self.query_one(selector)
        return self.focused is not None and wanted in self.focused.ancestors_with_self

    @property
    def _curves(self) -> CurvesPanel:
        return self.query_one(CurvesPanel)

    @property
    def _confusion(self) -> ConfusionPanel:
        return self.query_one(ConfusionPanel)

    @on(ConfusionPanel.PairChosen)
    def _open_pair(self, message: ConfusionPanel.PairChosen) -> None:
        message.stop()
        source = SplitSource("val", message.teacher and self._has_student())
        if source not in sources_of(self.run):
            pool = ": i shows the pool, as the last round saw it" if self._last_round() else ""
            self.notify(
                f"which validation images these are is written at the run's end{pool}", severity="warning"
            )
        elif message.kept is not None and message.count == 0:
            self.notify(
                f"the kept model ({message.kept.name}) says so of no image, and only its word is kept",
                severity="warning",
            )
        else:
            self.bench.go(InspectPlace(self.place.run, source.key, message.true, message.said))

    def _has_student(self) -> bool:
        return self.news is not None and any(mark.event.round for mark in self.news.following.stages)

    # What the bars and the session ask

    def why_not(self, action: str) -> str | None:
        """Why an action cannot be done now."""
        name = action.rpartition(".")[2]
        if name in ("stop", "pause", "inspect", "edit"):
            return refusal(name, self.run, self.news)
        if name in ("next", "previous") and self.tab == "log" and not self.query_one(LogPanel).view.words:
            return "look for words first, with /"
        if name in ("earlier", "later", "order") and self.tab not in ("curves", "confusion", "pseudo"):
            return "that is for the confusion (2) and the pseudo-labels (3)"
        if name in _OF_CURVES and self.tab != "curves":
            return "that is for the curves (1)"
        return None

    def twin(self) -> list[str]:
        """First what fits the tab."""
        handle, log = shlex.quote(self.run.handle), shlex.quote(str(self.run.log))
        own: dict[Tab, list[str]] = {
            "curves": [],
            "confusion": [f"petbench inspect {handle} --confused"],
            "pseudo": [f"petbench inspect {handle} --round {self._last_round()}"]
            if self._last_round()
            else [],
            "log": [f"petbench runs log {handle} --follow", f"less +F {log}"],
            "recipe": [f"petbench recipe show {handle}"],
            "confidence": [f"petbench runs show {handle}"],
        }
        return [*own[self.tab], *command_lines(self.run, self.news)]

    def _last_round(self) -> int:
        """That `inspect` can show; an online student's is written as it ends."""
        if self.news is None:
            return 0
        following = self.news.following
        if following.rounds:
            return following.rounds[-1].round
        number = following.pools[-1].round if following.pools else 0
        return number if number and self.run.ledger(number).exists() else 0

    def kept(self) -> Mapping[str, Any]:
        """The tab and how the panels are looked at."""
        curves = self._curves
        return {
            "tab": self.tab,
            "axis": curves.axis,
            "quantity": curves.quantity,
            "smoothing": curves.smoothing,
            "log_y": curves.log_y,
            "order": self._confusion.order,
        }

    def restore(self, values: Mapping[str, Any]) -> None:
        """Take up what was kept."""
        tab = values.get("tab")
        self.tab = next((known for known in TABS if known == tab), "curves")
        curves, confusion = self._curves, self._confusion
        curves.axis = next((known for known in AXES if known == values.get("axis")), curves.axis)
        quantity = values.get("quantity")
        curves.quantity = next((known for known in QUANTITIES if known == quantity), curves.quantity)
        curves.smoothing = next((known for known in SMOOTHINGS if known == values.get("smoothing")), 0.0)
        curves.log_y = values.get("log_y") is True
        order = values.get("order")
        confusion.order = next((known for known in CLASS_ORDERS if known == order), confusion.order)
        self._show_tab()


_OF_CURVES = frozenset(
    ("smooth", "log_axis", "x_axis", "quantity", "zoom_in", "zoom_out", "pan_left", "pan_right", "whole")
)
