"""The Compare screen: everything that can be done with runs beside each other."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.binding import BindingType
from textual.widgets import DataTable

from workbench.runs.comparison_export import export_comparison, form_of
from workbench.runs.curves import CURVE_METRICS
from workbench.runs.following import AXES
from workbench.support.atomic import atomic_write
from workbench.support.errors import UserError
from workbench.tui.places import ComparePlace, InspectPlace, RunsPlace, WatchPlace
from workbench.tui.screens.asking import AskChoice, AskText, AskYesNo
from workbench.tui.screens.compare.board import Board
from workbench.tui.screens.compare.confusion_panel import Cell, ConfusionPanel, compared, delta_of
from workbench.tui.screens.compare.core import CompareCore
from workbench.tui.screens.compare.look import SMOOTHINGS, Tab
from workbench.tui.screens.place import bindings_of
from workbench.tui.widgets.tab_line import TabLine


class CompareScreen(CompareCore):
    """Two to twenty runs, overlaid and side by side."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings_of("compare")]
    CSS_PATH = "compare.tcss"

    # Tabs

    def _open_tab(self, tab: Tab) -> None:
        self._set(tab=tab)
        self._focus_tab()

    @on(TabLine.Chosen)
    def _tab_clicked(self, message: TabLine.Chosen) -> None:
        message.stop()
        self.perform(message.action)

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
        place = compared(board, self._look) if cell.after else board.baseline
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


def _form(name: str) -> None:
    """Refuse a name that tells no format."""
    if not name.strip():
        raise UserError("a file needs a name", allowed="NAME.md, NAME.csv or NAME.json")
    form_of(Path(name.strip()))
