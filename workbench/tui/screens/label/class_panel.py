"""The classes with their keys and counts; a click on one is the stroke that its key is."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.strip import Strip

from workbench.labels.journal import CANNOT_TELL, UNUSABLE
from workbench.tui.actions import ACTIONS
from workbench.tui.draw.bars import bar
from workbench.tui.screens.label.captions import class_words
from workbench.tui.screens.label.label_sheet import Tally
from workbench.tui.text import plain
from workbench.tui.themes import Palette, palette_of
from workbench.tui.widgets.line_list import LineList

_BARS_FROM = 40
"""Columns from which on there is room for bars."""
_KEY_WIDTH = 2


@dataclass(frozen=True, slots=True)
class _Line:
    """A class, or what stands for none."""

    name: str
    key: str
    count: int


class ClassPanel(LineList):
    """Every class in the order of its key, then what stands for none."""

    DEFAULT_CSS = "ClassPanel { padding: 0; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "its images", show=False),
    ]

    @dataclass
    class Chosen(Message):
        """A class was clicked: what is ticked is of it. Also `?` and `!`."""

        name: str

    @dataclass
    class Opened(Message):
        """The images of a class are wanted."""

        name: str

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines: list[_Line | None] = []
        self._guessed: frozenset[str] = frozenset()
        self._lacking: frozenset[str] = frozenset()
        self.tooltip = (
            "Enter shows the images of a class. A click labels what is ticked with it, a click on the count "
            "shows its images."
        )

    def show(self, tally: Tally, *, guessed: Collection[str] = (), lacking: Collection[str] = ()) -> None:
        """Show these counts.

        Args:
            guessed: classes that the model guesses of what the next stroke is about; they stand out.
            lacking: classes that have too few labels.
        """
        self._guessed, self._lacking = frozenset(guessed), frozenset(lacking)
        ordered = [*tally.keys, *(name for name in tally.classes if name not in tally.keys)]
        is_first = bool(ordered) and all(self.row_of(name) is None for name in ordered)
        others = [
            _Line(CANNOT_TELL, ACTIONS["label.cannot_tell"].shown_key, tally.cannot_tell),
            _Line(UNUSABLE, ACTIONS["label.unusable"].shown_key, tally.unusable),
        ]
        classes = [_Line(name, tally.keys.get(name, ""), tally.classes.get(name, 0)) for name in ordered]
        self._lines = [*classes, None, *others] if classes else [*others]
        self.set_lines([line.name if line is not None else "" for line in self._lines], width=1)
        if is_first:
            self.move_to(ordered[0])  # until now there was only what stands for none
        self.refresh()

    @property
    def line_count(self) -> int:
        """Lines that show everything."""
        return len(self._lines)

    def draw_row(self, row: int) -> Strip:
        """`1 parasol   31`; in a wide place with a bar."""
        line, width = self._lines[row], self.size.width
        if line is None:
            return Strip.blank(width, self.rich_style)
        colours = palette_of(self.app.theme)
        text = self._text(line, width, colours)
        strip = Strip([Segment(s.text, s.style) for s in text.render(self.app.console) if s.text])
        style = self.rich_style
        if line.name == self.cursor and self.has_focus:
            style += Style(color=colours.background, bgcolor=colours.accent, bold=True)
            return Strip([Segment(text.plain, style)]).adjust_cell_length(width, style)
        return strip.adjust_cell_length(width).apply_style(style)

    def _text(self, line: _Line, width: int, colours: Palette) -> Text:
        text = Text(end="", no_wrap=True)
        text.append(line.key.ljust(_KEY_WIDTH), style=f"bold {colours.accent}")
        name_width = max(4, width - _KEY_WIDTH - self._count_width)
        bar_width = 0
        if width >= _BARS_FROM:
            bar_width = (width - _KEY_WIDTH - self._count_width) // 2
            name_width -= bar_width
        is_class = line.name not in (CANNOT_TELL, UNUSABLE)
        style = "" if is_class else colours.muted
        if line.name in self._guessed:
            style = f"bold {colours.good}"
        name = plain(class_words(line.name), style)
        name.truncate(name_width, overflow="ellipsis")
        name.pad_right(name_width - name.cell_len)
        text.append_text(name)
        if bar_width:
            most = max((one.count for one in self._lines if one is not None), default=0)
            share = line.count / most if most else 0.0
            text.append(bar(share, bar_width), style=colours.accent if is_class else colours.muted)
        few = line.name in self._lacking
        text.append(f"{line.count:,}".rjust(self._count_width - 1), style=colours.warning if few else "")
        text.append("!" if few else " ", style=colours.warning)
        return text

    @property
    def _count_width(self) -> int:
        """Cells of the largest number, with what parts it from a name and what marks it."""
        return 2 + max((len(f"{line.count:,}") for line in self._lines if line is not None), default=1)

    def action_open(self) -> None:
        """The images of the class under the cursor."""
        if self.cursor:
            self.post_message(self.Opened(self.cursor))

    def on_click(self, event: events.Click) -> None:
        """The count opens the class; all else is a stroke."""
        offset, row = event.get_content_offset(self), self.row_at(event)
        line = self._lines[row] if row is not None else None
        if offset is None or line is None:
            return
        self.move_to(line.name)
        is_count = offset.x >= self.size.width - self._count_width
        self.post_message(self.Opened(line.name) if is_count else self.Chosen(line.name))
