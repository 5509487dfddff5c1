"""The curves over each other, and below them the list of the runs with the values under the cursor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from workbench.runs.curves import Curve, CurveMetric, curve_of
from workbench.runs.values import number_words
from workbench.support.units import human_seconds
from workbench.tui.screens.compare.board import Board
from workbench.tui.screens.compare.comparison_sheet import (
    Column,
    Row,
    Sheet,
    delta_text,
    heading,
    marker,
    status_text,
)
from workbench.tui.screens.compare.look import Look
from workbench.tui.themes import Palette, palette_of
from workbench.tui.widgets.chart import Chart, ChartData, Mark, Series

_NONE = Curve(np.empty(0), np.empty(0))
_NAME_CELLS = 26
_MOST_NAMED = 5  # in the chart's legend: the list below names them all


class RunList(Sheet):
    """A line a run; left and right move the chart's cursor, so that the list may keep the focus."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("plus,equals_sign", "zoom(2)", "zoom in", show=False),
        Binding("minus", "zoom(0.5)", "zoom out", show=False),
        Binding("shift+left,H", "pan(-1)", "pan left", show=False),
        Binding("shift+right,L", "pan(1)", "pan right", show=False),
        Binding("0", "reset", "whole curves, cursor away", show=False),
    ]

    def __init__(self, chart: Chart) -> None:
        super().__init__(cursor="row", id="run-list", classes="first-focus")
        self._chart = chart
        self.tooltip = (
            "Up and down choose a run, left and right move the cursor through the curves, + and - zoom, "
            "0 shows all."
        )

    def action_cursor_left(self) -> None:
        """Move the chart's cursor."""
        self._chart.move_cursor(-1)

    def action_cursor_right(self) -> None:
        """Move the chart's cursor."""
        self._chart.move_cursor(1)

    def action_zoom(self, factor: float) -> None:
        """Zoom the chart."""
        self._chart.zoom(factor)

    def action_pan(self, direction: int) -> None:
        """Pan the chart."""
        self._chart.pan(direction)

    def action_reset(self) -> None:
        """Show all of the chart."""
        self._chart.reset()


class CurvePanel(Vertical):
    """Draws a board's curves as `Look` says."""

    DEFAULT_CSS = """
    CurvePanel { height: 1fr; width: 1fr; }
    CurvePanel Chart { height: 1fr; min-height: 6; }
    CurvePanel RunList { height: auto; max-height: 45%; }
    """

    def __init__(self) -> None:
        super().__init__(id="curves")
        self._chart = Chart(id="chart")
        self._list = RunList(self._chart)
        self._board: Board | None = None
        self._look = Look()
        self._curves: list[Curve] = []

    def compose(self) -> ComposeResult:
        """The chart over the list."""
        yield self._chart
        yield self._list

    def show(self, board: Board, look: Look) -> None:
        """Draw this in place of what is there."""
        self._board, self._look = board, look
        self._curves = [
            _NONE if following is None else curve_of(following, look.curve, look.axis)
            for following in board.followings
        ]
        self._chart.log_y, self._chart.smoothing = look.log, look.smoothing
        self._chart.data = chart_data(board, self._curves, look)
        self._fill()

    @on(Chart.CursorMoved)
    def _read_off(self, message: Chart.CursorMoved) -> None:
        message.stop()
        self._fill()

    def _fill(self) -> None:
        if self._board is None:
            return
        colours = palette_of(self.app.theme)
        columns, rows = list_rows(self._board, self._curves, self._look, self._chart.cursor, colours)
        self._list.fill(columns, rows)
        self._list.point(row=self._look.chosen)


def chart_data(board: Board, curves: Sequence[Curve], look: Look) -> ChartData:
    """The curves in the order of the runs; the chosen run's rounds as marks."""
    chosen = board.place_of(look.chosen)
    clear = {chosen, board.baseline} if look.spotlight else set(range(len(curves)))
    series = tuple(
        Series(
            name if len(curves) <= _MOST_NAMED else "",
            curve.x,
            curve.y,
            board.colour_of(place, seeds=look.seeds),
            faint=place not in clear,
        )
        for place, (name, curve) in enumerate(zip(board.names, curves, strict=True))
    )
    followed = board.followings[chosen] if chosen is not None else None
    marks = (
        tuple(Mark(mark.on(look.axis), mark.label) for mark in followed.stages[1:])
        if followed is not None
        else ()
    )
    return ChartData(
        title=look.curve.words,
        series=series,
        marks=marks,
        x_label=look.axis,
        y_format="share" if look.curve.is_share else "number",
    )


def list_rows(
    board: Board, curves: Sequence[Curve], look: Look, cursor: float | None, colours: Palette
) -> tuple[list[Column], list[Row]]:
    """A line a run: sign and name, the value under the cursor or the last, the best, the test accuracy."""
    read = "at cursor" if cursor is not None else "last"
    columns = [
        Column("name", Text("run")),
        Column("value", Text(read), right=True),
        Column("best", Text(f"best @ {look.axis}"), right=True),
        Column("test", Text("test"), right=True),
        Column("status", Text("status")),
    ]
    accuracy = next((row for row in board.comparison.metrics if row.key == "test.accuracy"), None)
    rows = []
    for place, (run, curve) in enumerate(zip(board.runs, curves, strict=True)):
        is_baseline = place == board.baseline
        name = heading(
            board.names[place],
            marker(place),
            board.colour_of(place, seeds=look.seeds),
            is_baseline=is_baseline,
            colours=colours,
            limit=_NAME_CELLS,
        )
        test = Text("–", colours.muted)
        if accuracy is not None and accuracy.values[place] is not None:
            test = Text(number_words("test.accuracy", accuracy.values[place], percent=False))
            if not is_baseline:
                test.append(" ").append_text(delta_text("test.accuracy", accuracy.deltas[place], colours))
        cells = (
            name,
            _value(curve, look.curve, cursor),
            _best(curve, look, colours),
            test,
            status_text(run, colours, short=not run.status.is_active),
        )
        rows.append(Row(run.id, cells))
    return columns, rows


def _value(curve: Curve, metric: CurveMetric, cursor: float | None) -> Text:
    value = curve.at(cursor) if cursor is not None else float(curve.y[-1]) if len(curve.y) else None
    return Text(number_words(metric.key, value, percent=False))


def _best(curve: Curve, look: Look, colours: Palette) -> Text:
    best = curve.best(least=look.curve.less_is_better)
    if best is None or look.curve.field in ("learning_rate", "images_per_second"):
        return Text("–", colours.muted)
    text = Text(number_words(look.metric, best[1], percent=False))
    where = human_seconds(best[0]) if look.axis == "time" else f"{best[0]:,.0f}"
    if curve.kept is not None and look.axis == "epoch":
        where = curve.kept.words
    return text.append(f" @ {where}", colours.muted)
