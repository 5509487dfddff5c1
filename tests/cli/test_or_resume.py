"""`petbench run --or-resume`, as docs/cluster.md has it for Kubernetes and SkyPilot: run or resume; 130 means
again."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.whole import Petbench
from tests.jobs.background import SOME_SECONDS, wait_for_epochs, wait_until
from tests.runs.making import sleeping
from tests.train.making import recipe_text
from workbench.cli import run as command
from workbench.runs.layout import run_directories
from workbench.runs.process import read_exit, write_process
from workbench.runs.results import read_results
from workbench.runs.status import RunStatus, status_of

PAGE = Path(__file__).parents[2] / "docs" / "cluster.md"


@pytest.fixture
def recipe(home: Path, sample: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`recipe.toml` in the working directory."""
    path = home / "recipe.toml"
    path.write_text(recipe_text(SOME_SECONDS, sample))
    monkeypatch.chdir(home)
    return path


def documented() -> list[list[str]]:
    """The command of each file on the page."""
    page = PAGE.read_text()
    manifest = re.search(r"command: (\[.*\])", page)
    task = re.search(r"^ +(petbench run .*)$", page, re.MULTILINE)
    assert manifest is not None
    assert task is not None
    return [json.loads(manifest[1]), shlex.split(task[1])]


def test_the_documented_command_is_the_same_for_every_scheduler() -> None:
    manifest, task = documented()
    assert manifest == task == ["petbench", "run", "recipe.toml", "--or-resume"]


def test_the_documented_command_ends_with_130_when_told_goes_on_when_called_again_and_is_done_once(
    petbench: Petbench, home: Path, recipe: Path
) -> None:
    words = documented()[0][1:]
    with subprocess.Popen(
        [sys.executable, "-m", "workbench.cli.main", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as pod:
        wait_until(lambda: bool(run_directories(home / "runs")), "the run's directory")
        (run,) = run_directories(home / "runs")
        wait_for_epochs(run, 2)
        pod.send_signal(signal.SIGTERM)
        pod.communicate()
    assert pod.returncode == 130
    assert status_of(run) is RunStatus.STOPPED

    again = petbench(*words)
    assert (again.code, status_of(run)) == (0, RunStatus.FINISHED)
    weights = read_results(run.results).weights_sha256
    ended = read_exit(run)
    assert ended is not None
    assert ended.attempt == 2

    once_more = petbench(*words)
    assert once_more.code == 0
    assert "finished" in once_more.out
    assert run_directories(home / "runs") == [run]

    assert petbench("run", "recipe.toml", "--runs-dir", str(home / "whole")).code == 0
    (whole,) = run_directories(home / "whole")
    assert read_results(whole.results).weights_sha256 == weights


def test_a_run_that_is_at_work_elsewhere_is_left_to_it(
    petbench: Petbench, home: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_PATIENCE_SECONDS", 0.0)
    assert petbench("run", "recipe.toml", "--set", "training.epochs=1").code == 0
    (run,) = run_directories(home / "runs")
    other = subprocess.Popen(sleeping(run))
    try:
        write_process(run, "cpu", pid=other.pid)
        said = petbench("run", "recipe.toml", "--set", "training.epochs=1", "--or-resume")
    finally:
        other.kill()
        other.wait()
    assert said.code == 2
    assert "already" in said.err
    assert len(run_directories(home / "runs")) == 1
