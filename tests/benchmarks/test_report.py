"""What benchmarks print and keep."""

from __future__ import annotations

import json
import math
from pathlib import Path

from benchmarks.everything import NAMES, write_summary
from benchmarks.machine import Machine, describe
from benchmarks.report import Report, Row, Table, rows_of, table_of
from benchmarks.turns import Spread

MACHINE = Machine("Some CPU", 2, 2, ("avx2",), 2**34, "", {"torch": "2"}, "abc", 0.1)


def row(median: float, better: str = "higher") -> Row:
    spread = Spread(median, median - 0.1, median + 0.1, 3)
    assert better in ("higher", "lower")
    goals = (0.9, 1.0) if better == "higher" else (1.0, 0.9)
    return Row("a measure", spread, *goals, "higher" if better == "higher" else "lower", "x over y")


def test_a_row_says_which_goal_it_reaches_whichever_way_is_better() -> None:
    assert [row(value).verdict for value in (1.0, 0.95, 0.8)] == ["aim", "must", "BELOW"]
    assert [row(value, "lower").verdict for value in (0.9, 0.95, 1.1)] == ["aim", "must", "BELOW"]


def test_rows_are_written_out_with_median_spread_and_goals() -> None:
    assert row(0.95).cells() == [
        "a measure", "0.950 (0.850–1.050, 3 rounds)", "≥ 0.9", "≥ 1", "must", "x over y",
    ]  # fmt: skip


def test_a_bar_in_a_cell_does_not_break_the_table() -> None:
    assert table_of(["a", "b"], [["1|2", "3"]]).splitlines() == [
        "| a | b |",
        "| --- | --- |",
        "| 1\\|2 | 3 |",
    ]


def test_a_report_comes_back_from_its_file(tmp_path: Path) -> None:
    report = Report("throughput", MACHINE, "python -m benchmarks.throughput", rows=[row(0.95)])
    report.tables.append(Table("Rates", ["side"], [["petbench"]]))
    report.not_measured.append("a GPU: none here")
    report.finish(tmp_path)
    assert rows_of(tmp_path, ["none of that name", "throughput"]) == [row(0.95)]
    text = (tmp_path / "throughput.md").read_text(encoding="utf-8")
    assert "### Rates" in text
    assert "Not measured: a GPU: none here" in text


def test_numbers_that_do_not_exist_are_null_in_json(tmp_path: Path) -> None:
    report = Report("quick", MACHINE, "x", rows=[Row("m", Spread(1, 1, math.nan, 1), 1, 1, "higher", "")])
    report.finish(tmp_path)
    assert json.loads((tmp_path / "quick.json").read_text())["rows"][0]["value"]["high"] is None


def test_the_summary_holds_every_row_and_names_what_failed_without_its_old_figures(tmp_path: Path) -> None:
    Report("throughput", MACHINE, "x", rows=[row(0.95)]).finish(tmp_path)
    Report("late_layers", MACHINE, "y", rows=[row(0.8)]).finish(tmp_path)
    Report("growth", MACHINE, "of an earlier day", rows=[row(0.7)]).finish(tmp_path)
    write_summary(tmp_path, MACHINE, failed=["growth"])
    text = (tmp_path / "PERFORMANCE.md").read_text(encoding="utf-8")
    assert text.count("| a measure |") == 4  # in the table of all, and on each page
    assert "FAILED, nothing measured: growth" in text


def test_the_machine_says_when_it_was_busy() -> None:
    busy = Machine("Some CPU", 2, 2, (), 2**34, "", {}, "abc", 0.6)
    assert "BUSY" in "\n".join(busy.lines())
    assert "BUSY" not in "\n".join(MACHINE.lines())
    assert describe().versions["torch"] != "none"


def test_every_part_of_make_bench_is_a_script() -> None:
    folder = Path(__file__).parent.parent.parent / "benchmarks"
    assert all((folder / f"{name}.py").is_file() for name in NAMES)
