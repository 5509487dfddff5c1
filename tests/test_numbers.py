"""One rule of rounding for each kind of number, whoever tells it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from tests.runs.making import finish, make_evaluation, make_results, make_run
from workbench.cli.compare import comparison_parts
from workbench.cli.console import Console
from workbench.cli.report import print_report
from workbench.cli.runs_listing import listing_table, run_page
from workbench.runs.comparison import compare_read, read_runs
from workbench.runs.comparison_table import export_comparison, table_of_runs
from workbench.runs.events import EpochDone
from workbench.runs.export import ExportFormat, export_runs, read_page
from workbench.runs.log import describe
from workbench.runs.results import Evaluation, read_results
from workbench.runs.summary import summarise
from workbench.runs.values import value_words
from workbench.tui.draw.ticks import value_label


def test_a_number_reads_the_same_wherever_it_is_told(tmp_path: Path) -> None:
    """On the command line, in files and in a log in percent, in the app as a fraction, each by one rule."""
    evaluation = replace(make_evaluation(0.88424), images=1000, macro_f1=0.87655, calibration_error=0.03146)
    runs = [
        finish(make_run(tmp_path, name, seed=seed), replace(make_results(), val=evaluation, test=evaluation))
        for seed, name in enumerate(("one", "two"))
    ]
    summary, console = summarise(runs[0]), Console()
    read = read_runs(runs)
    table = table_of_runs(compare_read(read))
    with console.capture() as shown:
        console.print(*run_page(read_page(runs[0])), *comparison_parts(table, 100))
        console.print(listing_table([summary], ["test.accuracy", "test.macro_f1", "test.calibration_error"]))
        print_report(console, runs[0], read_results(runs[0].results))
    texts = [shown.get(), export_comparison(compare_read(read), ExportFormat.MARKDOWN)]
    texts += [export_runs([summary], ExportFormat.MARKDOWN), describe(_done(evaluation))]
    for text in texts:
        told = set(re.findall(r"\b8[78]\.\d+|\b0\.03\d+", text.replace("87.2 ", "")))
        assert told <= {"88.42", "87.66", "0.031"}, text
        assert "88.42" in text
        assert "86.3–90.2" in text or "status" in text  # a list of runs has no intervals
    in_cells = {key: value_words(key, summary.metrics[key], percent=False) for key in summary.metrics}
    (row,) = (row for row in table.rows if (row.key, row.kind) == ("test.accuracy", "number"))
    assert in_cells["test.accuracy"] == row.words(0, percent=False) == value_label(0.88424, "share") == ".884"
    assert in_cells["test.macro_f1"] == ".877"
    assert in_cells["test.calibration_error"] == ".031"


def _done(on: Evaluation) -> EpochDone:
    return EpochDone("fit", 0, 3, "test", on.loss, on.accuracy, 1e-3, 100.0, 1.0, on.images)
