"""The real app in a real tmux, as a person at an SSH session uses it, with terminals that die under it."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.jobs.background import wait_for_status
from tests.train.making import HEAD, PSEUDO, make_sample, recipe_text
from tests.tui.terminals import PETBENCH, Tmux, wait_until
from workbench.dataset.review import load_review, review_path
from workbench.runs.layout import RunDirectory, run_directories
from workbench.runs.results import read_results
from workbench.runs.status import RunStatus, status_of
from workbench.support.identity import is_running

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed"),
]


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """Places of the test's own, on a machine without GPUs."""
    names = ("RUNS", "DATA", "CACHE", "STATE")
    places = {f"PETBENCH_{name}": str(tmp_path / name.lower()) for name in names}
    return {**places, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "COLORTERM": "truecolor"}


@pytest.fixture
def runs_home(tmp_path: Path) -> Path:
    """Where the app's runs lie."""
    return tmp_path / "runs"


@pytest.fixture
def tmux(tmp_path: Path, env: dict[str, str]) -> Iterator[Tmux]:
    """A tmux whose windows open in a directory with one recipe of drawn pets."""
    sample = make_sample(tmp_path / "sample")
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    (recipes / "tiny.toml").write_text(recipe_text(HEAD + PSEUDO, sample))
    terminal = Tmux(tmp_path / "socket", env, (120, 40), cwd=tmp_path)
    yield terminal
    terminal.kill_server()


def newest(runs_home: Path) -> RunDirectory:
    return run_directories(runs_home)[0]


def test_compose_launch_lose_the_terminal_come_back_correct_and_relaunch(tmux: Tmux, runs_home: Path) -> None:
    tmux.start(PETBENCH)
    tmux.wait_for("No runs yet")
    tmux.send("n")
    tmux.wait_for("compose", "valid")
    tmux.send("o")
    tmux.wait_for("Start from")
    tmux.type("tiny")
    tmux.wait_for("file", "recipes/tiny.toml")
    tmux.send("Enter")
    tmux.wait_for("recipe recipes/tiny.toml", "valid")
    tmux.send("L")
    tmux.wait_for("watch", "tiny-")
    run = newest(runs_home)

    tmux.kill_server()
    assert wait_for_status(run, RunStatus.FINISHED) is RunStatus.FINISHED
    assert read_results(run.results).rounds

    tmux.start(PETBENCH)
    tmux.wait_for("watch", f"tiny-{run.handle}", "done")
    tmux.send("i")
    tmux.wait_for("inspect", "pool, round 2 of 2", "review: nothing yet")
    tmux.send("x")
    tmux.wait_for("1 excluded")
    tmux.send("a")
    tmux.wait_for("1 accepted")
    review = review_path(runs_home, "tiny")
    assert len(load_review(review).corrections) == 2
    tmux.send("R")
    tmux.wait_for("Train again with 2 corrections?")
    tmux.send("y")
    tmux.wait_for("watch", absent=f"tiny-{run.handle}")
    relaunched = newest(runs_home)
    assert relaunched.id != run.id
    wait_for_status(relaunched, RunStatus.FINISHED)
    tmux.wait_for(f"tiny-{relaunched.handle}", "done")
    assert load_review(relaunched.corrections).corrections == load_review(review).corrections


def test_the_app_survives_resizing_wrong_keys_and_its_run_being_removed(tmux: Tmux, runs_home: Path) -> None:
    tmux.start((*PETBENCH, "run", "recipes/tiny.toml"))
    tmux.wait_for("petbench runs ls")
    run = newest(runs_home)
    tmux.kill_server()
    tmux.start(PETBENCH)
    tmux.wait_for("tiny", "done")
    for columns, rows in ((80, 24), (30, 8), (160, 48)):
        tmux.resize(columns, rows)
        tmux.send("Enter", "F9", "M-x", "Escape", "C-a")
    tmux.resize(120, 40)
    tmux.send("?")  # what the window shows may be old: this comes after all the keys before it
    tmux.wait_for("what the keys do")
    tmux.send("Escape")
    if "petbench  watch" in tmux.wait_for("tiny", "done", absent="what the keys do"):
        tmux.send("Escape")
    tmux.wait_for("tiny", "done", "enter watch")
    shutil.rmtree(run.path)
    tmux.wait_for("No runs yet")
    tmux.send("q")
    tmux.wait_until_ended()


def test_an_app_that_was_stopped_and_goes_on_reads_every_key_and_ends(tmux: Tmux) -> None:
    tmux.start(PETBENCH)
    tmux.wait_for("No runs yet")
    pid = tmux.process().pid
    for _ in range(8):  # tmux sends SIGCONT to what stops in its windows, so each is two of them
        os.kill(pid, signal.SIGSTOP)
        os.kill(pid, signal.SIGCONT)
    for _ in range(4):
        tmux.send("n")
        tmux.wait_for("compose", "valid")
        tmux.send("Escape")
        tmux.wait_for("No runs yet")
    tmux.send("q")
    tmux.wait_until_ended()


def test_a_hang_up_keeps_what_was_on_the_screen_and_leaves_no_process(
    tmux: Tmux, runs_home: Path, env: dict[str, str]
) -> None:
    tmux.start((*PETBENCH, "launch", "recipes/tiny.toml"))
    tmux.wait_until_ended()
    run = newest(runs_home)
    wait_for_status(run, RunStatus.FINISHED)
    tmux.kill_server()
    tmux.start(PETBENCH)
    tmux.wait_for("tiny", "done")
    tmux.send("/")
    tmux.type("test.accuracy>2")  # at once, as a person who knows the key does
    tmux.send("Enter")
    tmux.wait_for("0 of 1")
    state = Path(env["PETBENCH_STATE"])
    wait_until(
        lambda: any("test.accuracy>2" in path.read_text() for path in state.glob("app-*.json")),
        "the filter kept",
    )
    process = tmux.process()
    tmux.kill_server()
    wait_until(lambda: not is_running(process), "the app's end")
    tmux.start(PETBENCH)
    tmux.wait_for("test.accuracy>2", "0 of 1")
    assert status_of(run) is RunStatus.FINISHED
