"""`petbench runs compare`: runs or recipes over seeds, side by side, measured against a baseline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from workbench.cli.arguments import Json, RunIds, RunsDir
from workbench.cli.console import cell, check_file, console, make_table, print_json, write_out
from workbench.cli.runs_listing import STATUS_STYLES
from workbench.runs.comparison import Comparison, GroupComparison, compare_groups, compare_read, read_runs
from workbench.runs.comparison_table import (
    RESULT,
    ComparisonTable,
    TableRow,
    comparison_record,
    export_comparison,
    form_of,
    table_of_groups,
    table_of_runs,
)
from workbench.runs.curves import (
    AXES,
    CURVE_METRICS,
    Axis,
    Curve,
    CurveMetric,
    RunFollower,
    curve_of,
    follow_to_end,
)
from workbench.runs.export import ExportFormat, finite_json
from workbench.runs.find import find_run
from workbench.runs.layout import RunDirectory
from workbench.runs.seed_groups import seed_of
from workbench.runs.values import MARK, number_words
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.paths import runs_home
from workbench.support.units import human_seconds, signed


def compare(
    runs: RunIds,
    baseline: Annotated[
        str,
        typer.Option(
            "--baseline", "-b", metavar="RUN", help="Measure against this run. Default: the first named."
        ),
    ] = "",
    group: Annotated[
        bool,
        typer.Option(
            "--group",
            "-g",
            help="Put runs together that differ only in seed and data.split_seed: mean and sample standard "
            "deviation, and a paired test over the seeds that both have.",
        ),
    ] = False,
    confusion: Annotated[
        bool,
        typer.Option(
            "--confusion", "-c", help="Also the test recalls and confusions that changed most, run by run."
        ),
    ] = False,
    curve: Annotated[
        str,
        typer.Option(
            "--curve",
            metavar="NUMBER",
            help=f"Also each run's curve of {', '.join(CURVE_METRICS)}; with --json every point.",
        ),
    ] = "",
    by: Annotated[str, typer.Option("--by", metavar="AXIS", help=f"Over {', '.join(AXES)}.")] = AXES[0],
    form: Annotated[
        ExportFormat | None,
        typer.Option("--format", "-F", help="Print CSV, JSON or Markdown instead of tables."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--export",
            "--output",
            "-o",
            metavar="FILE",
            help="Write to FILE; its name ends in .csv, .json or .md unless --format tells.",
        ),
    ] = None,
    as_json: Json = False,
    runs_dir: RunsDir = None,
) -> None:
    """Compare 2 to 20 runs: where the recipes differ, what came of it, and whether that may be chance.

    The paired test is McNemar's, exact, on the test images of both runs. CSV, JSON and Markdown hold
    everything whatever --confusion says.
    """
    written = _form(form, output, as_json=as_json)
    output = output and check_file(output, "--export")
    metric, axis = _known_curve(curve, by)
    chosen, place = _chosen(runs_home(runs_dir), runs, baseline)
    read = read_runs(chosen)
    comparison = compare_read(read, place)
    groups = compare_groups(read, place) if group else None
    curves = None if metric is None else curves_of(chosen, metric, axis)
    if as_json and output is None:
        record = comparison_record(comparison, groups)
        print_json("runs-compare", record if curves is None else {**record, "curve": curves_record(curves)})
    elif written is not None:
        write_out(export_comparison(comparison, written, groups), output)
    else:
        _print(comparison, groups, curves, confusion=confusion)


def _form(wanted: ExportFormat | None, output: Path | None, *, as_json: bool) -> ExportFormat | None:
    """What is written instead of tables; None: tables."""
    if as_json and wanted not in (None, ExportFormat.JSON):
        raise UserError(f"--json and --format {wanted} contradict each other")
    form = wanted or (ExportFormat.JSON if as_json else None)
    return form_of(output) if output is not None and form is None else form


def _print(
    comparison: Comparison, groups: GroupComparison | None, curves: Curves | None, *, confusion: bool
) -> None:
    for head in heads(comparison, groups):
        console.print(head)
    table = letter_table(comparison, groups)
    for part in comparison_parts(table, console.width):
        console.print(part)
    if curves is not None:
        console.print(curve_table(curves, comparison.baseline))
    if confusion:
        of_runs = letter_table(comparison, None)
        for part in (*recall_part(of_runs, console.width), *confusion_part(of_runs)):
            console.print(part)


def _known_curve(name: str, by: str) -> tuple[CurveMetric | None, Axis]:
    axis = next((known for known in AXES if known == by), None)
    if axis is None:
        raise UserError(f"no axis '{clean(by, 40)}'", where="--by", allowed=list(AXES))
    if name and name not in CURVE_METRICS:
        raise UserError(f"no curve of '{clean(name, 40)}'", where="--curve", allowed=list(CURVE_METRICS))
    return CURVE_METRICS[name] if name else None, axis


def _chosen(home: Path, names: list[str], baseline: str) -> tuple[list[RunDirectory], int]:
    """The runs, with a baseline that is not among them in front, and the baseline's place."""
    chosen = [find_run(home, name) for name in names]
    if not baseline:
        return chosen, 0
    pinned = find_run(home, baseline)
    for place, run in enumerate(chosen):
        if run.path.resolve() == pinned.path.resolve():
            return chosen, place
    return [pinned, *chosen], 0


