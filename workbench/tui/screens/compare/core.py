"""What the Compare screen knows: the runs as read, how they are looked at, which one is chosen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from textual import on, work
from textual.containers import Container
from textual.widget import Widget
from textual.widgets import DataTable, Static

from workbench.runs.compare import MOST_RUNS
from workbench.runs.summary import RunSummary
from workbench.runs.watching import RunsView
from workbench.tui.actions import ACTIONS
from workbench.tui.places import ComparePlace
from workbench.tui.screens.compare.board import Board, BoardRead, BoardReader
from workbench.tui.screens.compare.confusion_panel import ConfusionPanel, pair_words
from workbench.tui.screens.compare.curve_panel import CurvePanel
from workbench.tui.screens.compare.look import Look, Tab, unpack_look
from workbench.tui.screens.compare.recipe_panel import RecipePanel
from workbench.tui.screens.compare.result_panel import ResultPanel
from workbench.tui.screens.compare.sheet import Sheet
from workbench.tui.screens.compare.twins import command_lines
from workbench.tui.screens.place import WIDE_COLUMNS, PlaceScreen
from workbench.tui.widgets.tab_line import TabLine

_FEWEST = 2
_FOCUS = {Tab.CURVES: "#run-list", Tab.RECIPE: "#recipe-sheet", Tab.RESULTS: "#result-sheet"}
_EMPTY = "Nothing to compare yet.\n\nPress a, select two or more runs with space, then c brings them here."


class CompareCore(PlaceScreen[ComparePlace]):
    """Which runs are compared and how they are looked at; `CompareScreen` adds what can be done."""

    SCOPE = "compare"

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


def _first_choice(board: Board) -> str:
    """The first run that is not the baseline, where there is one."""
    places = [place for place in range(len(board.runs)) if place != board.baseline]
    return board.runs[places[0] if places else board.baseline].id
