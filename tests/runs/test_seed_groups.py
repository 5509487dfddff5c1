"""Runs in groups with mean and spread."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runs.making import finish, make_results, make_run
from workbench.runs.comparison import compare_groups, read_runs
from workbench.runs.index import list_runs
from workbench.runs.seed_groups import group_runs


def _runs(home: Path) -> None:
    for seed, backbone, accuracy in ((0, "resnet18", 0.7), (1, "resnet18", 0.8), (0, "resnet50", 0.9)):
        run = make_run(home, f"r/seed={seed}", model={"backbone": backbone})
        text = run.recipe.read_text().replace("seed = 0", f"seed = {seed}")
        run.recipe.write_text(text)
        finish(run, make_results(accuracy))


def test_runs_that_differ_in_seeds_only_make_a_group(tmp_path: Path) -> None:
    _runs(tmp_path)
    groups = {len(group.runs): group for group in group_runs(list_runs(tmp_path))}
    assert set(groups) == {1, 2}
    assert set(groups[2].seeds) == {"0", "1/0"}
    over = groups[2].over("test.accuracy")
    assert over is not None
    assert over.count == 2
    assert over.mean == pytest.approx(0.75)
    assert over.deviation == pytest.approx(0.0707107, abs=1e-6)
    assert groups[1].over("teacher.test.accuracy") is None


def test_any_key_may_group(tmp_path: Path) -> None:
    _runs(tmp_path)
    groups = group_runs(list_runs(tmp_path), ["seed"])
    assert {group.shared[0][1]: len(group.runs) for group in groups} == {0: 2, 1: 1}
    nowhere = group_runs(list_runs(tmp_path), ["optimizer.momentum"])
    assert [len(group.runs) for group in nowhere] == [3]
    over = nowhere[0].over("test.accuracy")
    assert over is not None
    assert over.count == 3  # the same seed under two recipes is no repetition


def test_a_repetition_is_no_seed_and_a_run_without_results_no_number(tmp_path: Path) -> None:
    _runs(tmp_path)
    again = finish(make_run(tmp_path, "again", age_seconds=60), make_results(0.1))
    going = make_run(tmp_path, "going", age_seconds=-60)
    (group, *_) = sorted(group_runs(list_runs(tmp_path)), key=lambda group: -len(group.runs))
    assert len(group.runs) == 4
    over = group.over("test.accuracy")
    assert over is not None
    assert over.count == 2
    assert over.mean == pytest.approx(0.75)
    assert group.seeds == ("1/0", "0") or group.seeds == ("0", "1/0")
    told = {run.id: reason for run, reason in group.left_out}
    assert told.keys() == {again.id, going.id}
    assert told[again.id].endswith("has the same recipe and seed")
    assert told[going.id] == "it is lost, without results"


def test_folds_are_repetitions_with_numbers_of_their_own(tmp_path: Path) -> None:
    for fold, accuracy in ((0, 0.7), (1, 0.9)):
        run = make_run(tmp_path, f"fold={fold}", data={"folds": 2, "fold": fold})
        finish(run, make_results(accuracy))
    (group,) = group_runs(list_runs(tmp_path))
    assert set(group.seeds) == {"0 fold 0", "0 fold 1"}
    over = group.over("test.accuracy")
    assert over is not None
    assert over.count == 2


def test_compare_over_seeds_counts_the_same_runs(tmp_path: Path) -> None:
    _runs(tmp_path)
    again = finish(make_run(tmp_path, "again", age_seconds=60), make_results(0.1))
    over = compare_groups(read_runs([run.run for run in list_runs(tmp_path)]))
    by_size = {len(group.runs): (place, group) for place, group in enumerate(over.groups)}
    place, group = by_size[3]
    (accuracy,) = (row.spreads[place] for row in over.metrics if row.key == "test.accuracy")
    assert accuracy is not None
    assert accuracy.count == len(group.counted) == 2
    assert accuracy.mean == pytest.approx(0.75)
    assert [line.partition(" ")[0] for line in over.left_out] == [again.handle]