_BLOCKS = "▁▂▃▄▅▆▇█"
_WIDTH = 40


@dataclass(frozen=True, slots=True)
class Curves:
    """One number of several runs over one axis."""

    metric: CurveMetric
    axis: Axis
    runs: tuple[str, ...]
    curves: tuple[Curve, ...]


def curves_of(runs: Sequence[RunDirectory], metric: CurveMetric, axis: Axis) -> Curves:
    """Read the curves.

    Raises:
        UserError: the metrics of a run cannot be read.
    """
    try:
        read = tuple(curve_of(follow_to_end(RunFollower(run)), metric, axis) for run in runs)
    except OSError as error:
        raise UserError(f"metrics cannot be read: {error.strerror or error}", where=error.filename) from error
    return Curves(metric, axis, tuple(run.id for run in runs), read)


def curves_record(curves: Curves) -> dict[str, Any]:
    """Every point of every curve."""
    points = [
        {"run": run, "x": finite_json(curve.x.tolist()), "y": finite_json(curve.y.tolist())}
        for run, curve in zip(curves.runs, curves.curves, strict=True)
    ]
    return {"metric": curves.metric.key, "axis": curves.axis, "runs": points}


def curve_table(curves: Curves, baseline: int) -> Table:
    """A line a run: its curve up to the last x of all, on the scale of all; the last and the best value."""
    title = f"{curves.metric.words} by {curves.axis}"
    columns = ("run", title, "last", "best", f"at {curves.axis}")
    table = make_table(columns, right=columns[2:], whole=columns[:2])
    end = max((float(curve.x[-1]) for curve in curves.curves if len(curve.x)), default=0.0)
    values = [curve.y[np.isfinite(curve.y)] for curve in curves.curves]
    held = np.concatenate(values) if values else np.empty(0)
    low, high = (float(held.min()), float(held.max())) if len(held) else (0.0, 0.0)
    letters = letters_of(len(curves.runs), baseline)
    key = curves.metric.key
    for letter, curve in zip(letters, curves.curves, strict=True):
        best = curve.best(least=curves.metric.less_is_better)
        where = "" if best is None else human_seconds(best[0]) if curves.axis == "time" else f"{best[0]:,.0f}"
        if curve.kept is not None and curves.axis == "epoch":
            where = curve.kept.words
        last = float(curve.y[-1]) if len(curve.y) else None
        table.add_row(
            letter,
            Text(_blocks(curve, end, low, high)),
            cell(number_words(key, last)),
            cell(number_words(key, None if best is None else best[1])),
            where,
        )
    return table


def _blocks(curve: Curve, end: float, low: float, high: float) -> str:
    """The value at the end of each fortieth of the axis; blank where the curve is over or has not begun."""
    text = ""
    for place in range(_WIDTH):
        value = curve.at(end * (place + 1) / _WIDTH)
        if value is None or not np.isfinite(value):
            text += " "
        else:
            height = (value - low) / (high - low) if high > low else 1.0
            text += _BLOCKS[min(len(_BLOCKS) - 1, int(height * len(_BLOCKS)))]
    return text.rstrip()


_SHOWN_CLASSES = 10
_PADDING = 3  # a column's, and the margin of the table
_GOODNESS_STYLES = {1: "green", -1: "red", 0: "dim"}


def letter_table(comparison: Comparison, groups: GroupComparison | None) -> ComparisonTable:
    """The table of runs or of groups, whose columns are called A … Z."""
    if groups is not None:
        return table_of_groups(comparison, groups, _letters(len(groups.groups)))
    return table_of_runs(comparison, _letters(len(comparison.runs)))


