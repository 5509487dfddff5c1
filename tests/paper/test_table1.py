"""Table 1: cells from finished runs, their words, and the warnings below them."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from datetime import datetime
from pathlib import Path

import pytest

from tests.runs.making import any_data, finish, make_results
from workbench.paper.numbers import TABLE1
from workbench.paper.recipes import table1_sweep
from workbench.paper.svg import COLOURS, Bar, Line, bar_chart, line_chart
from workbench.paper.table1 import Cell, markdown, notes, table1_cells, words
from workbench.recipe import dump_recipe
from workbench.recipe.sweep import Sweep
from workbench.runs.layout import create_run
from workbench.runs.sweeps import find_runs


@pytest.fixture
def sweep() -> Sweep:
    return table1_sweep("efficientnet_lite0", seeds=2)


def _finish(
    sweep: Sweep, home: Path, fraction: float, strategy: str, *accuracies: tuple[float, float]
) -> None:
    """Finished runs of a cell, each with (student's, teacher's) test accuracy."""
    runs = [
        run
        for run in sweep.runs
        if run.recipe.pseudo_label is not None
        and run.recipe.pseudo_label.strategy == strategy
        and run.recipe.pseudo_label.labelled_fraction == fraction
    ]
    for run, (student, teacher) in zip(runs, accuracies, strict=False):
        directory = create_run(home, run.recipe.name, dump_recipe(run.recipe), datetime(2026, 1, 1))
        finish(directory, make_results(student, teacher_accuracy=teacher))


def _cells(sweep: Sweep, home: Path) -> dict[tuple[float, str], Cell]:
    return {
        (cell.fraction, cell.column): cell
        for cell in table1_cells(sweep, find_runs(home, sweep.runs, any_data))
    }


def test_cells_hold_mean_and_spread_beside_the_papers_number(sweep: Sweep, tmp_path: Path) -> None:
    _finish(sweep, tmp_path, 0.1, "one_shot", (0.84, 0.80), (0.86, 0.82))
    cells = _cells(sweep, tmp_path)
    assert list(cells) == [(f, c) for f in (0.01, 0.1, 0.5) for c in ("teacher", "one_shot", "iterative")]
    assert words(cells[0.1, "one_shot"]) == (
        "10 %",
        "student, one-shot",
        "85.26",
        "85.00 ± 1.41",
        "-0.26",
        "2",
    )
    assert words(cells[0.1, "teacher"])[3:5] == ("81.00 ± 1.41", "-0.93")
    assert words(cells[0.5, "iterative"]) == ("50 %", "student, iterative", "89.12", "–", "–", "0/2")


def test_a_student_below_its_teacher_is_told_aloud(sweep: Sweep, tmp_path: Path) -> None:
    _finish(sweep, tmp_path, 0.5, "iterative", (0.85, 0.86), (0.87, 0.86))
    cells = list(_cells(sweep, tmp_path).values())
    told = notes(cells, "efficientnet_lite0")
    assert "BELOW ITS TEACHER on validation: student, iterative at 50 % under 1 of 2 seeds." in told
    assert "single seed" in told[0]


def test_the_markdown_table_has_a_row_a_cell_and_the_caveats(sweep: Sweep, tmp_path: Path) -> None:
    text = markdown(list(_cells(sweep, tmp_path).values()), "efficientnet_lite0", "random")
    assert text.count("\n| ") == 1 + len(TABLE1)
    assert "half of the breeds" in text


def test_figures_are_xml_whatever_the_names_hold() -> None:
    bars = bar_chart([Bar("1 %", "<script>&", 0.5, 0.1), Bar("1 %", "b", None)], title='"quoted" <b>')
    lines = line_chart([Line("a<b", [(1, 0.5), (2, 0.6)])], title="t", across="epoch")
    for text in (bars, lines, line_chart([], title="", across="")):
        root = ElementTree.fromstring(text)
        assert root.tag.endswith("svg")
    assert bars.count("<rect") == 1 + 1 + 2  # the ground, one bar, two in the legend
    assert "<script>" not in bars


def test_a_bars_height_is_its_share() -> None:
    def top(share: float) -> float:
        root = ElementTree.fromstring(bar_chart([Bar("g", "s", share)], title=""))
        bars = [child for child in root if child.get("fill") == COLOURS[0]]
        return float(bars[0].attrib["height"])  # the legend's patch comes after

    assert top(0.5) == pytest.approx(2 * top(0.25), abs=0.2)
