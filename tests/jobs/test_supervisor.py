"""Real supervisors with real trainers: what waits, what runs, what survives, and what is said of the dead."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.jobs.background import (
    ENDLESS,
    SOME_SECONDS,
    Background,
    cpu_taken,
    kill,
    process_of,
    wait_for_epochs,
    wait_for_status,
    wait_until,
)
from tests.runs.making import make_run
from tests.train.making import TRUNK
from workbench.dataset.review import Correction, Verdict, load_review, record, undo_last
from workbench.jobs import (
    cancel_run,
    holders,
    is_background,
    move_in_queue,
    pause_run,
    queue_of,
    resume_run,
    stop_run,
)
from workbench.runs.layout import run_directories
from workbench.runs.leftovers import move_to_trash
from workbench.runs.process import is_alive, read_exit
from workbench.runs.results import read_results
from workbench.runs.status import RunStatus, status_of
from workbench.support.errors import UserError


def test_a_run_that_waits_can_be_moved_cancelled_and_queued_again(background: Background, home: Path) -> None:
    with cpu_taken(make_run(home / "other")):
        first, second, third = (background.launch(name=name) for name in ("a", "b", "c"))
        assert [one.position for one in (first, second, third)] == [1, 2, 3]
        assert {status_of(one.run) for one in (first, second, third)} == {RunStatus.QUEUED}
        move_in_queue(third.run, 1)
        assert [entry.run_id for entry in queue_of()] == [third.run.id, first.run.id, second.run.id]
        cancel_run(first.run)
        assert wait_for_status(first.run, RunStatus.STOPPED)
        wait_until(lambda: len(queue_of()) == 2)
        ended = read_exit(first.run)
        assert ended is not None
        assert (ended.code, ended.reason) == (130, "cancelled while queued")
        pause_run(second.run)
        wait_for_status(second.run, RunStatus.STOPPED)
        paused = read_exit(second.run)
        assert paused is not None
        assert paused.reason == "paused while queued"
        again = resume_run(first.run, device="cpu")
        assert again.position == 2
        assert process_of(first.run).attempt == 2
        with pytest.raises(UserError, match="it is queued"):
            resume_run(first.run, device="cpu")
        with pytest.raises(UserError, match="it is queued") as refused:
            move_to_trash([first.run])
        assert f"petbench stop {first.run.handle} takes it out" in str(refused.value)
        for run in (first.run, third.run):
            stop_run(run)
            wait_for_status(run, RunStatus.STOPPED)
    assert queue_of() == []


def test_a_run_that_does_not_run_cannot_be_stopped_or_cancelled(home: Path) -> None:
    run = make_run(home / "runs")
    for ask in (stop_run, pause_run):
        with pytest.raises(UserError, match="it is not running: it is lost"):
            ask(run)
    with pytest.raises(UserError, match="does not wait"):
        cancel_run(run)


def test_a_supervisor_killed_in_the_queue_leaves_a_lost_run_and_no_place(
    background: Background, home: Path
) -> None:
    with cpu_taken(make_run(home / "other")):
        first, second = background.launch(name="a"), background.launch(name="b")
        kill(process_of(first.run).pid, signal.SIGKILL)
        wait_for_status(first.run, RunStatus.LOST)
        assert [entry.run_id for entry in queue_of()] == [second.run.id]
        assert resume_run(first.run, device="cpu").position == 2
        for run in (first.run, second.run):
            stop_run(run)
            wait_for_status(run, RunStatus.STOPPED)


def test_a_stop_that_comes_with_the_launch_is_not_lost(background: Background, home: Path) -> None:
    with cpu_taken(make_run(home / "other")):
        run = background.launch().run
        stop_run(run)  # its supervisor is still being loaded
        wait_for_status(run, RunStatus.STOPPED)
        assert read_exit(run) is not None


def test_the_corrections_are_those_of_the_launch(background: Background, home: Path) -> None:
    review = home / "review.toml"
    record(review, Correction("one.png", Verdict.EXCLUDE, label="", said="Bengal", run="x"))
    corrected = TRUNK.replace("[data]", f'[data]\ncorrections = "{review}"')
    with cpu_taken(make_run(home / "other")):
        run = background.launch(corrected).run
        undo_last(review)
        assert [entry.id for entry in load_review(run.corrections).corrections] == ["one.png"]
        cancel_run(run)
        wait_for_status(run, RunStatus.STOPPED)
    review.unlink()
    with pytest.raises(UserError, match="review"):
        background.launch(corrected)
    assert [left.id for left in run_directories(background.runs)] == [run.id]


def test_a_launch_that_cannot_be_queued_leaves_no_directory(
    background: Background, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "file").touch()
    monkeypatch.setenv("PETBENCH_STATE", str(home / "file"))
    with pytest.raises(UserError, match="it cannot be queued"):
        background.launch()
    assert run_directories(background.runs) == []


@pytest.mark.slow
def test_of_two_launches_for_one_device_the_second_waits_and_then_runs(
    background: Background, home: Path
) -> None:
    told = home / "told"
    hook = f"""sh -c 'echo "$PETBENCH_NAME $PETBENCH_STATUS" >> {told}'"""
    first = background.launch(name="a", notify=hook)
    second = background.launch(name="b")
    assert (first.position, second.position) == (0, 1)
    wait_for_status(first.run, RunStatus.STARTING)
    assert holders()["cpu"].run == first.run
    wait_for_status(first.run, RunStatus.LIVE)
    assert status_of(second.run) is RunStatus.QUEUED
    assert wait_for_status(first.run, RunStatus.FINISHED, RunStatus.FAILED) is RunStatus.FINISHED
    assert wait_for_status(second.run, RunStatus.FINISHED, RunStatus.FAILED) is RunStatus.FINISHED
    ended, began = read_exit(first.run), process_of(second.run)
    assert ended is not None
    assert began.started >= ended.ended
    assert began.device == "cpu"
    wait_until(told.exists)
    assert told.read_text() == "a finished\n"
    assert "Traceback" not in first.run.log.read_text()
    wait_until(lambda: holders() == {})


@pytest.mark.slow
def test_a_run_whose_supervisor_is_killed_is_lost_and_resumes_to_the_same_weights(
    background: Background,
) -> None:
    whole, hit = (background.launch(SOME_SECONDS, name=name).run for name in ("whole", "hit"))
    wait_for_epochs(hit, 2)
    trainer = process_of(hit)
    assert trainer.supervisor is not None
    kill(trainer.supervisor.pid, signal.SIGKILL)
    assert wait_for_status(hit, RunStatus.LOST, RunStatus.FINISHED, RunStatus.STOPPED) is RunStatus.LOST
    assert not is_alive(trainer)
    assert read_exit(hit) is None
    assert "its supervisor is gone" in hit.log.read_text()
    wait_until(lambda: holders() == {})
    resume_run(hit, device="cpu")
    wait_for_status(hit, RunStatus.FINISHED, RunStatus.FAILED)
    assert process_of(hit).attempt == 2
    assert read_results(hit.results).weights_sha256 == read_results(whole.results).weights_sha256
    # Nothing was trained twice: the trainer had saved its last step.
    steps = [run.metrics.read_text().count('"kind":"step"') for run in (whole, hit)]
    assert steps[0] == steps[1]


@pytest.mark.slow
def test_a_trainer_that_is_killed_is_failed_and_its_exit_is_told(background: Background) -> None:
    run = background.launch(ENDLESS).run
    wait_for_epochs(run, 1)
    kill(process_of(run).pid, signal.SIGKILL)
    assert wait_for_status(run, RunStatus.FAILED, RunStatus.LOST) is RunStatus.FAILED
    ended = read_exit(run)
    assert ended is not None
    assert (ended.code, ended.signal, ended.attempt) == (137, 9, 1)
    assert "killed by signal 9 (SIGKILL)" in ended.reason
    assert resume_run(run, device="cpu").position == 0
    wait_for_status(run, RunStatus.LIVE)
    stop_run(run)
    wait_for_status(run, RunStatus.STOPPED)


@pytest.mark.slow
def test_a_live_run_is_parked_resumed_and_stopped(background: Background) -> None:
    run = background.launch(ENDLESS).run
    wait_for_epochs(run, 1)
    assert is_background(run)
    pause_run(run)
    pause_run(run)  # asking twice does not hurry it past its checkpoint
    assert status_of(run) in (RunStatus.STOPPING, RunStatus.STOPPED)
    wait_for_status(run, RunStatus.STOPPED)
    ended = read_exit(run)
    assert ended is not None
    assert (ended.code, ended.signal, ended.reason) == (130, 15, "paused")
    assert list(run.checkpoint.glob("*.safetensors"))
    wait_until(lambda: holders() == {})
    epochs = run.metrics.read_text().count('"split":"val"')
    resume_run(run, device="cpu")
    wait_for_epochs(run, epochs + 1)
    stop_run(run)
    wait_for_status(run, RunStatus.STOPPED)
    ended = read_exit(run)
    assert ended is not None
    assert (ended.attempt, ended.reason) == (2, "stopped on request")


@pytest.mark.slow
def test_a_trainer_that_does_not_end_is_killed_after_its_grace(background: Background) -> None:
    run = background.launch(ENDLESS).run
    wait_for_epochs(run, 1)
    kill(process_of(run).pid, signal.SIGSTOP)
    stop_run(run, grace_seconds=600)
    assert status_of(run) is RunStatus.STOPPING
    with pytest.raises(UserError, match="being stopped"):
        move_to_trash([run])
    stop_run(run, grace_seconds=0.2)
    wait_for_status(run, RunStatus.STOPPED)
    ended = read_exit(run)
    assert ended is not None
    assert (ended.code, ended.signal) == (130, 9)
    assert "killed, as it did not end within 0 s" in ended.reason
    assert not is_alive(process_of(run))


def test_a_run_asked_to_stop_while_its_trainer_is_loaded_is_stopped(background: Background) -> None:
    run = background.launch(ENDLESS).run
    wait_for_status(run, RunStatus.STARTING)
    stop_run(run)
    wait_for_status(run, RunStatus.STOPPED)
    ended = read_exit(run)
    assert ended is not None
    assert (ended.code, ended.reason) == (130, "stopped on request")


@pytest.mark.slow
def test_a_run_goes_on_when_the_terminal_it_was_launched_from_is_gone(
    background: Background, home: Path
) -> None:
    recipe = background.recipe_file(SOME_SECONDS, home / "recipe.toml")
    command = [sys.executable, "-m", "workbench.cli.main", "launch", str(recipe), "--device", "cpu"]
    terminal, shells_end = pty.openpty()
    shell = subprocess.Popen(
        ["sh", "-c", '"$@"; sleep 600', "sh", *command],
        stdin=shells_end,
        stdout=shells_end,
        stderr=shells_end,
        start_new_session=True,
    )
    os.close(shells_end)
    try:
        wait_until(lambda: any(run.process.exists() for run in run_directories(background.runs)))
        (run,) = run_directories(background.runs)
        wait_for_status(run, RunStatus.LIVE)
        supervisor = process_of(run).supervisor
        assert supervisor is not None
        assert os.getsid(supervisor.pid) != os.getsid(shell.pid)
        assert str(Path(f"/proc/{supervisor.pid}/fd/0").readlink()) == "/dev/null"
    finally:
        os.killpg(shell.pid, signal.SIGHUP)
        os.killpg(shell.pid, signal.SIGKILL)
        os.close(terminal)
        shell.wait()
    kill(supervisor.pid, signal.SIGHUP)
    assert wait_for_status(run, RunStatus.FINISHED, RunStatus.FAILED, RunStatus.LOST) is RunStatus.FINISHED
