"""`petbench ensemble` as a user types it, and what the other commands make of its run."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import World
from tests.cli.whole import Petbench
from workbench.recipe import load_recipe
from workbench.runs.ensemble import read_ensemble
from workbench.runs.layout import RunDirectory, run_directories
from workbench.runs.results import read_results
from workbench.runs.status import RunStatus, status_of


@pytest.fixture
def runs(home: Path, trained: World, monkeypatch: pytest.MonkeyPatch) -> tuple[RunDirectory, RunDirectory]:
    """The two trained runs, in a home that a test may add to."""
    shutil.copytree(trained.runs, home / "runs")
    monkeypatch.setenv("PETBENCH_DATA", str(trained.data))
    first, second = trained.pseudo_labelled, trained.supervised
    return RunDirectory(home / "runs" / first.id), RunDirectory(home / "runs" / second.id)


def test_an_ensemble_is_made_shown_inspected_and_asked(
    runs: tuple[RunDirectory, RunDirectory], petbench: Petbench, trained: World
) -> None:
    one, other = runs
    said = petbench("ensemble", one.handle, other.handle, "--name", "both")
    assert said.code == 0, said.err
    made = run_directories(one.path.parent)[0]
    assert made.slug == "both"
    results = read_results(made.results)
    assert f"{100 * results.test.accuracy:.2f}" in said.out
    assert "no room of their own while the runs are there" in said.out
    shown = petbench("runs", "show", "both")
    assert all(member.folder in shown.out for member in read_ensemble(made).members)
    assert "they differ in" in shown.out
    for run in (one, other):
        used = read_results(run.results).labels
        line = next(line for line in shown.out.splitlines() if "members/" in line and run.id in line)
        assert {str(used.training), str(used.choosing)} <= set(line.split())
    assert petbench("inspect", "both").code == 0
    compared = petbench("runs", "compare", "both", one.handle)
    assert compared.code == 0
    best = next(line for line in compared.out.splitlines() if line.split()[:2] == ["best", "epoch"])
    assert best.split()[2:] == ["–", str(read_results(one.results).best_epoch)]  # it has no epochs
    picture = next(trained.images.iterdir())
    told = json.loads(petbench("predict", "both", str(picture), "--json").out)["images"]
    assert sum(row["probability"] for row in told[0]["top"]) <= 1 + 1e-6
    refused = petbench("saliency", "both", picture.stem, "--out", str(made.path / "maps"))
    assert refused.code == 2
    assert "no one network" in refused.err
    again = petbench("resume", "both")
    assert again.code == 0, again.err


def test_a_name_is_honoured_whichever_way_the_runs_are_chosen(
    runs: tuple[RunDirectory, RunDirectory], petbench: Petbench
) -> None:
    one, other = runs
    named = "two [of] them/..é"
    said = json.loads(petbench("ensemble", one.handle, other.handle, "--name", named, "--json").out)
    assert said["run"]["name"] == named
    assert load_recipe(RunDirectory(one.path.parent / said["run"]["id"]).recipe).name == named
    by_val = petbench("ensemble", one.handle, other.handle, "--by", "val", "--name", named, "--json")
    run = json.loads(by_val.out)["run"]
    assert run is None or run["name"] == named


@pytest.mark.parametrize("name", ["", "x" * 81])
def test_what_is_no_name_is_refused_before_any_work(
    runs: tuple[RunDirectory, RunDirectory], petbench: Petbench, name: str
) -> None:
    said = petbench("ensemble", runs[0].handle, "no such run", "--name", name)
    assert said.code == 2
    assert "--name: name cannot be" in said.err
    assert "text of 1 to 80 characters" in said.err


def test_killed_in_the_middle_it_leaves_nothing_that_looks_like_a_run_and_works_when_asked_again(
    runs: tuple[RunDirectory, RunDirectory], petbench: Petbench
) -> None:
    one, other = runs
    home = one.path.parent
    before, there = run_directories(home), set(home.iterdir())
    code = (
        "import os, signal, sys\n"
        "import workbench.train.ensemble as ensemble\n"
        "ensemble.write_exit = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)\n"  # the very last
        "from workbench.cli.main import main\n"
        "main()"
    )
    asked = ("ensemble", one.handle, other.handle, "--runs-dir", str(home))
    for _ in range(2):
        killed = subprocess.run([sys.executable, "-c", code, *asked], capture_output=True)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert run_directories(home) == before
    left = [path for path in home.iterdir() if path.name.endswith(".tmp")]
    assert len(left) == 1  # the second removed what the first had left
    told = json.loads(petbench("runs", "tidy", "--dry-run", "--json").out)["leftovers"]
    assert [Path(one["path"]).name for one in told if one["kind"] == "temporary file"] == [left[0].name]
    said = petbench(*asked)
    assert said.code == 0, said.err
    made = run_directories(home)[0]
    assert made not in before
    assert status_of(made) is RunStatus.FINISHED
    assert not [path for path in home.iterdir() if path.name.endswith(".tmp")]
    assert set(home.iterdir()) - there <= {made.path, home / ".index.sqlite"}


def test_what_a_killed_one_left_is_tidied(
    runs: tuple[RunDirectory, RunDirectory], petbench: Petbench
) -> None:
    home = runs[0].path.parent
    left = home / ".20260101-000000-ensemble-abcd.999999999-01234567.tmp"
    shutil.copytree(runs[0].path, left)
    assert petbench("runs", "tidy", "--yes").code == 0
    assert not left.exists()
    assert runs[0].path.exists()


def test_a_dry_run_tells_the_choice_and_writes_nothing(
    runs: tuple[RunDirectory, RunDirectory], petbench: Petbench
) -> None:
    one, other = runs
    before = run_directories(one.path.parent)
    said = petbench("ensemble", one.handle, other.handle, "--by", "val", "--dry-run")
    assert said.code == 0, said.err
    assert f"{one.handle} + {other.handle}" in said.out
    assert "test" not in said.out
    assert run_directories(one.path.parent) == before


def test_where_one_run_is_best_alone_that_is_said_and_nothing_made(
    runs: tuple[RunDirectory, RunDirectory], petbench: Petbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.train import ensemble

    choose = ensemble.choose
    monkeypatch.setattr(ensemble, "choose", lambda found, by: choose(found[:1], by))
    one, other = runs
    said = petbench("ensemble", one.handle, other.handle, "--by", "val")
    assert said.code == 0, said.err
    assert f"{one.id} alone validates best" in said.out
    assert len(run_directories(one.path.parent)) == 2


def test_one_run_and_an_unknown_one_are_refused(
    runs: tuple[RunDirectory, RunDirectory], petbench: Petbench
) -> None:
    alone = petbench("ensemble", runs[0].handle)
    assert (alone.code, "two runs or more" in alone.err) == (2, True)
    unknown = petbench("ensemble", runs[0].handle, "nobody")
    assert (unknown.code, "no run 'nobody'" in unknown.err) == (2, True)
