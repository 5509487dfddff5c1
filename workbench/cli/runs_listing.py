"""Runs a line each, in a table that fits the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from workbench.cli.console import cell, make_table
from workbench.cli.runs_values import STATUS_STYLES, progress_words, shown, with_unit
from workbench.runs.keys import Value, values_of
from workbench.runs.summary import RunSummary

# Columns of a listing in the order shown. A narrow terminal gets the first that fit, a wide one more.
_HANDLE, _PROGRESS = "run", "progress"
_COLUMNS = (
    _HANDLE,
    "name",
    "status",
    _PROGRESS,
    "val.accuracy",
    "test.accuracy",
    "teacher.test.accuracy",
    "created",
    "model.backbone",
    "pseudo_label.strategy",
    "tags",
)
_NEVER_CUT = (_HANDLE, "status", _PROGRESS, "created", "ended")
_SHORTEST_TEXT = 16
_BETWEEN_COLUMNS = 3  # one space on either side and rich's edge
_TITLES = {
    "val.accuracy": "val %",
    "test.accuracy": "test %",
    "teacher.test.accuracy": "teacher %",
    "model.backbone": "backbone",
    "pseudo_label.strategy": "strategy",
}


def listing_columns(summaries: Sequence[RunSummary], width: int) -> list[str]:
    """The columns of a listing that fit `width` characters and that any of the runs has a value for."""
    left = width - 1
    chosen: list[str] = []
    for column in (_Column.of(key, summaries) for key in _COLUMNS):
        needed = column.least + _BETWEEN_COLUMNS
        if column.has_values and needed <= left:
            chosen.append(column.key)
            left -= needed
    return chosen


def listing_table(summaries: Sequence[RunSummary], keys: Sequence[str], width: int) -> Table:
    """A line a run. Long text is cut to fit `width`; numbers, states and dates never are."""
    columns = [_Column.of(key, summaries) for key in keys]
    table = make_table([column.title for column in columns])
    left = width - 1 - sum(column.least + _BETWEEN_COLUMNS for column in columns)
    for column, drawn in zip(columns, table.columns, strict=True):
        spare = min(max(0, left), column.natural - column.least)
        left -= spare
        drawn.width, drawn.no_wrap, drawn.overflow = column.least + spare, True, "ellipsis"
        drawn.justify = "right" if column.is_number else "left"
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*row)
    # Wider than the terminal only where the user chose columns that cannot fit.
    table.width = sum(drawn.width or 0 for drawn in table.columns) + _BETWEEN_COLUMNS * len(columns) + 1
    return table


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of a listing with its cells, and the widths it can have."""

    key: str
    title: str
    cells: list[Text]
    has_values: bool
    is_number: bool
    natural: int
    least: int

    @classmethod
    def of(cls, key: str, summaries: Sequence[RunSummary]) -> _Column:
        values = [_value(summary, key) for summary in summaries]
        cells = [_listed(summary, key, value) for summary, value in zip(summaries, values, strict=True)]
        held = [value for value in values if value is not None]
        is_number = bool(held) and all(_is_number(value) for value in held)
        natural = max(cell_len(text) for text in (_title(key), *(cell.plain for cell in cells)))
        cut = not is_number and key not in _NEVER_CUT
        return cls(
            key=key,
            title=_title(key),
            cells=cells,
            has_values=bool(held) and held != [[]] * len(held),
            is_number=is_number,
            natural=natural,
            least=min(natural, _SHORTEST_TEXT) if cut else natural,
        )


def _value(summary: RunSummary, key: str) -> Value | None:
    if key == _HANDLE:
        return summary.handle
    if key == _PROGRESS:
        return progress_words(summary) or None
    return values_of(summary).get(key)


def trash_table(summaries: Sequence[RunSummary]) -> Table:
    """A line a removed run, with the whole id that it comes back under."""
    table = make_table(("id", "name", "status"))
    for summary in summaries:
        table.add_row(cell(summary.id), cell(summary.name), cell(summary.status))
    return table


def _title(key: str) -> str:
    return _TITLES.get(key, with_unit(key))


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _listed(summary: RunSummary, key: str, value: Value | None) -> Text:
    if key == "status":
        return Text(summary.status.value, style=STATUS_STYLES[summary.status])
    return cell(shown(key, value))
