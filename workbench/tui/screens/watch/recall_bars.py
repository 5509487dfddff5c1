"""A bar a class beside the heat map: how much of it was recognised, in line with the heat map's rows."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from workbench.tui.draw.bars import bar
from workbench.tui.themes import Palette, palette_of
from workbench.tui.widgets.heatmap import HeatMap

_NUMBERED = 10  # cells from which on a bar has its number beside it


class RecallBars(Widget):
    """Draws the recall in the rows of the heat map; two bars in a line where rows are half a line."""

    def __init__(self, heat: HeatMap, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._heat = heat
        self._recall: NDArray[np.float64] = np.empty(0)

    def show(self, recall: NDArray[np.float64]) -> None:
        """Show a class's recall a row.

        Args:
            recall: (C,) float64 in the order of the rows; NaN for a class without images.
        """
        self._recall = recall
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """The bars that are in this line."""
        place, width = self._heat.place, self.size.width  # where the rows are by now, not where they were
        palette = palette_of(self.app.theme)
        blank = Strip.blank(width, self.rich_style)
        if place.block > 1 or not len(self._recall):
            return blank
        rows = [(2 * y + half) // place.tile_height for half in (0, 1)]
        shares = [self._share(place.row + row) if row < place.rows else None for row in rows]
        if shares[0] is None:
            return blank
        if rows[0] == rows[1] or place.tile_height > 1:
            starts = 2 * y == -(-rows[0] * place.tile_height // 2) * 2
            strip = Strip(
                [Segment(_long(shares[0], width, starts), Style(color=_colour(shares[0], palette)))]
            )
        else:
            strip = Strip(_halves(shares[0], shares[1], width, palette))
        return strip.apply_style(self.rich_style)

    def _share(self, row: int) -> float | None:
        return float(self._recall[row]) if row < len(self._recall) else None


def _long(share: float, width: int, numbered: bool) -> str:
    if width < _NUMBERED:
        return bar(share, width)
    number = "–" if math.isnan(share) else f"{100 * share:.0f}"
    return bar(share, width - 4) + (f"{number:>4}" if numbered else " " * 4)


def _halves(upper: float, lower: float | None, width: int, palette: Palette) -> list[Segment]:
    """Two bars in a line: `▀` has the upper in front and the lower behind."""
    reach = [_cells(upper, width), _cells(lower, width)]
    colours = [_colour(share, palette) for share in (upper, lower)]
    segments = []
    for column in range(width):
        front, behind = (colours[i] if column < reach[i] else None for i in (0, 1))
        if front is None and behind is None:
            segments.append(Segment(" "))
        elif front is None:
            segments.append(Segment("▄", Style(color=behind)))
        else:
            segments.append(Segment("▀", Style(color=front, bgcolor=behind)))
    return segments


def _cells(share: float | None, width: int) -> int:
    return 0 if share is None or math.isnan(share) else round(share * width)


def _colour(share: float | None, palette: Palette) -> str:
    """The worst are in the warning's colour; their shortness says it too."""
    if share is None or math.isnan(share):
        return palette.muted
    return palette.accent if share >= 0.8 else palette.warning
