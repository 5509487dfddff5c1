"""`petbench runs compare`: runs or recipes over seeds, side by side, measured against a baseline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.arguments import Json, RunIds, RunsDir
from workbench.cli.compare_curves import Curves, curve_table, curves_of, curves_record
from workbench.cli.compare_pages import comparison_tables, confusion_table, group_tables, recall_table
from workbench.cli.console import console, print_json
from workbench.cli.files import check_file, write_out
from workbench.runs.compare import Comparison, compare_read, read_runs
from workbench.runs.compare_seeds import GroupComparison, compare_groups
from workbench.runs.comparison_export import comparison_record, export_comparison, form_of
from workbench.runs.curves import CURVE_METRICS, CurveMetric
from workbench.runs.export import ExportFormat
from workbench.runs.find import find_run
from workbench.runs.following import AXES, Axis
from workbench.runs.layout import RunDirectory
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.paths import runs_home


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
    for part in comparison_tables(comparison, groups, console.width):
        console.print(part)
    if curves is not None:
        console.print(curve_table(curves, comparison.baseline))
    if groups is not None:
        for part in group_tables(groups, console.width):
            console.print(part)
    if confusion:
        for part in (*recall_table(comparison, console.width), *confusion_table(comparison)):
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
