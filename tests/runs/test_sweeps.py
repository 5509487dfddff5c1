"""A sweep's runs found among others, and its points told."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.runs.making import any_data, finish, make_results
from workbench.recipe import dump_recipe, recipe_fingerprint
from workbench.recipe.sweep import Sweep, SweepRun, parse_sweep
from workbench.runs.layout import RunDirectory, create_run
from workbench.runs.notes import change_notes
from workbench.runs.process import write_exit
from workbench.runs.results import Results
from workbench.runs.status import RunStatus
from workbench.runs.sweeps import PRUNED, best_point, find_runs, points_of

NOW = datetime(2026, 11, 22, 12, 0, 0)


@pytest.fixture
def sweep() -> Sweep:
    return parse_sweep(
        'name = "s"\n[model]\nbackbone = "resnet18"\n[sweep]\nseeds = 2\n"training.epochs" = [2, 4]\n'
    )


def _make(home: Path, run: SweepRun, *, age: int = 0, name: str = "any") -> RunDirectory:
    recipe = run.recipe.model_copy(update={"name": name})
    return create_run(home, name, dump_recipe(recipe), NOW - timedelta(seconds=age))


def _results(val: float, test: float) -> Results:
    results = make_results(test)
    return replace(results, val=replace(results.val, accuracy=val))


def test_a_run_is_found_by_what_it_trains_not_by_its_name(sweep: Sweep, tmp_path: Path) -> None:
    made = finish(_make(tmp_path, sweep.runs[2], name="made by hand"))
    other = sweep.runs[2].recipe.model_copy(update={"seed": 99})
    create_run(tmp_path, "other", dump_recipe(other), NOW)
    found = find_runs(tmp_path, sweep.runs, any_data)
    assert list(found) == [recipe_fingerprint(sweep.runs[2].recipe)]
    assert found[recipe_fingerprint(sweep.runs[2].recipe)].path == made.path


def test_of_several_the_finished_one_stands_and_of_equals_the_newest(sweep: Sweep, tmp_path: Path) -> None:
    run = sweep.runs[0]
    finished = finish(_make(tmp_path, run, age=50))
    failed = _make(tmp_path, run, age=10)
    write_exit(failed, code=1, reason="out of memory")
    _make(tmp_path, run)  # never started: lost
    key = recipe_fingerprint(run.recipe)
    assert find_runs(tmp_path, sweep.runs, any_data)[key].path == finished.path
    newer = finish(_make(tmp_path, run, age=20))
    assert find_runs(tmp_path, sweep.runs, any_data)[key].path == newer.path


def test_a_damaged_recipe_hides_no_other_run(sweep: Sweep, tmp_path: Path) -> None:
    finish(_make(tmp_path, sweep.runs[0]))
    broken = _make(tmp_path, sweep.runs[1])
    broken.recipe.write_text(broken.recipe.read_text() + "\n[nonsense]\nkey = 1\n")
    assert list(find_runs(tmp_path, sweep.runs, any_data)) == [recipe_fingerprint(sweep.runs[0].recipe)]


def test_points_have_mean_and_sample_deviation_and_validation_chooses(sweep: Sweep, tmp_path: Path) -> None:
    for run, val, test in zip(sweep.runs, (0.80, 0.82, 0.85, 0.83), (0.9, 0.9, 0.7, 0.7), strict=True):
        finish(_make(tmp_path, run), _results(val, test))
    points = points_of(sweep.runs, find_runs(tmp_path, sweep.runs, any_data))
    assert [point.name for point in points] == ["epochs=2", "epochs=4"]
    assert points[0].val is not None
    assert points[0].val.mean == pytest.approx(0.81)
    assert points[0].val.deviation == pytest.approx(0.0141421, abs=1e-6)
    assert best_point(points) is points[1]  # though its test accuracy is lower


def test_an_incomplete_point_is_never_the_best(sweep: Sweep, tmp_path: Path) -> None:
    finish(_make(tmp_path, sweep.runs[0]), _results(0.99, 0.99))
    points = points_of(sweep.runs, find_runs(tmp_path, sweep.runs, any_data))
    assert best_point(points) is None
    assert (points[0].finished, points[0].state) == (1, "1 to do")
    assert points[1].state == "2 to do"


def test_pruned_runs_are_told_as_such(sweep: Sweep, tmp_path: Path) -> None:
    for run in sweep.runs[:2]:
        change_notes(_make(tmp_path, run), add=[PRUNED])
    point, _ = points_of(sweep.runs, find_runs(tmp_path, sweep.runs, any_data))
    assert point.is_pruned
    assert point.state == "pruned"
    assert point.runs[0] is not None
    assert point.runs[0].status is RunStatus.LOST
