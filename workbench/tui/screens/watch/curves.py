"""The curves: accuracy, a second chart, and the latest numbers beneath them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.widgets import Static

from workbench.runs.following import AXES, Axis
from workbench.tui.screens.watch.curve_data import QUANTITIES, Quantity, accuracy_chart, quantity_chart
from workbench.tui.screens.watch.facts import fact_lines
from workbench.tui.screens.watch.news import News
from workbench.tui.themes import palette_of
from workbench.tui.widgets.chart import Chart, ChartData, Series

if TYPE_CHECKING:
    from workbench.jobs import GpuUse

SMOOTHINGS = (0.0, 0.6, 0.9)


class CurvesPanel(Vertical):
    """Two charts that share the x axis, its window and the cursor."""

    def __init__(self) -> None:
        super().__init__(id="curves")
        self.axis: Axis = "epoch"
        self.quantity: Quantity = "loss"
        self.smoothing = 0.0
        self.log_y = False
        self._news: News | None = None

    def compose(self) -> ComposeResult:
        """The charts, then the facts."""
        with Container(id="charts"):
            yield Chart(id="accuracy", classes="first-focus")
            yield Chart(id="quantity")
        yield Static(id="facts", markup=False)

    @property
    def charts(self) -> tuple[Chart, Chart]:
        """Accuracy's, then the other."""
        return self.query_one("#accuracy", Chart), self.query_one("#quantity", Chart)

    def show(self, news: News, gpus: Sequence[GpuUse]) -> None:
        """Draw the run as it is now."""
        self._news = news
        self._draw()
        self.show_facts(gpus)

    def show_facts(self, gpus: Sequence[GpuUse]) -> None:
        """The lines beneath the charts."""
        if self._news is not None:
            lines = fact_lines(self._news, gpus, palette_of(self.app.theme))
            for line in lines:
                line.no_wrap, line.overflow = True, "ellipsis"
            self.query_one("#facts", Static).update(Text("\n", no_wrap=True, overflow="ellipsis").join(lines))

    def set_view(
        self,
        *,
        axis: Axis | None = None,
        quantity: Quantity | None = None,
        smoothing: float | None = None,
        log_y: bool | None = None,
    ) -> None:
        """Look at it otherwise; another axis shows all of itself."""
        if axis is not None and axis != self.axis:
            self.axis = axis
            self.charts[0].reset()
        self.quantity = quantity or self.quantity
        self.smoothing = self.smoothing if smoothing is None else smoothing
        self.log_y = self.log_y if log_y is None else log_y
        self._draw()

    def next_axis(self) -> None:
        """Epochs, steps, time, and round again."""
        self.set_view(axis=AXES[(AXES.index(self.axis) + 1) % len(AXES)])

    def next_quantity(self) -> None:
        """Loss, learning rate, images a second, memory."""
        self.set_view(quantity=QUANTITIES[(QUANTITIES.index(self.quantity) + 1) % len(QUANTITIES)])

    def next_smoothing(self) -> None:
        """Off, light, strong."""
        place = SMOOTHINGS.index(self.smoothing) if self.smoothing in SMOOTHINGS else 0
        self.set_view(smoothing=SMOOTHINGS[(place + 1) % len(SMOOTHINGS)])

    def _draw(self) -> None:
        accuracy, other = self.charts
        for chart in (accuracy, other):
            chart.smoothing = self.smoothing
        other.log_y = self.log_y
        if self._news is not None:
            following = self._news.following
            _show(accuracy, accuracy_chart(following, self.axis))
            _show(other, quantity_chart(following, self.axis, self.quantity))

    @on(Chart.CursorMoved)
    def _cursor_moved(self, message: Chart.CursorMoved) -> None:
        message.stop()
        for chart in self.charts:
            if chart is not message.chart:
                with chart.prevent(Chart.CursorMoved):
                    chart.cursor = message.x

    @on(Chart.WindowChanged)
    def _window_changed(self, message: Chart.WindowChanged) -> None:
        message.stop()
        for chart in self.charts:
            if chart is not message.chart:
                with chart.prevent(Chart.WindowChanged):
                    chart.window = message.window


def _show(chart: Chart, data: ChartData) -> None:
    """Have `chart` draw `data` unless it does already: between epochs only the finer curves move."""
    old = chart.data
    same = (old.title, old.marks, old.levels, old.x_label) == (
        data.title,
        data.marks,
        data.levels,
        data.x_label,
    )
    if not same or len(old.series) != len(data.series) or not all(map(_equal, old.series, data.series)):
        chart.data = data


def _equal(one: Series, other: Series) -> bool:
    return np.array_equal(one.x, other.x, equal_nan=True) and np.array_equal(one.y, other.y, equal_nan=True)
