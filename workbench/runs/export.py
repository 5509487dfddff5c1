"""Runs for other programs: CSV, JSON, Markdown.

JSON is exact. CSV and Markdown carry no control, escape or bidi character: such are written as escapes, so a
run is a line. In CSV, text that a spreadsheet would run as a formula (it begins with = + - @, also the
full-width ones) gets an apostrophe in front, as OWASP advises; numbers never do. In Markdown nothing is taken
for markup.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time
from enum import StrEnum
from pathlib import PurePath
from typing import Any

from workbench.runs.keys import values_of
from workbench.runs.summary import RunSummary
from workbench.support.clean import clean

_FIRST = ("id", "name", "status", "created", "ended", "tags", "note")
_MARKDOWN_COLUMNS = ("name", "status", "created", "val.accuracy", "test.accuracy", "teacher.test.accuracy")
_FORMULA = re.compile(r"[=+\-@＝＋－＠]")
_MARKUP = re.compile(r"([\\`*_{}\[\]<>|#~&!$])")


class ExportFormat(StrEnum):
    """What `runs export` and `runs compare` can write."""

    CSV = "csv"
    JSON = "json"
    MARKDOWN = "md"


def export_runs(summaries: Sequence[RunSummary], form: ExportFormat) -> str:
    """The runs as text: every value of each as JSON or CSV (a column a key), the main ones as Markdown."""
    if form is ExportFormat.JSON:
        return record_text("runs", {"runs": [run_record(summary) for summary in summaries]})
    rows = [values_of(summary) for summary in summaries]
    if form is ExportFormat.MARKDOWN:
        return markdown_table(
            _MARKDOWN_COLUMNS, ([row.get(key) for key in _MARKDOWN_COLUMNS] for row in rows)
        )
    keys = {key for row in rows for key in row}
    columns = [*_FIRST, *sorted(keys - set(_FIRST))]
    return csv_text(columns, ([row.get(key) for key in columns] for row in rows))


def run_record(summary: RunSummary) -> dict[str, Any]:
    """The run as a JSON object: its fields, its recipe and its metrics, the latter two by dotted keys."""
    progress, ended = summary.progress, summary.ended
    return {
        "id": summary.id,
        "path": str(summary.path),
        "name": summary.name,
        "status": summary.status.value,
        "created": iso_time(summary.created),
        "ended": iso_time(ended.ended) if ended else None,
        "reason": summary.reason,
        "tags": list(summary.tags),
        "note": summary.note,
        "archived": summary.archived,
        "queue_position": summary.queue_position,
        "progress": {
            "stage": progress.stage,
            "round": progress.round,
            "rounds": progress.rounds,
            "epoch": progress.epoch,
            "epochs": progress.epochs,
        }
        if progress
        else None,
        "metrics": finite_json(dict(summary.metrics)),
        "recipe": finite_json(dict(summary.recipe)),
        "problem": summary.problem,
    }


def finite_json(value: Any) -> Any:
    """`value` with null for floats that JSON lacks (NaN, infinity), dates as text; however deep they lie."""
    if isinstance(value, dict):
        return {key: finite_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite_json(item) for item in value]
    if isinstance(value, date | time):
        return iso_time(value) if isinstance(value, datetime) else value.isoformat()
    return None if isinstance(value, float) and not math.isfinite(value) else value


SHAPE_VERSION = 1
"""Of every shape of JSON that petbench writes for other programs (docs/schemas)."""


def schema_name(shape: str) -> str:
    """`petbench/runs/1`: what `schema` says of a shape."""
    return f"petbench/{shape}/{SHAPE_VERSION}"


def record_text(shape: str, record: Mapping[str, Any]) -> str:
    """`record` as JSON that says its shape."""
    return json_text({"schema": schema_name(shape), **record})


def json_text(value: object) -> str:
    """Indented ASCII JSON: nothing in it can drive a terminal. Times have their zone, paths are text."""
    text = json.dumps(finite_json(value), indent=2, ensure_ascii=True, allow_nan=False, default=_as_json)
    return text.replace("\x7f", r"\u007f") + "\n"  # DEL is ASCII


def _as_json(value: object) -> str:
    """Raises: TypeError, for what has no form in JSON."""
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def iso_time(moment: datetime | float) -> str:
    """`2026-11-28T21:31:00+01:00`: to the second, with the zone's offset.

    Args:
        moment: without a zone it is local time; a number is seconds since the epoch.
    """
    known = moment if isinstance(moment, datetime) else datetime.fromtimestamp(moment)
    return known.astimezone().isoformat(timespec="seconds")


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """RFC 4180 CSV with a header; text that a spreadsheet would take for a formula gets an apostrophe."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([_csv_cell(column) for column in columns])
    writer.writerows([_csv_cell(value) for value in row] for row in rows)
    return text.getvalue()


def _csv_cell(value: Any) -> str | int | float:
    if value is None:
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    text = _plain(value)
    return f"'{text}" if _FORMULA.match(text) else text


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table; nothing in its cells is taken for markup."""
    lines = [[markdown_text(column) for column in columns], ["---"] * len(columns)]
    lines += [[_markdown_cell(value) for value in row] for row in rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _markdown_cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.6g}" if isinstance(value, float) else markdown_text(_plain(value))


def markdown_text(text: str) -> str:
    """`text` cleaned, and nothing in it taken for markup."""
    return _MARKUP.sub(r"\\\1", clean(text))


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(_plain, value))
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat(" ") if isinstance(value, datetime) else clean(value)
