"""Runs side by side, and runs for other programs."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from tests.runs.making import finish, make_evaluation, make_results, make_run
from workbench.runs.comparison import Difference, compare
from workbench.runs.comparison_table import export_comparison
from workbench.runs.confusion import ConfusionChange
from workbench.runs.export import ExportFormat, export_runs
from workbench.runs.index import list_runs
from workbench.runs.layout import RunDirectory
from workbench.runs.notes import change_notes
from workbench.support.errors import UserError


@pytest.fixture
def two(tmp_path: Path) -> list[RunDirectory]:
    better = replace(make_results(0.9), test=make_evaluation(0.9, ((6, 0, 0), (3, 1, 0), (0, 0, 0))))
    better = replace(better, test=replace(better.test, recall=(1.0, 0.25, None)))
    return [
        finish(
            make_run(tmp_path, "base", seed=1, optimizer={"momentum": 1, "name": "sgd"}), make_results(0.8)
        ),
        finish(make_run(tmp_path, "new", seed=2, optimizer={"momentum": True, "name": "sgd"}), better),
    ]


def test_only_the_differences_of_the_recipes_are_told(two: list[RunDirectory]) -> None:
    assert compare(two).recipe == (
        Difference("seed", (1, 2)),
        Difference("optimizer.momentum", (1, True)),
    )


def test_numbers_are_measured_against_the_first_run(two: list[RunDirectory]) -> None:
    comparison = compare(two)
    rows = {row.key: row for row in comparison.metrics}
    assert rows["test.accuracy"].values == (0.8, 0.9)
    assert list(rows["test.accuracy"].deltas) == [0.0, pytest.approx(0.1)]
    recall = {row.key: row.deltas for row in comparison.recall}
    assert list(recall) == ["Bengal", "Abyssinian", "beagle"]
    assert recall["Bengal"] == (0.0, -0.5)
    assert recall["beagle"] == (None, None)
    assert comparison.confusion == (
        ConfusionChange(1, "Bengal", "Abyssinian", 1, 3),
        ConfusionChange(1, "Abyssinian", "Bengal", 1, 0),
    )
    assert [change.delta for change in comparison.confusion] == [2, -1]
    assert comparison.warnings == ()


def test_a_run_without_results_is_compared_by_its_recipe(two: list[RunDirectory], tmp_path: Path) -> None:
    comparison = compare([*two, make_run(tmp_path, "third", seed=1)])
    assert comparison.recipe[0] == Difference("seed", (1, 2, 1))
    row = next(row for row in comparison.metrics if row.key == "test.accuracy")
    assert (row.values[2], row.deltas[2]) == (None, None)
    assert "lost" in comparison.warnings[0]


def test_runs_that_cannot_be_compared_fairly_say_so(two: list[RunDirectory], tmp_path: Path) -> None:
    other = finish(make_run(tmp_path, "species"), replace(make_results(), classes=("cat", "dog", "x")))
    comparison = compare([two[0], other])
    assert comparison.recall == ()
    assert comparison.confusion == ()
    assert "different classes" in comparison.warnings[0]
    two[0].provenance.write_text('data_fingerprint = "a"\nsplit_fingerprint = "b"\n')
    two[1].provenance.write_text('data_fingerprint = "a"\nsplit_fingerprint = "c"\n')
    assert compare(two).warnings == ("the runs divide the data differently (split_fingerprint)",)


def test_one_run_or_the_same_run_twice_is_no_comparison(two: list[RunDirectory]) -> None:
    with pytest.raises(UserError, match="two or more"):
        compare(two[:1])
    with pytest.raises(UserError, match="twice"):
        compare([two[0], two[0]])


def test_json_is_exact(two: list[RunDirectory], tmp_path: Path) -> None:
    change_notes(two[0], note="=1+1 \x1b[31m", add=["a,b"])
    results = make_results()
    finish(two[1], replace(results, test=replace(results.test, loss=math.nan)))
    text = export_runs(list_runs(tmp_path), ExportFormat.JSON)
    assert text.isascii()
    records = {record["name"]: record for record in json.loads(text, parse_constant=pytest.fail)["runs"]}
    assert records["base"]["note"] == "=1+1 \x1b[31m"
    assert records["base"]["recipe"]["seed"] == 1
    assert records["base"]["metrics"]["test.accuracy"] == 0.8
    assert records["new"]["metrics"]["test.loss"] is None


def test_csv_has_a_column_a_key_and_no_formula(two: list[RunDirectory], tmp_path: Path) -> None:
    change_notes(two[0], note="=HYPERLINK(1)")
    change_notes(two[1], note='@SUM, "x"\nline')
    finish(two[1], replace(make_results(), test=replace(make_evaluation(), loss=-1.5)))
    rows = {
        row["name"]: row
        for row in csv.DictReader(io.StringIO(export_runs(list_runs(tmp_path), ExportFormat.CSV), ""))
    }
    assert rows["base"]["note"] == "'=HYPERLINK(1)"
    assert rows["new"]["note"] == '\'@SUM, "x"\\nline'
    assert rows["new"]["test.loss"] == "-1.5"
    assert (rows["base"]["seed"], rows["base"]["optimizer.momentum"]) == ("1", "1")


def test_markdown_shows_hostile_names_as_text(tmp_path: Path) -> None:
    finish(make_run(tmp_path, "a|b[/c](x)<b>\x1b[0m\n# d"))
    line = export_runs(list_runs(tmp_path), ExportFormat.MARKDOWN).splitlines()[2]
    assert line.startswith(r"| a\|b\[/c\](x)\<b\>\\x1b\[0m\\n\# d | finished |")


@pytest.mark.parametrize("form", list(ExportFormat))
def test_a_comparison_can_be_exported(two: list[RunDirectory], form: ExportFormat) -> None:
    text = export_comparison(compare(two), form)
    assert two[0].id in text.replace("\\", "")
    if form is ExportFormat.JSON:
        record = json.loads(text)
        assert record["recipe"]["seed"] == [1, 2]
        assert record["recall"]["Bengal"]["deltas"] == [0.0, -0.5]
        assert record["confusion"][0]["delta"] == 2
    elif form is ExportFormat.CSV:
        rows = list(csv.reader(io.StringIO(text, "")))
        assert ["recipe", "seed", "1", "2"] in rows
        assert ["metric", "test.accuracy", "0.8", "0.9"] in rows
        assert len({(section, key) for section, key, *_ in rows}) == len(rows)
    else:
        assert "| seed | 1 | 2 |" in text
        assert "| test accuracy % | 80.00 | 90.00 (+10.00) |" in text


def test_an_export_of_no_runs_is_an_empty_table() -> None:
    assert json.loads(export_runs([], ExportFormat.JSON))["runs"] == []
    assert export_runs([], ExportFormat.CSV) == "id,name,status,created,ended,tags,note\r\n"
    assert export_runs([], ExportFormat.MARKDOWN).count("\n") == 2
