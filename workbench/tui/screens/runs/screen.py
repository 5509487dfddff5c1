"""The Runs screen: the filter above, the table, the run under the cursor in short; and what the keys do."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from textual import on, work
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widget import Widget
from textual.worker import get_current_worker

from workbench.runs.glance import CloserLook, Glance, Glances, look_closer
from workbench.runs.keys import keys_of
from workbench.runs.summary import RunSummary
from workbench.runs.watching import RunsView
from workbench.tui.actions import SCOPES
from workbench.tui.places import ComparePlace, ComposePlace, InspectPlace, LabelPlace, RunsPlace, WatchPlace
from workbench.tui.screens import load_screens
from workbench.tui.screens.dialogs import AskChoice
from workbench.tui.screens.place import PlaceScreen, bindings_of
from workbench.tui.screens.runs.column_dialog import ChooseColumns
from workbench.tui.screens.runs.columns import STANDARD, column_ids, column_of, example_of
from workbench.tui.screens.runs.filter_bar import LANGUAGE, FilterBar, FilterInput
from workbench.tui.screens.runs.operations import Edit, RunOperations
from workbench.tui.screens.runs.run_list import Lister, Listing, Query
from workbench.tui.screens.runs.run_preview import Preview, Seen
from workbench.tui.screens.runs.run_table import EmptyState, RunsTable

_NEWEST = "newest first, what goes on on top"
_GLANCES_AT_ONCE = 12


class RunsScreen(PlaceScreen[RunsPlace]):
    """Home.

    What is done to runs is done to the selected ones that the table shows; without any, to the one here.
    """

    SCOPE = "runs"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_of("runs")]
    CSS_PATH = Path(__file__).with_name("runs.tcss")

    @dataclass
    class Arranged(Message):
        """The rows of the latest view, as asked for."""

        listing: Listing
        view: RunsView

    @dataclass
    class Glanced(Message):
        """What the metrics of the runs in sight say."""

        glances: Mapping[str, Glance]
        closer: Mapping[str, CloserLook]

    def __init__(self, place: RunsPlace) -> None:
        super().__init__(place)
        self._lister, self._glances = Lister(), Glances()
        self._reading = threading.Lock()
        self._query = Query()
        self._listing: Listing | None = None
        self._view: RunsView | None = None
        self._selected: frozenset[str] = frozenset()
        self._columns: tuple[str, ...] = ()
        """Those chosen; none for those that fit."""
        self._known_glances: dict[str, Glance] = {}
        self._looked_closer: dict[str, CloserLook] = {}

    def body(self) -> Iterable[Widget]:
        """The filter above; the table beside or above the preview."""
        yield FilterBar()
        with Horizontal(id="halves"):
            with Vertical(id="left"):
                yield RunsTable(classes="first-focus")
                yield EmptyState(id="empty", markup=False)
            yield Preview()

    # Parts

    @cached_property
    def operations(self) -> RunOperations:
        """What is done to runs, with what can be taken back."""
        return RunOperations(self.bench, self._edited)

    @property
    def table(self) -> RunsTable:
        """The table."""
        return self.query_one(RunsTable)

    @property
    def rows(self) -> Sequence[RunSummary]:
        """The runs shown."""
        return self._listing.rows if self._listing is not None else ()

    @property
    def here(self) -> RunSummary | None:
        """The run under the cursor."""
        return self._by_id(self.table.cursor)

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
        self._arrange(view, self._query)

    def _show(self, query: Query) -> None:
        """Show what is asked for, and remember it."""
        self._query = query
        self.table.show_order(query.sort, query.descending)
        self.keep()
        view = self.bench.view
        if view is not None:
            self._arrange(view, query)

    @work(thread=True, exclusive=True, group="arrange")
    def _arrange(self, view: RunsView, query: Query) -> None:
        listing = self._lister.listing(view, query)
        if not get_current_worker().is_cancelled:
            self.post_message(self.Arranged(listing, view))

    @on(Arranged)
    def _show_arranged(self, message: Arranged) -> None:
        message.stop()
        self._listing, self._view = message.listing, message.view
        self.table.show_rows(message.listing.rows, self._now())
        there = message.view.by_id if message.view.complete else self._selected
        self._select(frozenset(id_ for id_ in self._selected if id_ in there))
        self._show_count()
        self.query_one(EmptyState).show_listing(message.listing, message.view, self.bench.runs_home)
        self.set_class(not message.listing.rows, "-nothing")
        self.set_class(not message.listing.rows and message.view.total == 0, "-no-runs")
        self._look_closer()
        self._show_preview()

    def _show_count(self) -> None:
        listing, view = self._listing, self._view
        if listing is None or view is None:
            return
        reading = "" if view.complete else f"reading {len(view.summaries):,} of {view.total:,} …"
        self.query_one(FilterBar).show_listing(listing, reading)

    @on(RunsTable.Scrolled)
    def _look_closer(self) -> None:
        here = self.here
        seen = {run.id: run for run in (*([here] if here is not None else ()), *self.table.seen)}
        if seen:
            self._read_glances(list(seen.values()), here)

    @work(thread=True, exclusive=True, group="glances")
    def _read_glances(self, runs: Sequence[RunSummary], here: RunSummary | None) -> None:
        worker = get_current_worker()
        load_screens()
        with self._reading:
            found: dict[str, Glance] = {}
            closer: dict[str, CloserLook] = {}
            for run in runs:
                if worker.is_cancelled:
                    return
                found[run.id] = self._glances.look(run)
                if run is here:
                    closer[run.id] = look_closer(run)
                if len(found) == _GLANCES_AT_ONCE:
                    self.post_message(self.Glanced(found, closer))
                    found, closer = {}, {}
            if found:
                self.post_message(self.Glanced(found, closer))

    @on(Glanced)
    def _show_glances(self, message: Glanced) -> None:
        message.stop()
        in_sight = {run.id for run in self.table.seen} | {self.table.cursor}
        kept = {id_: glance for id_, glance in self._known_glances.items() if id_ in in_sight}
        self._known_glances = {**kept, **message.glances}
        self._looked_closer = {**self._looked_closer, **message.closer}
        self.table.show_glances(self._known_glances)
        self._show_preview()

    def _show_preview(self) -> None:
        here = self.here
        seen = None
        if here is not None:
            glance = self._known_glances.get(here.id)
            seen = Seen(here, glance, self._looked_closer.get(here.id, CloserLook()), self._now())
        preview = self.query_one(Preview)
        if preview.seen != seen:
            preview.seen = seen

    # What the panels say

    @on(RunsTable.Moved)
    def _moved(self) -> None:
        self._show_preview()
        if self.here is not None and self.here.id not in self._looked_closer:
            self._look_closer()
        self.refresh_keys()
        self.keep()

    @on(RunsTable.Opened)
    def _opened(self) -> None:
        self.do_watch()

    @on(RunsTable.Picked)
    def _picked(self, message: RunsTable.Picked) -> None:
        self._select(self._selected ^ {message.run})

    @on(RunsTable.HeaderClicked)
    def _title_clicked(self, message: RunsTable.HeaderClicked) -> None:
        column = message.column
        if column.key:
            self._show(self._query.after_click(column.key, self.rows))
        else:
            self.notify(f"There is no order in '{column.title}'.", severity="warning")

    @on(RunsTable.Dismissed)
    def _dismissed(self) -> None:
        if self._query.filter:
            self.query_one(FilterBar).write("")
        elif self._selected:
            self._select(frozenset())

    @on(FilterBar.Changed)
    def _filter_typed(self, message: FilterBar.Changed) -> None:
        message.stop()
        typing = isinstance(self.focused, FilterInput)
        self._show(replace(self._query, filter=message.text, typing=typing))

    @on(FilterInput.Left)
    def _filter_left(self, message: FilterInput.Left) -> None:
        message.stop()
        self.table.focus()
        self._show(replace(self._query, typing=False))

    def on_descendant_focus(self) -> None:
        """The language's hint shows while nothing is typed yet."""
        self._show_count()

    def on_descendant_blur(self) -> None:
        """It goes again."""
        self._show_count()

    # Which runs are shown and selected

    def do_filter(self) -> None:
        """Type a filter."""
        self.query_one(FilterBar).start_typing()

    def do_archived(self) -> None:
        """Show archived runs too, or no longer."""
        self._show(replace(self._query, archived=not self._query.archived))

    async def do_sort(self) -> None:
        """Choose a column to sort by."""
        columns = {column.key: column for column in (*STANDARD, *self.table.columns) if column.key}
        choices = [("", _NEWEST), *((key, f"{column.title}  {key}") for key, column in columns.items())]
        chosen = await self.app.push_screen_wait(AskChoice("Sort by", choices, self._query.sort))
        if chosen is not None:
            self._show(self._query.by(chosen, self.rows))

    def do_reverse(self) -> None:
        """Turn the order round."""
        self._show(self._query.turned())

    def do_columns(self) -> None:
        """Choose the columns."""
        known = keys_of(self.bench.view.summaries if self.bench.view is not None else ())
        chosen = self._columns or tuple(column.id for column in self.table.columns)
        self.app.push_screen(
            ChooseColumns(
                column_ids(known), chosen, lambda id_: example_of(self.here, id_), self._show_columns
            )
        )

    def _show_columns(self, chosen: tuple[str, ...]) -> None:
        self._columns = chosen
        self.table.show_columns(chosen)
        self.keep()

    def do_select(self) -> None:
        """Select the run here, and go on to the next."""
        if self.here is not None:
            self._select(self._selected ^ {self.here.id})
            self.table.action_move(1)

    def do_select_all(self) -> None:
        """All that are shown, or none."""
        shown = frozenset(run.id for run in self.rows)
        self._select(frozenset() if shown <= self._selected else self._selected | shown)

    def _select(self, selected: frozenset[str]) -> None:
        self._selected = selected
        self.table.show_selected(selected)
        self.refresh_keys()
        self.retitle()
        self.keep()

    # Elsewhere

    def do_watch(self) -> None:
        """Open the run under the cursor."""
        if self.here is not None:
            self.bench.go(WatchPlace(run=self.here.id))

    def do_inspect(self) -> None:
        """See its images."""
        if self.here is not None:
            self.bench.go(InspectPlace(run=self.here.id))

    def do_new(self) -> None:
        """Compose."""
        self.bench.go(ComposePlace())

    def do_label(self) -> None:
        """Label a folder."""
        self.bench.go(LabelPlace())

    def do_compose_from(self) -> None:
        """Compose from this run's recipe."""
        if self.here is not None:
            self.bench.go(ComposePlace(source=f"run:{self.here.id}"))

    def do_compare(self) -> None:
        """Put the selected runs beside each other."""
        self.bench.go(ComparePlace(runs=tuple(run.id for run in self.targets)))

    def do_copy_id(self) -> None:
        """Copy the id."""
        if self.here is not None:
            self.bench.copy_text(self.here.id)

    def do_copy_path(self) -> None:
        """Copy the path."""
        if self.here is not None:
            self.bench.copy_text(str(self.here.path))

    # What is done to runs

    async def do_stop(self) -> None:
        """Checkpoint and end."""
        await self.operations.stop(self.targets)

    async def do_pause(self) -> None:
        """Park."""
        await self.operations.pause(self.targets)

    async def do_resume(self) -> None:
        """Go on."""
        await self.operations.resume(self.targets)

    async def do_cancel(self) -> None:
        """Leave the queue."""
        await self.operations.cancel(self.targets)

    async def do_sooner(self) -> None:
        """One place forward in the queue."""
        if self.here is not None:
            await self.operations.move(self.here, -1)

    async def do_later(self) -> None:
        """One place back in the queue."""
        if self.here is not None:
            await self.operations.move(self.here, 1)

    async def do_tags(self) -> None:
        """Edit the tags."""
        await self.operations.tags(self.targets)

    async def do_note(self) -> None:
        """Edit the note."""
        if self.here is not None:
            await self.operations.note(self.here)

    async def do_archive(self) -> None:
        """Put away, or bring back."""
        await self.operations.archive(self.targets)

    async def do_delete(self) -> None:
        """To the trash."""
        await self.operations.delete(self.targets)

    async def do_undo(self) -> None:
        """Take the newest edit back."""
        await self.operations.undo()

    def _edited(self, edit: Edit) -> None:
        """What is shown no more is not selected any more, before the table is read again."""
        if edit.moves == "trash" or (edit.moves == "archive" and not self._query.archived):
            self._select(self._selected - set(edit.runs))

    # What others ask of a screen

    def why_not(self, action: str) -> str | None:
        """In a sentence that says what to do instead."""
        return self.operations.refusal(action.partition(".")[2], self.here, self.targets)

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
        query = self._query
        words = ["petbench", "runs", "ls"]
        if query.filter.strip():
            words += ["--filter", query.filter.strip()]
        if query.sort:
            words.append(f"--sort={'-' if query.descending else ''}{query.sort}")
        if query.archived:
            words.append("--archived")
        keys = [column.key for column in map(column_of, self._columns) if column.key]
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
            "filter": self._query.filter,
            "sort": self._query.sort,
            "descending": self._query.descending,
            "archived": self._query.archived,
            "columns": list(self._columns),
            "cursor": self.table.cursor,
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

        self._query = Query(
            text("filter"), text("sort"), values.get("descending") is True, values.get("archived") is True
        )
        self._selected, self._columns = frozenset(texts("selected")), texts("columns")
        if self._query.filter:
            with self.prevent(FilterBar.Changed):
                self.query_one(FilterBar).write(self._query.filter)
        self.table.show_columns(self._columns)
        self.table.move_to(text("cursor"))
        self.retitle()
        self.table.show_order(self._query.sort, self._query.descending)
