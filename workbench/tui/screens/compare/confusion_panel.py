"""Which classes one run confuses more or less than the baseline: a heat map and the largest changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Static

from workbench.runs.confusion import ConfusionDelta, confusion_delta
from workbench.support.clean import clean
from workbench.support.units import signed
from workbench.tui.screens.compare.board import Board
from workbench.tui.screens.compare.comparison_sheet import STAR, Column, Row, Sheet
from workbench.tui.screens.compare.look import Look
from workbench.tui.text import plain
from workbench.tui.themes import Palette, palette_of
from workbench.tui.widgets.heatmap import HeatMap

_LISTED = 60


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of the confusion, in both runs."""

    true: str
    said: str
    before: int
    """Test images in the baseline."""
    after: int
    """Test images in the run."""


class ConfusionPanel(Vertical):
    """Draws the change from the baseline to the chosen run; the diagonal is turned: warm is always worse."""

    DEFAULT_CSS = """
    ConfusionPanel { height: 1fr; width: 1fr; }
    ConfusionPanel > Static { height: 1; padding: 0 1; }
    ConfusionPanel > .why { height: 1fr; content-align: center middle; color: $text-muted; display: none; }
    ConfusionPanel.-none > .why { display: block; }
    ConfusionPanel.-none > Horizontal, ConfusionPanel.-none > .cell { display: none; }
    ConfusionPanel Sheet { width: 62; display: none; margin-left: 1; }
    """

    @dataclass
    class CellChosen(Message):
        """Show the images of this cell."""

        cell: Cell

    def __init__(self) -> None:
        super().__init__(id="confusion")
        self._heat = HeatMap(id="heat")
        self._heat.tooltip = (
            "Arrows move through the classes, enter shows the cell's images, z all in blocks."
        )
        self._sheet = Sheet(cursor="row", id="changes")
        self._sheet.tooltip = "The cells that changed most; enter shows their images."
        self._delta: ConfusionDelta | None = None

    def compose(self) -> ComposeResult:
        """The cell under the cursor in words, then the map and, where there is room, the list."""
        yield Static(classes="cell", markup=False)
        with Horizontal():
            yield self._heat
            yield self._sheet
        yield Static(classes="why", markup=False)

    @property
    def cell(self) -> Cell | None:
        """What the cursor is on; None where there is nothing to compare."""
        return None if self._delta is None else cell_at(self._delta, *self._heat.cursor)

    def show(self, board: Board, look: Look) -> None:
        """Draw this in place of what is there."""
        place = board.compared(look.chosen)
        delta, why = delta_of(board, place)
        self.set_class(delta is None, "-none")
        if delta is None:
            self._delta = None
            self.query_one(".why", Static).update(plain(why))
            return
        if self._delta is None or not np.array_equal(self._delta.change, delta.change):
            shown = delta.change.copy()
            np.fill_diagonal(shown, -shown.diagonal())
            self._heat.show(shown, delta.classes, delta.classes, diverging=True)
            self._delta = delta
            worst = int(np.abs(shown - np.diag(shown.diagonal())).argmax())
            self._heat.cursor = divmod(worst, len(delta.classes))
        self._sheet.fill(*change_rows(delta, palette_of(self.app.theme)))
        self._point()
        self._say()

    def _point(self) -> None:
        """The list's cursor goes with the map's, where the list has the cell."""
        self._sheet.point(row="{} {}".format(*self._heat.cursor))

    @on(HeatMap.CellHighlighted)
    def _moved(self, message: HeatMap.CellHighlighted) -> None:
        message.stop()
        self._point()
        self._say()

    @on(Sheet.RowHighlighted)
    def _listed(self, message: Sheet.RowHighlighted) -> None:
        message.stop()
        if self._sheet.has_focus and self._delta is not None and self._sheet.row_key:
            row, column = map(int, self._sheet.row_key.split())
            self._heat.cursor = (row, column)
            self._say()

    @on(HeatMap.CellChosen)
    @on(Sheet.RowSelected)
    def _open(self, message: Message) -> None:
        message.stop()
        cell = self.cell
        if cell is not None:
            self.post_message(self.CellChosen(cell))

    def _say(self) -> None:
        cell = self.cell
        if cell is not None:
            colours = palette_of(self.app.theme)
            self.query_one(".cell", Static).update(cell_words(cell, colours))


def delta_of(board: Board, place: int) -> tuple[ConfusionDelta | None, str]:
    """The change from the baseline to the run at `place`, or None and why there is none."""
    for at in (board.baseline, place):
        if board.read[at].results is None:
            return None, f"{board.names[at]} has no test results: {board.runs[at].status}"
    baseline, run = board.read[board.baseline].results, board.read[place].results
    assert baseline is not None
    assert run is not None
    delta = confusion_delta(baseline, run)
    return delta, "" if delta is not None else "the two runs tell different classes apart"


def cell_at(delta: ConfusionDelta, row: int, column: int) -> Cell:
    """A cell by its place in the matrix."""
    return Cell(
        delta.classes[row],
        delta.classes[column],
        int(delta.before[row, column]),
        int(delta.after[row, column]),
    )


def pair_words(board: Board, look: Look, *, limit: int) -> str:
    """`★ oneshot → iter`, each name of at most `limit` characters."""
    names = (board.names[board.baseline], board.names[board.compared(look.chosen)])
    first, second = (clean(name, limit) for name in names)
    return f"{STAR} {first} → {second}"


def cell_words(cell: Cell, colours: Palette) -> Text:
    """`Birman said to be Siamese: 8 → 17 +9 worse`."""
    right = cell.true == cell.said
    text = plain(f"{cell.true} right: " if right else f"{cell.true} said to be {cell.said}: ")
    change = cell.after - cell.before
    text.append(f"{cell.before} → {cell.after} ")
    worse = change < 0 if right else change > 0
    style = colours.muted if not change else colours.bad if worse else colours.good
    return text.append(
        f"{signed(change, 'd')}{'' if not change else ' worse' if worse else ' better'}", style
    )


def change_rows(delta: ConfusionDelta, colours: Palette) -> tuple[list[Column], list[Row]]:
    """The cells off the diagonal that changed, most first."""
    change = delta.change.copy()
    np.fill_diagonal(change, 0)
    order = np.argsort(-np.abs(change), axis=None, kind="stable")[:_LISTED]
    columns = [
        Column("true", Text("true class")),
        Column("said", Text("said to be")),
        Column("before", Text(STAR, colours.accent), right=True),
        Column("after", Text("now"), right=True),
        Column("change", Text("Δ"), right=True),
    ]
    rows = []
    for place in order.tolist():
        row, column = divmod(place, len(delta.classes))
        if not change[row, column]:
            break
        cell = cell_at(delta, row, column)
        by = cell.after - cell.before
        rows.append(
            Row(
                f"{row} {column}",
                (
                    plain(cell.true, limit=20),
                    plain(cell.said, limit=20),
                    Text(str(cell.before)),
                    Text(str(cell.after)),
                    Text(signed(by, "d"), colours.bad if by > 0 else colours.good),
                ),
            )
        )
    return columns, rows
