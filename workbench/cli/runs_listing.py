"""Runs a line each, in a table that fits the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from workbench.cli.console import cell, make_table
from workbench.cli.runs_values import STATUS_STYLES, progress_words, shown, with_unit
from workbench.runs.keys import Value, values_of
from workbench.runs.summary import RunSummary

# Columns of a listing in the order shown; a narrow screen gets the first of them.
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
_TITLES = {
    "val.accuracy": "val %",
    "test.accuracy": "test %",
    "teacher.test.accuracy": "teacher %",
    "model.backbone": "backbone",
    "pseudo_label.strategy": "strategy",
}


def listing_columns(summaries: Sequence[RunSummary]) -> list[str]:
    """The columns of a listing that any of the runs has a value for."""
    return [key for key in _COLUMNS if _Column.of(key, summaries).has_values]


def listing_table(summaries: Sequence[RunSummary], keys: Sequence[str]) -> Table:
    """A line a run. Where there is little room names are cut; numbers, states and dates never are."""
    columns = [_Column.of(key, summaries) for key in keys]
    table = make_table(
        [column.title for column in columns],
        right=[column.title for column in columns if column.is_number],
        whole=[column.title for column in columns if column.key in _NEVER_CUT],
    )
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*row)
    return table


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of a listing with its cells."""

    key: str
    title: str
    cells: list[Text]
    has_values: bool
    is_number: bool

    @classmethod
    def of(cls, key: str, summaries: Sequence[RunSummary]) -> _Column:
        values = [_value(summary, key) for summary in summaries]
        cells = [_listed(summary, key, value) for summary, value in zip(summaries, values, strict=True)]
        held = [value for value in values if value is not None]
        is_number = bool(held) and all(_is_number(value) for value in held)
        return cls(
            key=key,
            title=_title(key),
            cells=cells,
            has_values=bool(held) and held != [[]] * len(held),
            is_number=is_number,
        )


def _value(summary: RunSummary, key: str) -> Value | None:
    if key == _HANDLE:
        return summary.handle
    if key == _PROGRESS:
        return progress_words(summary) or None
    return values_of(summary).get(key)


def trash_table(summaries: Sequence[RunSummary]) -> Table:
    """A line a removed run, with the whole id that it comes back under."""
    table = make_table(("id", "name", "status"), whole=("status",))
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
