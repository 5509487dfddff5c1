"""Table 1: cells from finished runs, their words, and the warnings below them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from tests.runs.making import any_data, finish, make_results
from workbench.paper.drawing import Words
from workbench.paper.numbers import TABLE1
from workbench.paper.recipes import table1_sweep
from workbench.paper.table1 import Cell, Table, chart, make_table1, markdown, notes, words
from workbench.recipe import dump_recipe
from workbench.recipe.sweep import Sweep
from workbench.runs.layout import create_run
from workbench.runs.sweeps import find_runs


@pytest.fixture
def sweep() -> Sweep:
    return table1_sweep(backbone="efficientnet_lite0", seeds=2)


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


def _table(sweep: Sweep, home: Path, *changes: str) -> Table:
    return make_table1(sweep, find_runs(home, sweep.runs, any_data), changes)


def _cells(sweep: Sweep, home: Path) -> dict[tuple[float, str], Cell]:
    return {(cell.fraction, cell.column): cell for cell in _table(sweep, home).cells}


def test_cells_hold_mean_and_spread_beside_the_papers_number(sweep: Sweep, tmp_path: Path) -> None:
    _finish(sweep, tmp_path, 0.1, "one_shot", (0.84, 0.80), (0.86, 0.82))
    cells = _cells(sweep, tmp_path)
    assert list(cells) == [(f, c) for f in (0.01, 0.1, 0.5) for c in ("teacher", "one_shot", "iterative")]
    assert words(cells[0.1, "one_shot"]) == (
        "10 %",
        "student, one-shot",
        "85.26",
        "85.00 ± 1.41",
        "−0.26",
        "2",
    )
    assert words(cells[0.1, "teacher"])[3:5] == ("81.00 ± 1.41", "−0.93")
    assert words(cells[0.5, "iterative"]) == ("50 %", "student, iterative", "89.12", "–", "–", "0/2")


def test_a_student_below_its_teacher_is_told_aloud(sweep: Sweep, tmp_path: Path) -> None:
    _finish(sweep, tmp_path, 0.5, "iterative", (0.85, 0.86), (0.87, 0.86))
    told = notes(_table(sweep, tmp_path))
    assert "BELOW ITS TEACHER on validation: student, iterative at 50 % under 1 of 2 seeds." in told
    assert "single seed" in told[0]


def test_the_markdown_table_has_a_row_a_cell_and_the_caveats(sweep: Sweep, tmp_path: Path) -> None:
    text = markdown(_table(sweep, tmp_path))
    assert text.count("\n| ") == 1 + len(TABLE1)
    assert "half of the breeds" in text


def test_what_is_changed_is_told_and_has_files_of_its_own(sweep: Sweep, tmp_path: Path) -> None:
    plain, other = _table(sweep, tmp_path), _table(sweep, tmp_path, "--set training.epochs=9")
    assert "--set training.epochs=9" in markdown(other)
    assert plain.stem == "table1-efficientnet_lite0-random"
    assert other.stem.startswith(f"{plain.stem}-")
    assert other.stem != _table(sweep, tmp_path, "--set training.epochs=8").stem


def test_only_a_frozen_trunk_is_said_to_be_frozen(tmp_path: Path) -> None:
    tuned = table1_sweep(["finetune.layers=all"], backbone="efficientnet_lite0", seeds=1)
    assert "frozen" not in markdown(_table(tuned, tmp_path))
    assert "frozen" in markdown(_table(table1_sweep(backbone="efficientnet_lite0", seeds=1), tmp_path))


def test_no_number_of_the_chart_stands_on_a_whisker_or_on_another(sweep: Sweep, tmp_path: Path) -> None:
    for fraction, strategy in {(share, way) for share, way in TABLE1 if way != "teacher"}:
        _finish(sweep, tmp_path, fraction, strategy, (0.35, 0.30), (0.95, 0.99))
    drawing = chart(_table(sweep, tmp_path))
    texts = [shape for shape in drawing.shapes if isinstance(shape, Words)]
    drawn = [shape for role in ("whisker", "dot", "reference") for shape in drawing.of(role)]
    assert len(drawing.of("whisker")) == 3 * len(TABLE1)
    assert len(drawing.of("value")) == 2 * len(TABLE1)
    for text in texts:
        assert not [other.text for other in texts if other is not text and text.box.overlaps(other.box)]
        assert not [shape for shape in drawn if text.box.overlaps(shape.box)], text.text
        assert text.box.left >= 0
        assert text.box.right <= drawing.width
        assert text.box.bottom <= drawing.height


def test_a_points_place_in_the_chart_is_its_share(sweep: Sweep, tmp_path: Path) -> None:
    _finish(sweep, tmp_path, 0.1, "one_shot", (0.80, 0.80), (0.90, 0.90))
    drawing = chart(_table(sweep, tmp_path))
    middles = [(shape.box.left + shape.box.right) / 2 for shape in drawing.of("dot")]
    low, high = (shape.box for shape in drawing.of("whisker")[1:3])
    assert middles[0] == pytest.approx((low.left + high.right) / 2, abs=0.1)
    apart = (high.left - low.left) / (2 * 100 * 2**0.5 * 0.05)
    references = {
        cell: (shape.box.left + shape.box.right) / 2
        for cell, shape in zip(TABLE1, drawing.of("reference"), strict=True)
    }
    paper = references[0.1, "one_shot"] - references[0.1, "teacher"]
    assert paper == pytest.approx(100 * (0.8526 - 0.8193) * apart, rel=0.02)
