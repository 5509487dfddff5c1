"""The heat map as a widget: a cell cursor, by arrows, hjkl or mouse; Enter chooses the cell."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from workbench.support.clean import clean
from workbench.tui.draw.heat_drawing import EMPTY_HEAT, Fit, HeatData, draw_heat, fit
from workbench.tui.terminal import FewColours
from workbench.tui.themes import palette_of

_STRIDE = 10  # rows or columns that shift and an arrow go


class HeatMap(Widget, can_focus=True):
    """Shows a matrix; the whole where it fits, else the part around the cursor; `z` shows it all in blocks.

    Counts are shown as shares of their row. With `diverging` the values are differences and shown as they
    are. Under `NO_COLOR`, and where there are few colours, cells are shade characters.
    """

    DEFAULT_CSS = """
    HeatMap { width: 1fr; height: 1fr; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1,0)", "row up", show=False, id="heat.up"),
        Binding("down,j", "move(1,0)", "row down", show=False, id="heat.down"),
        Binding("left,h", "move(0,-1)", "column left", show=False, id="heat.left"),
        Binding("right,l", "move(0,1)", "column right", show=False, id="heat.right"),
        Binding("shift+up,K", "move(-10,0)", "ten rows up", show=False, id="heat.far_up"),
        Binding("shift+down,J", "move(10,0)", "ten rows down", show=False, id="heat.far_down"),
        Binding("shift+left,H", "move(0,-10)", "ten columns left", show=False, id="heat.far_left"),
        Binding("shift+right,L", "move(0,10)", "ten columns right", show=False, id="heat.far_right"),
        Binding("enter", "choose", "open the cell", show=False, id="heat.choose"),
        Binding("z", "overview", "all of it in blocks", show=False, id="heat.overview"),
    ]

    cursor: reactive[tuple[int, int]] = reactive((0, 0))
    """(row, column) in the matrix as it was shown."""
    overview: reactive[bool] = reactive(False)
    shades: reactive[bool] = reactive(False)

    @dataclass
    class _OfCell(Message):
        heat_map: HeatMap
        row: int
        column: int

        @property
        def control(self) -> HeatMap:
            """The heat map, for `@on` selectors."""
            return self.heat_map

    @dataclass
    class CellHighlighted(_OfCell):
        """The cursor is on this cell now."""

    @dataclass
    class CellChosen(_OfCell):
        """Enter, or a click on the cell under the cursor."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._data = EMPTY_HEAT
        self._drawn: tuple[object, list[Strip], Fit] | None = None
        self.set_reactive(HeatMap.shades, bool(os.environ.get("NO_COLOR")))

    def on_mount(self) -> None:
        """A terminal of 16 colours has no steps between black and red either."""
        if any(isinstance(one, FewColours) for one in self.app.get_line_filters()):
            self.shades = True

    def show(
        self,
        matrix: NDArray[np.generic],
        row_names: Sequence[str],
        column_names: Sequence[str],
        *,
        diverging: bool = False,
    ) -> None:
        """Show `matrix` in place of what is there; the cursor stays where it can.

        Args:
            matrix: (R, C) counts, rows true classes, columns predictions; with `diverging` any differences.
            row_names, column_names: R and C names; harmful characters in them are escaped here.

        Raises:
            ValueError: the names do not go with the matrix.
        """
        values = np.asarray(matrix, dtype=np.float64)
        if values.shape != (len(row_names), len(column_names)):
            raise ValueError(f"{values.shape} values, {len(row_names)} and {len(column_names)} names")
        if not diverging and values.size:
            totals = values.sum(axis=1, keepdims=True)
            values = np.divide(values, totals, out=np.zeros_like(values), where=totals > 0)
        self._data = HeatData(
            values, tuple(map(clean, row_names)), tuple(map(clean, column_names)), diverging
        )
        self._drawn = None
        self.cursor = self._clamped(*self.cursor)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """One line of the drawing, which is made once for all its lines."""
        lines, _ = self._drawing()
        strip = lines[y] if y < len(lines) else Strip.blank(0)
        return strip.apply_style(self.rich_style).adjust_cell_length(self.size.width, self.rich_style)

    @property
    def place(self) -> Fit:
        """How the matrix lies on the screen now, for what is drawn in line with it."""
        return self._drawing()[1]

    def _drawing(self) -> tuple[list[Strip], Fit]:
        size, cursor = self.size, self.cursor
        key = (size, cursor, self.app.theme, self.shades, self.overview, self.has_focus)
        if self._drawn is None or self._drawn[0] != key:
            rows, columns = self._data.values.shape
            place = fit(
                rows, columns, size.width, size.height, cursor, shades=self.shades, overview=self.overview
            )
            palette = palette_of(self.app.theme)
            shown = cursor if rows and columns else None
            lines = draw_heat(self._data, place, shown, palette, size.height, shades=self.shades)
            self._drawn = (key, lines, place)
        return self._drawn[1], self._drawn[2]

    def validate_cursor(self, cursor: tuple[int, int]) -> tuple[int, int]:
        """Keep it within the matrix."""
        return self._clamped(*cursor)

    def watch_cursor(self, cursor: tuple[int, int]) -> None:
        """Tell where it is now."""
        if self._data.values.size:
            self.post_message(self.CellHighlighted(self, *cursor))

    def action_move(self, rows: int, columns: int) -> None:
        """Binding: move the cursor."""
        self.cursor = (self.cursor[0] + rows, self.cursor[1] + columns)

    def action_choose(self) -> None:
        """Binding: choose the cell under the cursor."""
        if self._data.values.size:
            self.post_message(self.CellChosen(self, *self.cursor))

    def action_overview(self) -> None:
        """Binding: all of a large matrix in blocks, or a part of it cell by cell."""
        self.overview = not self.overview

    def on_click(self, event: events.Click) -> None:
        """Move the cursor to the cell; a click on the cursor's own cell, or a double click, chooses it."""
        _, place = self._drawing()
        # A cell of the screen holds two rows where tiles are half a line high: the upper one first, the lower
        # one on the next click.
        tiles = [place.tile_at(event.x, event.y, upper) for upper in (True, False)]
        cells = [(tile[0] * place.block, tile[1] * place.block) for tile in tiles if tile is not None]
        if not cells:
            return
        if self.cursor in cells and event.chain >= 2:
            self.action_choose()
        elif self.cursor == cells[0] and cells[-1] != cells[0]:
            self.cursor = cells[-1]
        elif self.cursor in cells and len(set(cells)) == 1:
            self.action_choose()
        else:
            self.cursor = cells[0]

    def _clamped(self, row: int, column: int) -> tuple[int, int]:
        rows, columns = self._data.values.shape
        return max(0, min(row, rows - 1)), max(0, min(column, columns - 1))
