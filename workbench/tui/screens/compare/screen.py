"""The Compare screen: two to twenty runs, overlaid and side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, final

from textual import on, work
from textual.binding import BindingType
from textual.containers import Container
from textual.widget import Widget
from textual.widgets import DataTable, Static

from workbench.runs.comparison import MOST_RUNS
from workbench.runs.comparison_table import export_comparison, form_of
from workbench.runs.curves import AXES, CURVE_METRICS
from workbench.runs.summary import RunSummary
from workbench.runs.watching import RunsView
from workbench.support.atomic import atomic_write
from workbench.support.errors import UserError
from workbench.tui.actions import ACTIONS
from workbench.tui.places import ComparePlace, InspectPlace, RunsPlace, WatchPlace
from workbench.tui.screens.compare.board import Board, BoardRead, BoardReader
from workbench.tui.screens.compare.comparison_sheet import Sheet
from workbench.tui.screens.compare.confusion_panel import Cell, ConfusionPanel, delta_of, pair_words
from workbench.tui.screens.compare.curve_panel import CurvePanel
from workbench.tui.screens.compare.look import SMOOTHINGS, Look, Tab, command_lines, unpack_look
from workbench.tui.screens.compare.table_panels import RecipePanel, ResultPanel
from workbench.tui.screens.dialogs import AskChoice, AskText, AskYesNo
from workbench.tui.screens.place import WIDE_COLUMNS, PlaceScreen, bindings_of
from workbench.tui.widgets.action_line import TabLine

_FEWEST = 2
_FOCUS = {Tab.CURVES: "#run-list", Tab.RECIPE: "#recipe-sheet", Tab.RESULTS: "#result-sheet"}
_EMPTY = "Nothing to compare yet.\n\nPress a, select two or more runs with space, then c brings them here."


@final
class CompareScreen(PlaceScreen[ComparePlace]):
    """Which runs are compared, how they are looked at, and what can be done; the panels draw a board."""

    SCOPE = "compare"
    CSS_PATH = "compare.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_of("compare")]

    def __init__(self, place: ComparePlace) -> None:
        super().__init__(place)
        self._look = Look()
        self._reader = BoardReader()
        self._board: Board | None = None
        self._wanted: tuple[tuple[RunSummary, ...], str] | None = None
        """The runs as last asked for, and the baseline; what they equal need not be read again."""

    def on_mount(self) -> None:
        """Tables hold their colours: draw them anew in another theme."""
        self.app.theme_changed_signal.subscribe(self, lambda _theme: self._draw())

    def on_resize(self) -> None:
        """A wide screen says more."""
        self._arrange()

    # What it tells

    def title_text(self) -> str:
        """How many runs, and of how many where some are gone or too many."""
        named = len(self.place.runs)
        shown = len(self._board.runs) if self._board is not None else named
        return f"compare {named}" if shown == named else f"compare {shown} of {named}"

    def body(self) -> Iterable[Widget]:
        """The line of tabs, the three panels that a wide screen shows at once, the confusion."""
        yield TabLine([ACTIONS[f"compare.{tab}"] for tab in Tab])
        with Container(id="overview"):
            yield CurvePanel()
            yield ResultPanel()
            yield RecipePanel()
        yield ConfusionPanel()
        yield Static(_EMPTY, id="empty", markup=False)

    def twin(self) -> list[str]:
        """The command lines of the tab that is open, then of the others."""
        return command_lines(self._found(), self._look, self._board)

    def kept(self) -> Mapping[str, Any]:
        """How the comparison is looked at."""
        return self._look.pack()

    def restore(self, values: Mapping[str, Any]) -> None:
        """Look at it as the last time."""
        self._look = unpack_look(values)
        self._arrange()

    def why_not(self, action: str) -> str | None:
        """What cannot be done without runs, without a choice, or to the last two."""
        name = action.partition(".")[2]
        if name in ("add", "curves", "recipe", "results"):
            return None
        if self._board is None:
            return "there is nothing to compare yet: press a to select runs"
        chosen = self._chosen()
        match name:
            case "baseline" | "remove" | "watch" | "images" if chosen is None:
                return "the chosen run is not there any more: [ and ] choose another"
            case "baseline" if chosen is self._board.runs[self._board.baseline]:
                return "it is the baseline already: choose another run with [ and ]"
            case "remove" if len(self._board.runs) <= _FEWEST:
                return "a comparison needs two runs: press a to select others"
            case "seeds" if not self._look.seeds and not self._has_groups():
                return "no two of these runs differ in nothing but their seeds"
            case _:
                return None

    # What it reads

    def runs_changed(self, view: RunsView) -> None:
        """Read again what is different, when a run of these is."""
        self._read_if_changed()

    def _found(self) -> list[RunSummary]:
        """The runs that are there, in the order of the place, at most as many as can be compared."""
        found = (self.find_summary(run_id) for run_id in self.place.runs)
        return [summary for summary in found if summary is not None][:MOST_RUNS]

    def _read_if_changed(self) -> None:
        wanted = (tuple(self._found()), self._look.baseline)
        if wanted == self._wanted:
            return
        self._wanted = wanted
        if wanted[0]:
            self._read(*wanted)
        else:
            self._board = None
            self._arrange()
            self.refresh_keys()

    @work(thread=True, exclusive=True, group="compare")
    def _read(self, runs: Sequence[RunSummary], baseline: str) -> None:
        self.post_message(BoardRead(self._reader.board(runs, baseline)))

    @on(BoardRead)
    def _take(self, message: BoardRead) -> None:
        first = self._board is None
        self._board = message.board
        if self._board.place_of(self._look.chosen) is None:
            self._look = replace(self._look, chosen=_first_choice(self._board))
        if self._look.seeds and not self._has_groups():
            self._look = replace(self._look, seeds=False)
        self.retitle()
        self._draw()
        if first:
            self._focus_tab()

    # What it draws

    def _draw(self) -> None:
        """Bring everything that is in sight up to date."""
        board, look = self._board, self._look
        self._arrange()
        if board is None:
            return
        if look.tab is Tab.CONFUSION:
            self.query_one(ConfusionPanel).show(board, look)
        else:
            self.query_one(CurvePanel).show(board, look)
            self.query_one(ResultPanel).show(board, look)
            self.query_one(RecipePanel).show(board, look)
        self.refresh_keys()

    def _arrange(self) -> None:
        """Show the panel of the tab; a wide screen's styles show three of them for any of three tabs."""
        look = self._look
        line = self.query_one(TabLine)
        line.chosen, line.words = look.tab, self._words()
        for tab in Tab:
            self.set_class(look.tab is tab, f"-{tab}")
        self.set_class(self._board is None, "-empty")
        view = self.bench.view
        reading = view is None or (not view.complete and bool(self.place.runs)) or bool(self._found())
        self.query_one("#empty", Static).update("reading the runs …" if reading else _EMPTY)

    def _words(self) -> str:
        look = self._look
        if self._board is None:
            return ""
        wide = self.size.width >= WIDE_COLUMNS
        if look.tab is Tab.CONFUSION:
            return pair_words(self._board, look, limit=0 if wide else 14)
        parts = []
        if look.tab is Tab.CURVES or wide:
            parts += [f"{look.curve.words} by {look.axis}"]
            parts += [f"smoothed {look.smoothing}"] if look.smoothing else []
            parts += ["only ★ and chosen"] if look.spotlight else []
        if look.tab is Tab.RECIPE or wide:
            parts += ["all keys" if look.all_keys else "differences only"]
        if look.tab is not Tab.CURVES or wide:
            parts += ["over seeds"] if look.seeds else []
        return "  ".join(parts)

    def _focus_tab(self) -> None:
        if self._look.tab is Tab.CONFUSION:
            self.query_one("#heat").focus()
        else:
            self.query_one(_FOCUS[self._look.tab]).focus()

    def _set(self, **changes: Any) -> None:
        """Look differently from now on."""
        self._look = replace(self._look, **changes)
        self.keep()
        self._read_if_changed()
        self._draw()

    # Choosing a run

    def _chosen(self) -> RunSummary | None:
        board = self._board
        place = board.place_of(self._look.chosen) if board is not None else None
        return board.runs[place] if board is not None and place is not None else None

    def _choose(self, run_id: str) -> None:
        board = self._board
        if board is None or board.place_of(run_id) is None or run_id == self._look.chosen:
            return
        self._set(chosen=run_id)

    @on(DataTable.RowHighlighted, "#run-list")
    @on(DataTable.CellHighlighted, "#result-sheet, #recipe-sheet")
    def _highlighted(self, message: DataTable.RowHighlighted | DataTable.CellHighlighted) -> None:
        # Where the cursor is by now: acting on where it was would send it back, and that would be told again.
        sheet = message.data_table
        if isinstance(sheet, Sheet) and sheet.has_focus:
            self._choose(sheet.row_key if sheet.cursor_type == "row" else sheet.column_key)

    def _has_groups(self) -> bool:
        board = self._board
        return board is not None and len(board.groups.groups) < len(board.runs)

    # Tabs

    def _open_tab(self, tab: Tab) -> None:
        self._set(tab=tab)
        self._focus_tab()

    def do_curves(self) -> None:
        """Open the curves."""
        self._open_tab(Tab.CURVES)

    def do_recipe(self) -> None:
        """Open the recipes."""
        self._open_tab(Tab.RECIPE)

    def do_results(self) -> None:
        """Open the results."""
        self._open_tab(Tab.RESULTS)

    def do_confusion(self) -> None:
        """Open the change of the confusion."""
        self._open_tab(Tab.CONFUSION)

    # Ways to look

    async def do_metric(self) -> None:
        """Ask which number the curves show."""
        choices = [(metric.key, metric.words) for metric in CURVE_METRICS.values()]
        asked = AskChoice("Which number shall the curves show?", choices, self._look.metric)
        wanted = await self.app.push_screen_wait(asked)
        if wanted is not None:
            self._set(metric=wanted)

    def do_axis(self) -> None:
        """The next axis."""
        self._set(axis=AXES[(AXES.index(self._look.axis) + 1) % len(AXES)])

    def do_smooth(self) -> None:
        """The next smoothing."""
        self._set(smoothing=SMOOTHINGS[(SMOOTHINGS.index(self._look.smoothing) + 1) % len(SMOOTHINGS)])

    def do_log(self) -> None:
        """Turn the logarithmic axis on or off."""
        self._set(log=not self._look.log)

    def do_spotlight(self) -> None:
        """Dim the other curves, or no more."""
        self._set(spotlight=not self._look.spotlight)

    def do_seeds(self) -> None:
        """Group by seeds, or no more."""
        self._set(seeds=not self._look.seeds)

    def do_keys(self) -> None:
        """All keys, or those that differ."""
        self._set(all_keys=not self._look.all_keys)

    # Which runs

    def do_next(self) -> None:
        """Choose the next run."""
        self._step(1)

    def do_previous(self) -> None:
        """Choose the run before."""
        self._step(-1)

    def _step(self, by: int) -> None:
        board = self._board
        assert board is not None
        place = board.place_of(self._look.chosen) or 0
        self._choose(board.runs[(place + by) % len(board.runs)].id)

    def do_baseline(self) -> None:
        """Pin the chosen run."""
        self._set(baseline=self._look.chosen)

    def do_remove(self) -> None:
        """Leave the chosen run out."""
        chosen = self._look.chosen
        place = self.place.runs.index(chosen)
        left = tuple(run_id for run_id in self.place.runs if run_id != chosen)
        self.place = ComparePlace(left)
        self.bench.replaced(self.place)
        self.retitle()
        self._set(chosen=left[min(place, len(left) - 1)])

    def do_add(self) -> None:
        """Back to the runs."""
        self.bench.go(RunsPlace())

    @on(DataTable.RowSelected, "#run-list")
    @on(DataTable.CellSelected, "#result-sheet, #recipe-sheet")
    def do_watch(self) -> None:
        """Look at the chosen run alone."""
        if self._board is not None:
            self.bench.go(WatchPlace(self._look.chosen))

    def do_images(self) -> None:
        """The images of the cell, or of the run."""
        cell = self.query_one(ConfusionPanel).cell if self._look.tab is Tab.CONFUSION else None
        if cell is not None:
            self._show_images(cell)
        else:
            self.bench.go(InspectPlace(self._look.chosen))

    @on(ConfusionPanel.CellChosen)
    def _cell_chosen(self, message: ConfusionPanel.CellChosen) -> None:
        self._show_images(message.cell)

    def _show_images(self, cell: Cell) -> None:
        """Of the compared run, or of the baseline where the run has none in this cell."""
        board = self._board
        if board is None:
            return
        place = board.compared(self._look.chosen) if cell.after else board.baseline
        if delta_of(board, place)[0] is None:
            return
        if not cell.after and not cell.before:
            self.notify(f"no test image of {cell.true} was said to be {cell.said} by either run")
            return
        if not cell.after:
            self.notify(f"these are the baseline's: {board.names[board.baseline]}")
        self.bench.go(InspectPlace(board.runs[place].id, "test", cell.true, cell.said))

    # Export

    async def do_export(self) -> None:
        """Ask for a name, then write."""
        asked = AskText(
            "Write the comparison to", "compare.md", placeholder="NAME.md, .csv or .json", check=_form
        )
        name = await self.app.push_screen_wait(asked)
        if name is None or self._board is None:
            return
        path = Path(name.strip()).expanduser()
        if path.exists() and not await self.app.push_screen_wait(AskYesNo(f"{path} is there. Replace it?")):
            return
        self._write(path, self._board, self._look.seeds)

    @work(thread=True, group="compare-export")
    def _write(self, path: Path, board: Board, seeds: bool) -> None:
        try:
            text = export_comparison(board.comparison, form_of(path), board.groups if seeds else None)
            atomic_write(path, text)
        except OSError as error:
            reason = error.strerror or str(error)
            self.app.call_from_thread(self.notify, f"{path} cannot be written: {reason}", severity="error")
            return
        self.app.call_from_thread(self.notify, f"written to {path.resolve()}")


def _first_choice(board: Board) -> str:
    """The first run that is not the baseline, where there is one."""
    places = [place for place in range(len(board.runs)) if place != board.baseline]
    return board.runs[places[0] if places else board.baseline].id


def _form(name: str) -> None:
    """Refuse a name that tells no format."""
    if not name.strip():
        raise UserError("a file needs a name", allowed="NAME.md, NAME.csv or NAME.json")
    form_of(Path(name.strip()))
