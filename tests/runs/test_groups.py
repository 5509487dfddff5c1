"""Runs in groups with mean and spread."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runs.making import finish, make_results, make_run
from workbench.runs.groups import group_runs
from workbench.runs.index import list_runs


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
