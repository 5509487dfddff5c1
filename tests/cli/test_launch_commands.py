"""`petbench launch`, `stop`, `pause`, `resume --background` and `queue`, as a shell would start them."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.whole import Petbench, Said
from tests.jobs.background import cpu_taken, wait_for_status
from tests.runs.making import finish, make_run
from tests.train.making import TRUNK, recipe_text
from workbench.jobs import queue_of
from workbench.recipe import load_recipe
from workbench.runs.layout import RunDirectory, run_directories
from workbench.runs.metrics import MetricsWriter
from workbench.runs.predictions import save_predictions
from workbench.runs.process import read_process, write_process
from workbench.runs.status import RunStatus, status_of
from workbench.support.identity import send_signal


@pytest.fixture
def busy(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home whose CPU is taken, so that every launch waits; nothing waits on after the test."""
    monkeypatch.setenv("PETBENCH_STATE", str(home / "state"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with cpu_taken(make_run(home / "elsewhere", "holder")):
        yield home
        for run in run_directories(home / "runs"):
            process = read_process(run)
            if process is not None and process.supervisor is not None:
                send_signal(process.supervisor, signal.SIGKILL)


@pytest.fixture
def recipe(busy: Path, sample: Path) -> Path:
    """A recipe on the tiny sample."""
    path = busy / "recipe.toml"
    path.write_text(recipe_text(TRUNK, sample))
    return path


def _json(said: Said) -> Any:
    assert said.code == 0, said.err
    return json.loads(said.out)


def _names() -> list[str]:
    return [load_recipe(RunDirectory(entry.path).recipe).name for entry in queue_of()]


def test_recipes_are_launched_in_order_and_say_where_they_stand(petbench: Petbench, recipe: Path) -> None:
    launched = _json(petbench("launch", recipe, recipe, "--json"))["runs"]
    assert [one["queue_position"] for one in launched] == [1, 2]
    assert [entry.path for entry in queue_of()] == [Path(one["path"]) for one in launched]
    said = petbench("launch", recipe, "--set", "seed=7", "--device", "cpu")
    assert "waits, 3 in the queue" in said.out
    assert load_recipe(queue_of()[2].path / "recipe.toml").seed == 7


def test_a_grid_is_a_run_for_each_combination(petbench: Petbench, recipe: Path) -> None:
    said = petbench("launch", recipe, "--grid", "seed=1,2", "--grid", "training.batch_size=4,8")
    assert said.code == 0, said.err
    assert _names() == [
        "tiny-trunk/batch_size=4,seed=1",
        "tiny-trunk/batch_size=4,seed=2",
        "tiny-trunk/batch_size=8,seed=1",
        "tiny-trunk/batch_size=8,seed=2",
    ]


def test_a_grid_that_is_launched_again_runs_nothing_twice(petbench: Petbench, recipe: Path) -> None:
    grid = ("--grid", "seed=1,2")
    first = _json(petbench("launch", recipe, *grid, "--json"))["runs"]
    assert petbench("queue", "cancel", first[0]["id"]).code == 0
    assert wait_for_status(RunDirectory(Path(first[0]["path"])), RunStatus.STOPPED)
    again = petbench("launch", recipe, *grid, "--json")
    assert [one["id"] for one in _json(again)["runs"]] == [first[0]["id"]]
    assert "1 of 2 runs are there already: 1 queued" in again.err
    assert [entry.run_id for entry in queue_of()] == [first[1]["id"], first[0]["id"]]


def test_a_sweep_that_decides_on_the_way_is_not_launched(petbench: Petbench, recipe: Path) -> None:
    recipe.write_text(recipe.read_text() + "[sweep]\nprune = { epochs = 1 }\n")
    said = petbench("launch", recipe, "--grid", "optimizer.learning_rate=1e-4,1e-3")
    assert said.code == 2
    assert "decide on the way" in said.err
    assert queue_of() == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--set", "training.epochs=none"), "training.epochs"),
        (("--grid", "seed=1,x"), "seed"),
        (("--device", "cuda:9"), "no device 'cuda:9'"),
        (("--notify", "echo 'half"), "--notify"),
        (("--set", "data.dataset=oxford-iiit-pet", "--set", "data.root="), "is not there"),
        (
            ("--set", "pseudo_label.strategy=one_shot", "--set", "pseudo_label.labels_per_class=900"),
            "labels_per_class",
        ),
    ],
)
def test_a_launch_that_cannot_be_is_refused_before_anything_starts(
    petbench: Petbench, recipe: Path, busy: Path, arguments: tuple[str, ...], says: str
) -> None:
    said = petbench("launch", recipe, *arguments)
    assert said.code == 2
    assert says in said.err
    assert run_directories(busy / "runs") == []


