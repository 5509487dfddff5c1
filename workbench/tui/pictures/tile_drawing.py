"""One tile of a grid as lines of cells: the cursor's mark, the picture or a name, the caption."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.color import Color, blend_rgb
from rich.color_triplet import ColorTriplet
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.strip import Strip

from workbench.support.clean import clean
from workbench.tui.pictures.tiling import Tiling
from workbench.tui.text import plain
from workbench.tui.themes import Palette

_CURSOR, _MARKED = "▌", "◆"
_FAINT = 0.6
"""How far the colours of a faint picture are on their way to the background."""

Drawn = list[Strip] | str
"""A picture's lines, or what stands in its place."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One image of the grid."""

    path: Path | None
    """None where the file is not known, or not yet."""
    caption: tuple[Text, ...]
    """At most `tiling.CAPTION_LINES` lines; cut to the tile's width."""
    name: str
    """Stands in the picture's place where there is none."""
    marked: bool = False
    faint: bool = False
    """Drawn darker, as what is not meant."""


@dataclass(frozen=True, slots=True)
class Painter:
    """Draws tiles in the grid's style; one serves a whole redraw."""

    base: Style
    colours: Palette
    console: Console

    def blank(self, width: int) -> Strip:
        """Empty cells."""
        return Strip.blank(width, self.base)

    def line(
        self, tile: Tile, drawn: Drawn, number: int, lay: Tiling, *, is_cursor: bool, focused: bool
    ) -> list[Strip]:
        """The mark's cell and the rest of a tile's line."""
        width, caption = lay.picture_columns, number - lay.picture_rows
        mark = self._mark(tile.marked and caption == 0, is_cursor)
        if caption >= 0:
            text = _caption_line(tile.caption, caption, lay)
            return [mark, self._words(text, width, highlighted=is_cursor and focused)]
        if isinstance(drawn, str):
            here = drawn if number == lay.picture_rows // 2 else ""
            return [mark, self._words(plain(_end_of(clean(here), width), "dim"), width, centred=True)]
        row = number - (lay.picture_rows - len(drawn)) // 2
        if not 0 <= row < len(drawn):
            return [mark, self.blank(width)]
        left = (width - drawn[row].cell_length) // 2
        shown = self._faint(drawn[row]) if tile.faint else drawn[row]
        return [mark, self.blank(left), shown, self.blank(width - left - drawn[row].cell_length)]

    def _faint(self, line: Strip) -> Strip:
        """A picture's line with its colours moved towards the background."""
        ground = Color.parse(self.colours.background).get_truecolor()
        segments = []
        for text, style, control in line:
            if style is not None:
                front, back = (_blended(colour, ground) for colour in (style.color, style.bgcolor))
                style = style + Style(color=front, bgcolor=back)
            segments.append(Segment(text, style, control))
        return Strip(segments, line.cell_length)

    def _mark(self, is_marked: bool, is_cursor: bool) -> Strip:
        if is_marked:
            return Strip([Segment(_MARKED, self.base + Style(color=self.colours.warning, bold=True))], 1)
        if is_cursor:
            return Strip([Segment(_CURSOR, self.base + Style(color=self.colours.accent))], 1)
        return self.blank(1)

    def _words(self, text: Text, width: int, *, highlighted: bool = False, centred: bool = False) -> Strip:
        shown = text.copy()
        shown.end = ""
        shown.truncate(width, overflow="ellipsis")
        if centred:
            shown.align("center", width)
        else:
            shown.pad_right(max(0, width - shown.cell_len))
        if highlighted:
            style = Style(color=self.colours.background, bgcolor=self.colours.accent, bold=True)
            return Strip([Segment(shown.plain, style)], width)
        # Text.render leaves out the text's own style where there are no spans.
        base = self.base + self.console.get_style(text.style)
        segments = [Segment(part, base + own if own else base) for part, own, _ in shown.render(self.console)]
        return Strip(segments).adjust_cell_length(width, base)


def _blended(colour: Color | None, ground: ColorTriplet) -> Color | None:
    if colour is None:
        return None
    return Color.from_triplet(blend_rgb(colour.get_truecolor(), ground, _FAINT))


def _caption_line(caption: tuple[Text, ...], line: int, lay: Tiling) -> Text:
    """The caption's line; where there is one line less, the last stands behind the one before."""
    lines = list(caption)
    if len(lines) > lay.caption_lines:
        last = lines.pop()
        lines[-1] = Text.assemble(lines[-1], " ", last)
    return lines[line] if line < len(lines) else Text()


def _end_of(name: str, width: int) -> str:
    """A name that is too long keeps its end, where images of a class differ."""
    return name if len(name) <= width else f"…{name[len(name) - width + 1 :]}"
