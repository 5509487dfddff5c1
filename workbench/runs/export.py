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
from dataclasses import asdict, dataclass
from datetime import date, datetime, time
from enum import StrEnum
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from workbench.runs.ensemble import Ensemble, Member, read_ensemble
from workbench.runs.events import RanksSeen, RoundLabelled
from workbench.runs.keys import values_of
from workbench.runs.layout import RunDirectory
from workbench.runs.profile import Profile, read_profile
from workbench.runs.provenance import read_provenance
from workbench.runs.results import Confusion, LabelsUsed, Results, most_confused, read_results
from workbench.runs.run_history import RunHistory, read_history
from workbench.runs.summary import Reading, RunSummary, summarise
from workbench.runs.values import title_of, value_words
from workbench.support.clean import clean

if TYPE_CHECKING:
    from workbench.runs.calibration import Reliability

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
        titles = [title_of(key) for key in _MARKDOWN_COLUMNS]
        return markdown_table(
            titles, ([value_words(key, row.get(key)) for key in _MARKDOWN_COLUMNS] for row in rows)
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
        "slurm": {
            "job": summary.ticket.job,
            "open": summary.ticket.is_open,
            "held": summary.ticket.is_held,
            "requeued": summary.ticket.requeued,
            "awaited": summary.awaited,
        }
        if summary.ticket
        else None,
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
    writer.writerow([csv_cell(column) for column in columns])
    writer.writerows([csv_cell(value) for value in row] for row in rows)
    return text.getvalue()


def csv_cell(value: Any) -> str | int | float:
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


_MOST_CONFUSED = 5


@dataclass(frozen=True, slots=True)
class RunPage:
    """One run in full; `results` is None until it has finished."""

    summary: RunSummary
    results: Results | None
    confused: tuple[Confusion, ...]
    """The most confused test pairs."""
    rounds: tuple[RoundLabelled, ...]
    """What the teachers labelled, also of a run that still goes."""
    warnings: tuple[str, ...]
    provenance: Mapping[str, Any]
    profile: Profile | None
    """Of the latest attempt that was profiled."""
    ensemble: Ensemble | None
    """Whose word it averages; None of a run that trained."""
    member_labels: tuple[LabelsUsed | None, ...] = ()
    """Of each member of the ensemble; None where what is kept of it is damaged."""
    ranks: RanksSeen | None = None
    """What each of several processes did in the last epoch; None where one trained it alone."""
    reliability: Reliability | None = None
    """Of the final model; None of a run that goes, or whose validation predictions are lost."""


def read_page(run: RunDirectory) -> RunPage:
    """Read everything that `runs show` tells; damaged files are told among the warnings, the rest is shown.

    Raises:
        FileNotFoundError: the run is gone.
    """
    summary = summarise(run)
    read = Reading()
    results = read(run.results, lambda: read_results(run.results), None)
    history = read(run.metrics, lambda: read_history(run.metrics), RunHistory())
    provenance = read(run.provenance, lambda: read_provenance(run), dict[str, Any]())
    ensemble = read(run.ensemble, lambda: read_ensemble(run), None)
    member_labels = [_labels_of(run, member, read) for member in ensemble.members] if ensemble else []
    problems = [summary.problem] if summary.problem else []
    # The summary looks at some of these files too, and each is told once.
    problems += [told for told in read.problems if told.partition(" ")[0] not in summary.problem]
    return RunPage(
        summary=summary,
        results=results,
        confused=tuple(most_confused(results.test.confusion, results.classes, _MOST_CONFUSED))
        if results
        else (),
        rounds=history.rounds,
        warnings=tuple(dict.fromkeys([*problems, *(results.warnings if results else ()), *history.warnings])),
        provenance=provenance,
        profile=read_profile(run),
        ensemble=ensemble,
        member_labels=tuple(member_labels),
        ranks=history.ranks,
        reliability=None if results is None else _reliability(run, results),
    )


def _reliability(run: RunDirectory, results: Results) -> Reliability | None:
    from workbench.runs.calibration import reliability_of  # numpy, which the app's table of runs does without

    return reliability_of(run, results)


def _labels_of(run: RunDirectory, member: Member, read: Reading) -> LabelsUsed | None:
    kept = RunDirectory(run.path / member.folder).results
    results = read(kept, lambda: read_results(kept), None)
    return None if results is None else results.labels


def page_record(page: RunPage) -> dict[str, Any]:
    """The page as a JSON object: the run's record with results, rounds, ranks, warnings and provenance."""
    return {
        **run_record(page.summary),
        "results": finite_json(asdict(page.results)) if page.results else None,
        "most_confused": [asdict(pair) for pair in page.confused],
        "rounds": [finite_json(asdict(event)) for event in page.rounds],
        "ranks": finite_json(asdict(page.ranks)) if page.ranks else None,
        "warnings": list(page.warnings),
        "provenance": finite_json(dict(page.provenance)),
        "profile": asdict(page.profile) if page.profile else None,
        "ensemble": finite_json(asdict(page.ensemble)) if page.ensemble else None,
        "reliability": asdict(page.reliability) if page.reliability else None,
        "member_labels": [None if used is None else asdict(used) for used in page.member_labels],
    }