def test_one_wrong_recipe_of_several_starts_none(petbench: Petbench, recipe: Path, busy: Path) -> None:
    wrong = busy / "wrong.toml"
    wrong.write_text(recipe.read_text().replace("batch_size = 8", "batch_size = 0"))
    said = petbench("launch", recipe, wrong)
    assert (said.code, run_directories(busy / "runs")) == (2, [])
    assert "training.batch_size" in said.err


def test_the_queue_is_listed_reordered_and_left(petbench: Petbench, recipe: Path) -> None:
    petbench("launch", recipe, "--grid", "seed=1,2,3")
    first, second, third = queue_of()
    listed = _json(petbench("queue", "ls", "--json"))
    assert [row["id"] for row in listed["waiting"]] == [one.run_id for one in (first, second, third)]
    assert [(row["name"], row["run"]) for row in listed["devices"]] == [
        ("cpu", str(recipe.parent / "elsewhere" / Path(listed["devices"][0]["run"]).name))
    ]
    assert petbench("queue", "move", third.run_id, 1).code == 0
    assert [entry.run_id for entry in queue_of()] == [third.run_id, first.run_id, second.run_id]
    shown = petbench("queue")
    assert shown.out.index(RunDirectory(third.path).handle) < shown.out.index(RunDirectory(first.path).handle)
    listing = petbench("runs", "ls").out
    assert "next in the queue" in listing
    assert petbench("queue", "cancel", first.run_id).code == 0
    assert wait_for_status(RunDirectory(first.path), RunStatus.STOPPED)
    said = petbench("queue", "move", first.run_id, 1)
    assert said.code == 2
    assert "does not wait" in said.err
    said = petbench("queue", "cancel", first.run_id)
    assert said.code == 2
    assert "it is stopped" in said.err


def test_a_run_that_waits_is_stopped_removed_from_the_listing_only_then_and_queued_again(
    petbench: Petbench, recipe: Path
) -> None:
    (launched,) = _json(petbench("launch", recipe, "--json"))["runs"]
    run = RunDirectory(Path(launched["path"]))
    refused = petbench("runs", "rm", run.handle)
    assert refused.code == 2
    assert "it is queued" in refused.err
    said = petbench("stop", run.handle, "--wait")
    assert (said.code, "leaves the queue" in said.out, "stopped" in said.out) == (0, True, True)
    said = petbench("resume", run.handle, "--background", "--device", "cpu")
    assert "waits, 1 in the queue" in said.out
    assert status_of(run) is RunStatus.QUEUED
    assert petbench("pause", run.handle, "-w").code == 0
    assert "paused while queued" in petbench("runs", "show", run.handle).out


def test_what_is_over_cannot_be_stopped_or_finished_twice(petbench: Petbench, busy: Path) -> None:
    run = finish(make_run(busy / "runs"))
    said = petbench("stop", run.handle)
    assert said.code == 2
    assert "it is not running: it is finished" in said.err
    for name in ("val", "test"):
        save_predictions(
            run.predictions(name), ["a"], np.full((1, 3), 1 / 3, np.float32), np.zeros(1, np.int64)
        )
    said = petbench("resume", run.handle, "--background")
    assert said.code == 2
    assert "it is finished" in said.err
    run.predictions("test").unlink()  # which the run is concluded again for, as in the foreground
    assert petbench("resume", run.handle, "--background").code == 0
    assert petbench("stop", run.handle).code == 0


def test_a_run_in_the_foreground_is_asked_once_and_told_that_it_is_not_killed(
    petbench: Petbench, busy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(busy / "runs")
    heard: list[signal.Signals] = []
    monkeypatch.setattr(signal, "pidfd_send_signal", lambda _, number: heard.append(number))
    write_process(run, "cpu")
    with MetricsWriter(run.metrics):  # as a trainer has them open
        for _ in range(2):
            said = petbench("stop", run.handle)
            assert said.code == 0, said.err
            assert "foreground" in said.out
    assert heard == [signal.SIGTERM]
    assert status_of(run) is RunStatus.STOPPING


def test_run_without_a_recipe_says_what_to_type(petbench: Petbench, busy: Path) -> None:
    said = petbench("run")
    assert said.code == 2
    assert "petbench run quickstart" in said.err


def test_a_run_in_the_foreground_says_who_has_the_device_and_goes_on(
    petbench: Petbench, recipe: Path
) -> None:
    said = petbench("run", recipe, "--device", "cpu", "--set", "training.epochs=1")
    assert said.code == 0, said.err
    assert "cpu is in use by" in said.err
