"""The Runs screen: a filter line, the table, the run under the cursor in short."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from rich.text import Text
from textual import on, work
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static
from textual.worker import get_current_worker

from workbench.runs.glance import Glance, Glances, warnings_of
from workbench.runs.summary import RunSummary
from workbench.runs.watching import RunsView
from workbench.tui.actions import SCOPES
from workbench.tui.places import RunsPlace
from workbench.tui.screens.place import bindings_of
from workbench.tui.screens.runs.arranging import RunsArranging
from workbench.tui.screens.runs.columns import column_of
from workbench.tui.screens.runs.empty import no_runs, nothing_fits
from workbench.tui.screens.runs.filter_bar import LANGUAGE, FilterBar, FilterInput
from workbench.tui.screens.runs.listing import Listed, Listing, Wish
from workbench.tui.screens.runs.preview import Preview, Seen
from workbench.tui.screens.runs.table import RunsTable
from workbench.tui.screens.runs.undo import Done
from workbench.tui.themes import palette_of

_GLANCES_AT_ONCE = 12


class RunsScreen(RunsArranging):
    """Home."""

    SCOPE = "runs"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_of("runs")]
    CSS_PATH = Path(__file__).with_name("runs.tcss")

    @dataclass
    class Arranged(Message):
        """The rows of the latest view, as wished."""

        listed: Listed
        view: RunsView

    @dataclass
    class Glanced(Message):
        """What the metrics of the runs in sight say."""

        glances: Mapping[str, Glance]
        warnings: Mapping[str, tuple[str, ...]]

    def __init__(self, place: RunsPlace) -> None:
        super().__init__(place)
        self._listing, self._glances = Listing(), Glances()
        self._reading = threading.Lock()
        self._wish = Wish()
        self._listed: Listed | None = None
        self._view: RunsView | None = None
        self._selected: frozenset[str] = frozenset()
        self._chosen: tuple[str, ...] = ()
        self._known_glances: dict[str, Glance] = {}
        self._known_warnings: dict[str, tuple[str, ...]] = {}

    def body(self) -> Iterable[Widget]:
        """The filter above; the table beside or above the preview."""
        yield FilterBar()
        with Horizontal(id="halves"):
            with Vertical(id="left"):
                yield RunsTable(classes="first-focus")
                yield Static("", id="empty", markup=False)
            yield Preview()

    # Parts

    @property
    def rows(self) -> Sequence[RunSummary]:
        """The runs shown."""
        return self._listed.rows if self._listed is not None else ()

    @property
    def here(self) -> RunSummary | None:
        """The run under the cursor."""
        return self._by_id(self.table.cursor_run)

    @property
    def targets(self) -> Sequence[RunSummary]:
        """The selected runs that the table shows, in its order; without any, the one here.

        What a filter or the archive hides stays selected, and nothing is done to it until it is shown again.
        """
        here = self.here
        return self._selected_rows or ([here] if here is not None else [])

    @property
    def _selected_rows(self) -> list[RunSummary]:
        return [run for run in self.rows if run.id in self._selected]

    def _by_id(self, run_id: str) -> RunSummary | None:
        return self._view.by_id.get(run_id) if self._view is not None else None

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.bench.now())

    # What is shown

    def runs_changed(self, view: RunsView) -> None:
        """Arrange the rows anew."""
        self._arrange(view, self._wish)

    def change_wish(self, wish: Wish) -> None:
        """Show what is wished, and remember it."""
        self._wish = wish
        self.mark_order()
        self.keep()
        view = self.bench.view
        if view is not None:
            self._arrange(view, wish)

    @work(thread=True, exclusive=True, group="arrange")
    def _arrange(self, view: RunsView, wish: Wish) -> None:
        listed = self._listing.listed(view, wish)
        if not get_current_worker().is_cancelled:
            self.post_message(self.Arranged(listed, view))

    @on(Arranged)
    def _show_arranged(self, message: Arranged) -> None:
        message.stop()
        self._listed, self._view = message.listed, message.view
        self.table.show_rows(message.listed.rows, self._now())
        there = message.view.by_id if message.view.complete else self._selected
        self._select(frozenset(id_ for id_ in self._selected if id_ in there))
        self._show_count()
        self._show_emptiness()
        self._look_closer()
        self._show_preview()

    def _show_count(self) -> None:
        if self._listed is None or self._view is None:
            return
        view = self._view
        reading = "" if view.complete else f"reading {len(view.summaries):,} of {view.total:,} …"
        self.query_one(FilterBar).show_listed(self._listed, reading)

    def _show_emptiness(self) -> None:
        listed, view = self._listed, self._view
        empty = self.query_one("#empty", Static)
        if listed is None or view is None:
            return
        colours = palette_of(self.app.theme)
        nothing = not listed.rows
        if nothing and view.problem:
            empty.update(Text(f"{self.bench.runs_home}: {view.problem}", style=colours.bad))
        elif nothing and view.total == 0:
            empty.update(no_runs(self.bench.runs_home, colours))
        elif nothing and view.complete:
            empty.update(nothing_fits(listed, colours))
        else:
            empty.update("")
        self.set_class(nothing, "-nothing")
        self.set_class(nothing and view.total == 0, "-no-runs")

    @on(RunsTable.Scrolled)
    def _look_closer(self) -> None:
        here = self.here
        seen = {run.id: run for run in (*([here] if here is not None else ()), *self.table.seen)}
        if seen:
            self._read_glances(list(seen.values()), here)

    @work(thread=True, exclusive=True, group="glances")
    def _read_glances(self, runs: Sequence[RunSummary], here: RunSummary | None) -> None:
        worker = get_current_worker()
        with self._reading:
            found: dict[str, Glance] = {}
            warnings: dict[str, tuple[str, ...]] = {}
            for run in runs:
                if worker.is_cancelled:
                    return
                found[run.id] = self._glances.look(run)
                if run is here:
                    warnings[run.id] = warnings_of(run)
                if len(found) == _GLANCES_AT_ONCE:
                    self.post_message(self.Glanced(found, warnings))
                    found, warnings = {}, {}
            if found:
                self.post_message(self.Glanced(found, warnings))

    @on(Glanced)
    def _show_glances(self, message: Glanced) -> None:
        message.stop()
        in_sight = {run.id for run in self.table.seen} | {self.table.cursor_run}
        kept = {id_: glance for id_, glance in self._known_glances.items() if id_ in in_sight}
        self._known_glances = {**kept, **message.glances}
        self._known_warnings = {**self._known_warnings, **message.warnings}
        self.table.show_glances(self._known_glances)
        self._show_preview()

    def _show_preview(self) -> None:
        here = self.here
        seen = None
        if here is not None:
            glance = self._known_glances.get(here.id)
            seen = Seen(here, glance, self._known_warnings.get(here.id, ()), self._now())
        preview = self.query_one(Preview)
        if preview.seen != seen:
            preview.seen = seen

    # What a person does in the table and the filter

    @on(RunsTable.Moved)
    def _moved(self) -> None:
        self._show_preview()
        if self.here is not None and self.here.id not in self._known_warnings:
            self._look_closer()
        self.refresh_keys()
        self.keep()

    @on(RunsTable.Opened)
    def _opened(self) -> None:
        self.do_watch()

    @on(RunsTable.Picked)
    def _picked(self, message: RunsTable.Picked) -> None:
        self._select(self._selected ^ {message.run})

    @on(FilterBar.Changed)
    def _filter_typed(self, message: FilterBar.Changed) -> None:
        message.stop()
        typing = isinstance(self.focused, FilterInput)
        self.change_wish(replace(self._wish, filter=message.text, typing=typing))

    @on(FilterInput.Left)
    def _filter_left(self, message: FilterInput.Left) -> None:
        message.stop()
        self.table.focus()
        self.change_wish(replace(self._wish, typing=False))

    def on_descendant_focus(self) -> None:
        """The language's hint shows while nothing is typed yet."""
        self._show_count()

    def on_descendant_blur(self) -> None:
        """It goes again."""
        self._show_count()

    @on(RunsTable.Dismissed)
    def _dismissed(self) -> None:
        if self._wish.filter:
            self.query_one(FilterBar).write("")
        elif self._selected:
            self._select(frozenset())

    # The table's own actions

    def do_select(self) -> None:
        """Select the run here, and go on to the next."""
        if self.here is not None:
            self._select(self._selected ^ {self.here.id})
            self.table.action_move(1)

    def do_select_all(self) -> None:
        """All that are shown, or none."""
        shown = frozenset(run.id for run in self._listed.rows) if self._listed is not None else frozenset()
        self._select(frozenset() if shown <= self._selected else self._selected | shown)

    def _select(self, selected: frozenset[str]) -> None:
        self._selected = selected
        self.table.show_selected(selected)
        self.refresh_keys()
        self.retitle()
        self.keep()

    def moved(self, done: Done) -> None:
        """What is shown no more is not selected any more, before the table is read again."""
        if done.moves == "trash" or (done.moves == "archive" and not self._wish.archived):
            self._select(self._selected - set(done.runs))

    def do_filter(self) -> None:
        """Type a filter."""
        self.query_one(FilterBar).start_typing()

    def do_archived(self) -> None:
        """Show archived runs too, or no longer."""
        self.change_wish(replace(self._wish, archived=not self._wish.archived))

    # What others ask of a screen

    def title_text(self) -> str:
        """How many are selected, and how many of those cannot be seen."""
        if not self._selected:
            return ""
        hidden = len(self._selected) - len(self._selected_rows)
        return f"{len(self._selected)} selected" + (f", {hidden} not shown" if hidden else "")

    def focus_help(self) -> str:
        """The filter's language while it is typed."""
        return LANGUAGE if isinstance(self.focused, FilterInput) else ""

    def twin(self) -> list[str]:
        """The listing as it is, then what can be done to the runs."""
        wish = self._wish
        words = ["petbench", "runs", "ls"]
        if wish.filter.strip():
            words += ["--filter", wish.filter.strip()]
        if wish.sort:
            words.append(f"--sort={'-' if wish.descending else ''}{wish.sort}")
        if wish.archived:
            words.append("--archived")
        keys = [column.key for column in map(column_of, self._chosen) if column.key]
        if keys:
            words += ["--columns", ",".join(keys)]
        targets = self.targets
        if not targets:
            return [shlex.join(words)]
        run, runs = targets[0].handle, " ".join(shlex.quote(target.handle) for target in targets)
        twins = [
            action.twin.replace("{runs}", runs).replace("{run}", shlex.quote(run))
            for action in SCOPES["runs"]
            if ("{run}" in action.twin or "{runs}" in action.twin) and self.why_not(action.id) is None
        ]
        return [shlex.join(words), *twins]

    def kept(self) -> Mapping[str, Any]:
        """Filter, order, columns, cursor, selection."""
        return {
            "filter": self._wish.filter,
            "sort": self._wish.sort,
            "descending": self._wish.descending,
            "archived": self._wish.archived,
            "columns": list(self._chosen),
            "cursor": self.table.cursor_run,
            "selected": sorted(self._selected),
        }

    def restore(self, values: Mapping[str, Any]) -> None:
        """As it was left."""

        def text(name: str) -> str:
            value = values.get(name)
            return value if isinstance(value, str) else ""

        def texts(name: str) -> tuple[str, ...]:
            value = values.get(name)
            return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()

        self._wish = Wish(
            text("filter"), text("sort"), values.get("descending") is True, values.get("archived") is True
        )
        self._selected, self._chosen = frozenset(texts("selected")), texts("columns")
        if self._wish.filter:
            with self.prevent(FilterBar.Changed):
                self.query_one(FilterBar).write(self._wish.filter)
        self.table.show_columns(self._chosen)
        self.table.move_to(text("cursor"))
        self.retitle()
        self.mark_order()
