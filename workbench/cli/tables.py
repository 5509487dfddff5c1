"""Tables that fit: at any width a name keeps what tells it apart, numbers stay whole, and what is left out
is said. Into a pipe or a file nothing is wrapped, cut or left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal

from rich import box
from rich.cells import cell_len, get_character_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from workbench.support.clean import clean

BOUNDLESS = 1_000_000
"""Columns of what is no screen."""

_SHORTEST_NAME = 12
_SHORTEST_PROSE = 20
_ROOMY, _EDGE = 3, 1
"""Cells that a column, and the table, have beside the text where there is room; else one between two."""


class FittedTable(Table):
    """A table that fits its width: it wraps prose, cuts names, and then leaves columns out."""

    whole: frozenset[str] = frozenset()
    """Headings whose cells are never cut."""
    prose: frozenset[str] = frozenset()
    """Headings whose cells wrap between words; all others hold names."""
    spare: tuple[str, ...] = ()
    """Headings that are left out before any name is cut, in this order."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        title, self.title = self.title, None
        try:
            if title is not None:
                yield Text(str(title), style="table.title")
            yield from self._fitted(console, options)
        finally:
            self.title = title

    def _fitted(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        columns = [self._measured(place) for place in range(len(self.columns))]
        if sum(column.natural + _ROOMY for column in columns) + _EDGE <= width:
            for line in console.render_lines(_Plain(self), options, pad=False):
                yield from _stripped(line)
                yield Segment.line()
            return
        left_out = self._leave_out(columns, width)
        _share(columns, width)
        table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
        for column in columns:
            table.add_column(
                column.heading, justify=column.justify, width=column.width, no_wrap=column.is_whole
            )
        for number, cells in enumerate(zip(*(column.shown() for column in columns), strict=True)):
            table.add_row(*cells, style=self.rows[number].style, end_section=self.rows[number].end_section)
        yield Text("")
        yield table
        if left_out:
            yield Text(f"left out: {', '.join(left_out)}; a wider screen or a pipe has them", "dim")
        yield Text("")

    def _measured(self, place: int) -> _Column:
        drawn = self.columns[place]
        heading = str(drawn.header)
        cells = [text if isinstance(text, Text) else Text(str(text)) for text in drawn.cells]
        return _Column(
            place=place,
            heading=heading,
            justify="right" if drawn.justify == "right" else "left",
            cells=cells,
            natural=max([cell_len(heading), *(text.cell_len for text in cells)]),
            is_whole=drawn.justify == "right" or heading in self.whole,
            is_prose=heading in self.prose,
        )

    def _leave_out(self, columns: list[_Column], width: int) -> list[str]:
        """Take columns out until the others fit, and say which: spare ones rather than cut any, then from the
        right.

        The first column with a heading stays, whatever the width, and marks without a heading go unsaid.
        """
        first = next((column for column in columns if column.heading), columns[0])
        spare = [column for name in self.spare for column in columns if column.heading == name]
        order = [*spare, *(column for column in reversed(columns) if column not in spare)]
        gone: list[_Column] = []
        for column in order:
            needed = sum((one.natural if column in spare else one.least) + 1 for one in columns) - 1
            if needed <= width:
                continue
            if column is not first:
                columns.remove(column)
                gone.append(column)
        return [column.heading for column in sorted(gone, key=lambda one: one.place) if column.heading]


@dataclass(slots=True, eq=False)
class _Column:
    place: int
    heading: str
    justify: Literal["left", "right"]
    cells: list[Text]
    natural: int
    is_whole: bool
    is_prose: bool
    width: int = 0

    @property
    def least(self) -> int:
        """Fewer cells would make it unreadable."""
        if self.is_whole:
            return self.natural
        longest = max([cell_len(self.heading), _SHORTEST_PROSE if self.is_prose else _SHORTEST_NAME])
        return min(self.natural, longest)

    def shown(self) -> list[Text]:
        """The cells, names cut to the width where each stays different from the others; else all of them."""
        if self.is_whole or self.is_prose or self.natural <= self.width:
            return self.cells
        names = cut_apart([text.plain for text in self.cells], self.width)
        if names is None:
            return self.cells
        return [Text(name, style=text.style) for name, text in zip(names, self.cells, strict=True)]


@dataclass(frozen=True, slots=True)
class _Plain:
    """The table as rich draws it."""

    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from Table.__rich_console__(self.table, console, options)


def _share(columns: Sequence[_Column], width: int) -> None:
    """Give each column its least, and what is left to those that want more: names before prose."""
    for column in columns:
        column.width = min(column.least, width)
    left = width - sum(column.width + 1 for column in columns) + 1
    for column in sorted(columns, key=lambda column: column.is_prose):
        more = min(max(0, left), column.natural - column.width)
        column.width += more
        left -= more


def _stripped(line: list[Segment]) -> list[Segment]:
    """The line without the blanks at its end."""
    kept = list(line)
    while kept and not kept[-1].text.strip():
        kept.pop()
    if kept:
        kept[-1] = Segment(kept[-1].text.rstrip(), kept[-1].style)
    return kept


def cut_apart(names: Sequence[str], width: int) -> list[str] | None:
    """Each name in at most `width` cells, different ones still different; None where no cut does that.

    Cut in the middle; where that hides the difference, what all of them share goes first.
    """
    distinct = list(dict.fromkeys(names))
    for candidates in (distinct, _cores(distinct)):
        shown = [_cut(name, width) for name in candidates]
        if len(set(shown)) == len(distinct):
            told = dict(zip(distinct, shown, strict=True))
            return [told[name] for name in names]
    return None


def _cores(names: Sequence[str]) -> list[str]:
    """The names with an ellipsis for the beginning, and for the end, that all of them share."""
    before = _shared(names)
    after = _shared([name[before:][::-1] for name in names])
    return [f"…{name[before : len(name) - after]}…" for name in names]


def _shared(names: Sequence[str]) -> int:
    """How many letters all of them begin with."""
    return sum(1 for _ in takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False)))


def _cut(name: str, width: int) -> str:
    """`name`, its middle an ellipsis where it is longer than `width` cells."""
    if cell_len(name) <= width:
        return name
    tail = (width - 1) // 2
    end = _fitting(name[::-1], tail)[::-1]
    return f"{_fitting(name, width - 1 - cell_len(end))}…{end}"


def _fitting(text: str, width: int) -> str:
    """As much of `text` from its beginning as `width` cells hold."""
    left = width

    def fits(letter: str) -> bool:
        nonlocal left
        left -= get_character_cell_size(letter)
        return left >= 0

    return "".join(takewhile(fits, text))


def make_table(
    columns: Sequence[str],
    *,
    title: str = "",
    right: Sequence[str] = (),
    whole: Sequence[str] = (),
    prose: Sequence[str] = (),
    spare: Sequence[str] = (),
) -> FittedTable:
    """An empty table in the house's style.

    Args:
        right: columns of numbers, which are never cut.
        whole: columns of other text that is never cut, such as states and dates.
        prose: columns of sentences or values, which wrap; all others hold names.
        spare: columns that go before any name is cut, in this order.
    """
    table = FittedTable(title=Text(clean(title)) if title else None, box=box.SIMPLE_HEAD)
    table.whole, table.prose, table.spare = frozenset(whole), frozenset(prose), tuple(spare)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def cell(value: object, style: str = "") -> Text:
    """A table cell of outside text, cleaned."""
    return Text(clean(value), style=style)
