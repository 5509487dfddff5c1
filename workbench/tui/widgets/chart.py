"""The line chart as a widget: a cursor that reads values, zoom, pan, smoothing and a log axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from workbench.tui.draw.chart_curves import (
    EMPTY_CHART,
    ChartData,
    ChartView,
    CurveCache,
    Frame,
    Level,
    Mark,
    Series,
)
from workbench.tui.draw.chart_drawing import draw_chart
from workbench.tui.themes import palette_of

__all__ = ["Chart", "ChartData", "Level", "Mark", "Series"]

_PAN = 0.2  # of the window
_CLOSEST_ZOOM = 1e-4  # of the whole range


class Chart(Widget, can_focus=True):
    """Shows `data`; costs the same for a thousand points and a million.

    The window is None for the whole x axis, which then grows with the data. Left and right move the cursor to
    the next point that is at least a cell away; the first of them brings it out.
    """

    DEFAULT_CSS = """
    Chart { width: 1fr; height: 1fr; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "cursor(-1)", "cursor left", show=False, id="chart.cursor_left"),
        Binding("right,l", "cursor(1)", "cursor right", show=False, id="chart.cursor_right"),
        Binding("shift+left,H", "pan(-1)", "pan left", show=False, id="chart.pan_left"),
        Binding("shift+right,L", "pan(1)", "pan right", show=False, id="chart.pan_right"),
        Binding("plus,equals_sign", "zoom(2)", "zoom in", show=False, id="chart.zoom_in"),
        Binding("minus", "zoom(0.5)", "zoom out", show=False, id="chart.zoom_out"),
        Binding("0", "reset", "whole curve, cursor away", show=False, id="chart.reset"),
    ]

    data: reactive[ChartData] = reactive(EMPTY_CHART, always_update=True)
    log_y: reactive[bool] = reactive(False)
    smoothing: reactive[float] = reactive(0.0)
    window: reactive[tuple[float, float] | None] = reactive(None)
    cursor: reactive[float | None] = reactive(None)

    @dataclass
    class CursorMoved(Message):
        """The cursor is at `x`; None: it is gone."""

        chart: Chart
        x: float | None

        @property
        def control(self) -> Chart:
            """The chart, for `@on` selectors."""
            return self.chart

    @dataclass
    class WindowChanged(Message):
        """Another part of the x axis is shown; None: all of it."""

        chart: Chart
        window: tuple[float, float] | None

        @property
        def control(self) -> Chart:
            """The chart, for `@on` selectors."""
            return self.chart

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._cache = CurveCache()
        self._drawn: tuple[object, list[Strip]] | None = None
        self._frame: Frame | None = None

    def render_line(self, y: int) -> Strip:
        """One line of the drawing, which is made once for all its lines."""
        lines = self._lines()
        return lines[y] if y < len(lines) else Strip.blank(self.size.width, self.rich_style)

    def _lines(self) -> list[Strip]:
        size: Size = self.size
        view = ChartView(self.log_y, self.smoothing, self.window, self.cursor)
        key = (self.data, view, size, self.app.theme, self.background_colors)
        if self._drawn is None or self._drawn[0] != key:
            palette = palette_of(self.app.theme)
            drawing = draw_chart(self.data, view, size.width, size.height, palette, self._cache)
            self._frame = drawing.frame
            self._drawn = (key, [strip.apply_style(self.rich_style) for strip in drawing.strips])
        return self._drawn[1]

    def move_cursor(self, direction: int) -> None:
        """To the nearest point that is at least a cell further right (1) or left (-1)."""
        frame = self._geometry()
        if frame is None:
            return
        if self.cursor is None or frame.column(self.cursor) is None:
            self.cursor = self._snapped(frame.end if direction < 0 else frame.x_at(frame.columns // 2))
            return
        cell = (frame.end - frame.start) / frame.columns
        least = self.cursor + direction * cell * 0.999
        curves = self._cache.curves(self._clear_series(), smoothing=0.0, log_y=self.log_y)
        found = [x for curve in curves if (x := curve.next_x(least, direction)) is not None]
        inside = [x for x in found if frame.start <= x <= frame.end]
        if inside:
            self.cursor = min(inside, key=lambda x: abs(x - least))

    def zoom(self, factor: float) -> None:
        """Show 1/`factor` of what is shown, about the cursor or the middle."""
        frame = self._geometry()
        whole = self._whole_range()
        if frame is None or whole is None:
            return
        centre = self.cursor if self.cursor is not None and frame.column(self.cursor) is not None else None
        if centre is None:
            centre = (frame.start + frame.end) / 2
        width = (frame.end - frame.start) / factor
        if width >= whole[1] - whole[0]:
            self.window = None
            return
        width = max(width, (whole[1] - whole[0]) * _CLOSEST_ZOOM)
        share = (centre - frame.start) / (frame.end - frame.start)
        self._show_from(centre - share * width, width, whole)

    def pan(self, direction: int) -> None:
        """Move a zoomed window by a fifth of itself, to the right (1) or left (-1)."""
        whole = self._whole_range()
        if self.window is None or whole is None:
            return
        start, end = self.window
        self._show_from(start + direction * _PAN * (end - start), end - start, whole)

    def reset(self) -> None:
        """Show the whole curve again, without a cursor."""
        self.window = None
        self.cursor = None

    def watch_cursor(self, cursor: float | None) -> None:
        """Tell where it is now."""
        self.post_message(self.CursorMoved(self, cursor))

    def watch_window(self, window: tuple[float, float] | None) -> None:
        """Tell what is shown now."""
        self.post_message(self.WindowChanged(self, window))

    def action_cursor(self, direction: int) -> None:
        """Binding: move the cursor."""
        self.move_cursor(direction)

    def action_zoom(self, factor: float) -> None:
        """Binding: zoom."""
        self.zoom(factor)

    def action_pan(self, direction: int) -> None:
        """Binding: pan."""
        self.pan(direction)

    def action_reset(self) -> None:
        """Binding: reset the window and the cursor."""
        self.reset()

    def on_click(self, event: events.Click) -> None:
        """Put the cursor at the point nearest to the click."""
        frame = self._geometry()
        if frame is not None and 0 <= event.x - frame.left < frame.columns:
            self.cursor = self._snapped(frame.x_at(event.x - frame.left))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Zoom in."""
        event.stop()
        self.zoom(1.25)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Zoom out."""
        event.stop()
        self.zoom(0.8)

    def _geometry(self) -> Frame | None:
        self._lines()
        return self._frame

    def _clear_series(self) -> tuple[Series, ...]:
        return tuple(series for series in self.data.series if not series.faint)

    def _snapped(self, x: float) -> float:
        """The x of the point nearest to `x` on any clear curve."""
        curves = self._cache.curves(self._clear_series(), smoothing=0.0, log_y=self.log_y)
        near = [point[0] for curve in curves if (point := curve.nearest(x)) is not None]
        return min(near, key=lambda found: abs(found - x), default=x)

    def _whole_range(self) -> tuple[float, float] | None:
        curves = self._cache.curves(self.data.series, smoothing=0.0, log_y=self.log_y)
        drawn = [curve.x for curve in curves if len(curve.x)]
        if not drawn:
            return None
        start, end = min(float(x[0]) for x in drawn), max(float(x[-1]) for x in drawn)
        return (start, end) if end > start else None

    def _show_from(self, start: float, width: float, whole: tuple[float, float]) -> None:
        start = min(max(start, whole[0]), whole[1] - width)
        self.window = (start, start + width)
