"""`--engine slurm` of launch, sweep and resume, and what queue, runs ls and the app's rows say of Slurm. Its
commands are played."""

from __future__ import annotations

import json
import os
from pathlib import Path

import jsonschema
import pytest

from tests.cli.whole import Petbench
from tests.jobs.played_slurm import Played
from tests.train.making import TRUNK, recipe_text
from workbench.cli.schemas import schema_of
from workbench.jobs.slurm import cluster_facts
from workbench.runs.layout import RunDirectory, run_directories
from workbench.runs.status import RunStatus, status_of
from workbench.runs.summary import summarise, with_awaited
from workbench.runs.ticket import read_ticket
from workbench.tui.screens.runs.columns import state


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Played:
    """A Slurm that is played: it has job 40 for whatever it is given."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return Played(tmp_path / "bin")


@pytest.fixture
def recipe(home: Path, sample: Path) -> Path:
    """A recipe on the tiny sample."""
    path = home / "recipe.toml"
    path.write_text(recipe_text(TRUNK, sample))
    return path


def _runs(home: Path) -> list[RunDirectory]:
    return run_directories(home / "runs")


def test_a_launch_is_a_job_that_asks_for_what_file_and_command_line_say(
    petbench: Petbench, home: Path, recipe: Path, slurm: Played
) -> None:
    (config := Path(os.environ["PETBENCH_CONFIG"])).write_text('[cluster]\npartition = "gpu"\ngpus = 1\n')
    try:
        said = petbench("launch", recipe, "--engine", "slurm", "--time", "90", "--sbatch=--account=lab")
    finally:
        config.unlink()
    assert (said.code, said.err) == (0, "")
    assert "is with Slurm as job 40" in said.out
    (run,) = _runs(home)
    assert status_of(run) is RunStatus.QUEUED
    (script,) = (home / "runs" / ".slurm").glob("*.sh")
    asked = [line.removeprefix("#SBATCH ") for line in script.read_text().splitlines()]
    for option in ("--partition=gpu", "--time=90", "--gres=gpu:1", "--account=lab", "--requeue"):
        assert option in asked


def test_a_sweep_is_an_array_and_given_again_submits_nothing(
    petbench: Petbench, home: Path, recipe: Path, slurm: Played
) -> None:
    words = ("sweep", recipe, "--grid", "seed=0,1,2", "--engine", "slurm", "--max-parallel", "2")
    slurm.says("squeue", 'for n in 0 1 2; do echo "40|$n|PENDING|x|low||Priority"; done')
    first = petbench(*words)
    assert first.code == 0
    assert "3 of 3 runs given to Slurm" in first.err
    again = petbench(*words)
    assert "0 of 3 runs given to Slurm" in again.err
    assert len(slurm.asked("sbatch")) == 1
    assert len(_runs(home)) == 3
    tickets = [read_ticket(run) for run in _runs(home)]
    assert {ticket.job for ticket in tickets if ticket} == {"40_0", "40_1", "40_2"}


def test_queue_and_listing_show_slurms_jobs_with_its_reason(
    petbench: Petbench, home: Path, recipe: Path, slurm: Played
) -> None:
    petbench("launch", recipe, "--engine", "slurm")
    slurm.says("squeue", "echo '40|N/A|PENDING|x|low||Resources'")
    queue = petbench("queue")
    assert "Resources" in queue.out
    told = json.loads(petbench("queue", "--json").out)
    jsonschema.validate(told, schema_of("queue"))
    assert [(one["job"], one["state"], one["reason"]) for one in told["slurm"]["runs"]] == [
        ("40", "PENDING", "Resources")
    ]
    listed = json.loads(petbench("runs", "ls", "--json").out)
    jsonschema.validate(listed, schema_of("runs"))
    assert listed["runs"][0]["slurm"]["awaited"] == "Resources"
    (run,) = _runs(home)
    assert state(with_awaited(summarise(run), lambda _: "Resources")) == "queued Resources"
    assert state(summarise(run)) == "queued in Slurm"


def test_a_broken_slurm_is_said_and_the_rest_of_the_queue_shown(
    petbench: Petbench, recipe: Path, slurm: Played
) -> None:
    petbench("launch", recipe, "--engine", "slurm")
    slurm.says("squeue", "echo 'Unable to contact slurm controller' >&2; exit 1")
    said = petbench("queue")
    assert said.code == 0
    assert "Slurm: squeue failed: Unable to contact slurm controller" in said.err
    assert "queued" in said.out


def test_what_sbatch_refuses_leaves_no_run(
    petbench: Petbench, home: Path, recipe: Path, slurm: Played
) -> None:
    slurm.says(
        "sbatch", "cat > /dev/null; echo 'sbatch: error: invalid partition specified: gpu' >&2; exit 1"
    )
    said = petbench("sweep", recipe, "--grid", "seed=0,1", "--engine", "slurm", "--partition", "gpu")
    assert said.code == 2
    assert "invalid partition specified: gpu" in said.err
    assert _runs(home) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--partition", "gpu"], "add --engine slurm"),
        (["--engine", "slurm", "--time", "soon"], "--time: cluster.time"),
        (["--engine", "slurm", "--device", "cpu"], "Slurm gives each run its device"),
        (["--engine", "slurm"], "there is no scontrol on this machine"),
    ],
)
def test_what_does_not_fit_is_one_message(
    words: list[str],
    message: str,
    petbench: Petbench,
    home: Path,
    recipe: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    cluster_facts.cache_clear()
    said = petbench("launch", recipe, *words)
    assert said.code == 2
    assert message in said.err
    assert _runs(home) == []


def test_a_run_that_slurm_has_is_not_resumed_here_by_accident(
    petbench: Petbench, home: Path, recipe: Path, slurm: Played
) -> None:
    petbench("launch", recipe, "--engine", "slurm")
    (run,) = _runs(home)
    said = petbench("resume", run.handle)
    assert said.code == 2
    assert "Slurm has it as job 40" in said.err


def test_a_run_that_slurm_holds_goes_on_here_and_its_job_is_cancelled(
    petbench: Petbench, home: Path, recipe: Path, slurm: Played
) -> None:
    petbench("launch", recipe, "--engine", "slurm")
    (run,) = _runs(home)
    assert "Slurm holds its job" in petbench("pause", run.handle).out
    said = petbench("resume", run.handle)
    assert (said.code, status_of(run)) == (0, RunStatus.FINISHED)
    assert "job 40, which Slurm held, is cancelled" in said.err
    assert slurm.asked("scancel") == ["40"]