def heads(comparison: Comparison, groups: GroupComparison | None) -> Iterator[Table]:
    """The runs by letter, the baseline with a star; and the groups, if they are what is compared."""
    letters = letters_of(len(comparison.runs), comparison.baseline)
    if groups is not None:
        letters = [_letters(len(groups.groups))[groups.group_of(place)] for place in range(len(letters))]
    runs = make_table(("", "run", "name", "seed", "status"), whole=("", "run", "seed", "status"))
    for letter, run in zip(letters, comparison.runs, strict=True):
        status = Text(run.status.value, style=STATUS_STYLES[run.status])
        runs.add_row(letter, cell(run.handle), cell(run.name), cell(seed_of(run.recipe)), status)
    yield runs
    if groups is not None:
        table = make_table(("", "recipe", "seeds"), title="Over seeds", whole=("",))
        for letter, group in zip(letters_of(len(groups.groups), groups.baseline), groups.groups, strict=True):
            table.add_row(letter, cell(group.name), cell(" ".join(group.seeds)))
        yield table


def comparison_parts(table: ComparisonTable, width: int) -> Iterator[RenderableType]:
    """What is odd, the recipes' differences, the numbers with their tests, and what the signs mean."""
    for warning in table.warnings:
        yield Text(f"warning: {clean(warning)}", style="yellow")
    settings = table.told("recipe")
    if settings:
        yield from _in_blocks("recipe", table, settings, width)
    else:
        yield Text("the recipes are the same")
    numbers = table.told(*RESULT)
    if numbers:
        yield from _in_blocks("result", table, numbers, width, numbers=True)
    for note in table.notes:
        yield Text(clean(note), style="dim")


def recall_part(table: ComparisonTable, width: int) -> Iterator[RenderableType]:
    """The classes whose test recall changed most."""
    changed = [row for row in table.told("recall") if any(row.deltas)][:_SHOWN_CLASSES]
    if changed:
        yield from _in_blocks("test recall %", table, changed, width, numbers=True)


def confusion_part(table: ComparisonTable) -> Iterator[RenderableType]:
    """The confusions that changed most, run by run."""
    if not table.confusion:
        yield Text("no test confusion differs from the baseline's")
        return
    columns = ("run", "true class", "taken for", "before", "now", "change")
    drawn = make_table(columns, title="Test confusions that changed most", right=columns[3:])
    for change in table.confusion:
        drawn.add_row(
            table.columns[change.run],
            cell(change.true),
            cell(change.predicted),
            str(change.baseline),
            str(change.count),
            Text(signed(change.delta, "d"), style="red" if change.delta > 0 else "green"),
        )
    yield drawn


def _in_blocks(
    title: str, table: ComparisonTable, rows: Sequence[TableRow], width: int, *, numbers: bool = False
) -> Iterator[Table]:
    """Tables of as many columns each as fit beside the keys, at least one."""
    columns = letters_of(len(table.columns), table.baseline)
    cells = [[_cell(row, place) for place in range(len(columns))] for row in rows]
    most = max(width // 2, 16)
    keys = [clean(row.title()) if row.kind != "interval" else row.title() for row in rows]
    key_width = min(max(len(key) for key in (title, *keys)), 34)
    widths = [
        min(max(len(column), *(row[place].cell_len for row in cells)), most)
        for place, column in enumerate(columns)
    ]
    start = 0
    while start < len(columns):
        end, left = start + 1, width - key_width - _PADDING - widths[start] - _PADDING
        while end < len(columns) and widths[end] + _PADDING <= left:
            left -= widths[end] + _PADDING
            end += 1
        drawn = make_table(
            (title, *columns[start:end]),
            right=columns[start:end] if numbers else (),
            prose=() if numbers else columns[start:end],
        )
        for key, row in zip(keys, cells, strict=True):
            drawn.add_row(Text(key), *row[start:end])
        yield drawn
        start = end


def _cell(row: TableRow, place: int) -> Text:
    """The value and its change, in colour for better or worse; room for the mark below one."""
    text = cell(row.words(place))
    if change := row.change(place):
        text.append(f" {change}", style=_GOODNESS_STYLES[row.goodness(place)])
    if row.marked:
        text.append(MARK if place in row.marked else " ")
    if place in row.doubted:
        text.append(" !", style="yellow")
    return text


def letters_of(count: int, baseline: int) -> list[str]:
    """A … Z, the baseline's with a star: how the runs are called in the tables."""
    return [letter + (" ★" if place == baseline else "") for place, letter in enumerate(_letters(count))]


def _letters(count: int) -> list[str]:
    return [chr(ord("A") + place) for place in range(count)]
