"""States of runs, with real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runs.making import elsewhere, make_run, rewrite_json, sleeping
from workbench.runs.attempt_control import write_control
from workbench.runs.layout import RunDirectory
from workbench.runs.process import (
    beat,
    is_alive,
    read_exit,
    read_process,
    withdraw,
    write_exit,
    write_process,
)
from workbench.runs.status import RunStatus, status_of
from workbench.support.errors import UserError

Sleeper = subprocess.Popen[bytes]


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return make_run(tmp_path)


@pytest.fixture
def sleeper(run: RunDirectory) -> Iterator[Sleeper]:
    """A process of our own, a trainer by its command line, that does nothing until it is killed."""
    process = subprocess.Popen(sleeping(run))
    yield process
    process.kill()
    process.wait()


def test_a_run_whose_process_lives_is_live(run: RunDirectory, sleeper: Sleeper) -> None:
    record = write_process(run, "cpu", pid=sleeper.pid)
    assert status_of(run) is RunStatus.LIVE
    assert read_process(run) == record
    assert (record.attempt, record.device) == (1, "cpu")


def test_a_killed_process_leaves_a_lost_run_even_before_it_is_reaped(
    run: RunDirectory, sleeper: Sleeper
) -> None:
    write_process(run, "cpu", pid=sleeper.pid)
    sleeper.send_signal(signal.SIGKILL)
    # Not waited for yet: the kernel keeps it as a zombie with the same pid and start.
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert Path(f"/proc/{sleeper.pid}").exists()
    assert status_of(run) is RunStatus.LOST
    sleeper.wait()
    assert status_of(run) is RunStatus.LOST


def test_a_pid_given_to_another_process_is_not_the_run(run: RunDirectory, sleeper: Sleeper) -> None:
    record = write_process(run, "cpu", pid=sleeper.pid)
    rewrite_json(run.process, start_ticks=record.start_ticks - 1)
    assert status_of(run) is RunStatus.LOST


def test_a_machine_started_anew_runs_nothing_of_before(run: RunDirectory, sleeper: Sleeper) -> None:
    write_process(run, "cpu", pid=sleeper.pid)
    rewrite_json(run.process, boot_id="0b0b0b0b")
    _age(run.heartbeat, 61)
    _age(run.process, 61)
    assert status_of(run) is RunStatus.LOST


def test_a_run_on_another_machine_is_live_while_its_heart_beats(
    run: RunDirectory, sleeper: Sleeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere(run, sleeper.pid)
    beat(run)
    assert status_of(run) is RunStatus.LIVE
    _age(run.heartbeat, 61)
    assert status_of(run) is RunStatus.STALLED  # its process shows itself, its batch loop does not
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)
    assert status_of(run) is RunStatus.LOST


@pytest.mark.parametrize(
    ("age", "status"),
    [
        (-3600, RunStatus.SILENT),
        (3600, RunStatus.SILENT),
        (30, RunStatus.LIVE),
        (2 * 86400, RunStatus.LOST),  # no two clocks differ so
    ],
)
def test_the_first_look_at_a_run_by_another_clock_does_not_call_it_lost(
    run: RunDirectory, sleeper: Sleeper, age: float, status: RunStatus, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere(run, sleeper.pid)
    _age(run.heartbeat, age)
    _age(run.process, age)
    assert status_of(run) is status
    assert status_of(run) is status
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)
    assert status_of(run) is RunStatus.LOST
    _age(run.heartbeat, age - 10)
    _age(run.process, age - 10)
    assert status_of(run) is RunStatus.LIVE


@pytest.mark.parametrize("skew", [-3600, 3600, 10 * 86400])
def test_clocks_that_differ_are_judged_by_what_moves(
    run: RunDirectory, sleeper: Sleeper, skew: float
) -> None:
    elsewhere(run, sleeper.pid)
    _age(run.heartbeat, skew)
    _age(run.process, skew)
    status_of(run)
    _age(run.heartbeat, skew - 10)
    _age(run.process, skew - 10)
    assert status_of(run) is RunStatus.LIVE


def test_a_heartbeat_from_the_future_that_does_not_move_is_of_the_dead(
    run: RunDirectory, sleeper: Sleeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere(run, sleeper.pid)
    _age(run.heartbeat, -30)
    _age(run.process, -30)
    assert status_of(run) is RunStatus.LIVE
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)
    assert status_of(run) is RunStatus.LOST


def test_of_a_container_of_the_same_machine_no_pid_is_looked_up(run: RunDirectory) -> None:
    """It shares the boot, and its pids are others: this very process would be taken for the trainer."""
    write_process(run, "cpu", pid=os.getppid())
    rewrite_json(run.process, namespace="pid:[1]")
    process = read_process(run)
    assert process is not None
    assert not is_alive(process)
    with pytest.raises(UserError, match="it is alive on"):
        write_process(run, "cpu")


@pytest.mark.parametrize("changes", [{"pid": -1}, {"pid": 2**40}, {"attempt": 0}, {"started": 1e300}])
def test_numbers_that_no_petbench_wrote_are_no_process(run: RunDirectory, changes: dict[str, object]) -> None:
    write_process(run, "cpu")
    rewrite_json(run.process, **changes)
    assert read_process(run) is None


def test_a_live_run_without_a_heartbeat_for_a_minute_is_stalled(run: RunDirectory, sleeper: Sleeper) -> None:
    write_process(run, "cpu", pid=sleeper.pid)
    rewrite_json(run.process, started=time.time() - 1000)
    _age(run.heartbeat, 61)
    assert status_of(run) is RunStatus.STALLED
    beat(run)
    assert status_of(run) is RunStatus.LIVE


@pytest.mark.parametrize(
    ("code", "number", "status"),
    [
        (0, None, RunStatus.FINISHED),
        (1, None, RunStatus.FAILED),
        (2, None, RunStatus.FAILED),
        (130, None, RunStatus.STOPPED),
        (1, int(signal.SIGTERM), RunStatus.STOPPED),
        (1, int(signal.SIGSEGV), RunStatus.FAILED),
    ],
)
def test_an_exit_tells_how_the_run_ended(
    run: RunDirectory, code: int, number: int | None, status: RunStatus
) -> None:
    written = write_exit(run, code=code, reason="why", signal=number)
    assert status_of(run) is status
    assert read_exit(run) == written


def test_the_exit_of_an_earlier_attempt_does_not_hide_a_live_one(run: RunDirectory, sleeper: Sleeper) -> None:
    write_process(run, "cpu")
    write_exit(run, code=130, reason="stopped")
    assert status_of(run) is RunStatus.STOPPED
    resumed = write_process(run, "cpu", pid=sleeper.pid)
    assert resumed.attempt == 2
    assert status_of(run) is RunStatus.LIVE
    sleeper.kill()
    sleeper.wait()
    assert status_of(run) is RunStatus.LOST
    write_exit(run, code=1, reason="killed")
    assert status_of(run) is RunStatus.FAILED


def test_a_running_run_cannot_be_claimed_by_a_second_process(run: RunDirectory, sleeper: Sleeper) -> None:
    write_process(run, "cpu", pid=sleeper.pid)
    with pytest.raises(UserError, match="still running"):
        write_process(run, "cpu")


def test_a_process_that_is_not_there_cannot_claim_a_run(run: RunDirectory, sleeper: Sleeper) -> None:
    sleeper.kill()
    sleeper.wait()
    with pytest.raises(ProcessLookupError):
        write_process(run, "cpu", pid=sleeper.pid)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": "x"}', "\x00\xff"])
def test_damaged_process_and_exit_files_are_as_if_absent(run: RunDirectory, content: str) -> None:
    run.process.write_text(content)
    run.exit.write_text(content)
    assert read_process(run) is None
    assert read_exit(run) is None
    assert status_of(run) is RunStatus.LOST


def test_this_process_is_alive(run: RunDirectory) -> None:
    record = write_process(run, "cpu")
    assert is_alive(record)
    assert json.loads(run.process.read_text())["pid"] == os.getpid()


def _age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_an_attempt_that_another_has_followed_says_nothing_of_its_end(
    run: RunDirectory, sleeper: Sleeper
) -> None:
    write_process(run, "cpu")
    write_exit(run, code=130, attempt=1)
    write_process(run, "cpu", pid=sleeper.pid)
    assert write_exit(run, code=1, attempt=1) is None
    ended = read_exit(run)
    assert ended is not None
    assert (ended.attempt, ended.code) == (1, 130)
    assert status_of(run) is RunStatus.LIVE


def test_a_claim_forgets_what_was_wanted_of_another_attempt(run: RunDirectory) -> None:
    """Also of the very attempt that it makes, as a run that a stranger packed may hold."""
    write_control(run, "stop", 1, grace_seconds=5)
    write_process(run, "cpu")
    assert not run.control.exists()
    assert status_of(run) is RunStatus.LIVE


@pytest.mark.parametrize("name", ["run.log", "metrics.jsonl", "heartbeat", ".lock", "checkpoint", "pseudo"])
def test_a_run_with_a_link_out_of_its_directory_is_not_claimed(
    run: RunDirectory, tmp_path: Path, name: str
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    place = run.path / name
    if place.is_dir():
        place.rmdir()
    place.symlink_to(other)
    with pytest.raises(UserError, match="it is a link to") as refused:
        write_process(run, "cpu")
    assert name in refused.value.where
    assert not run.process.exists()


def test_a_refused_claim_leaves_the_run_as_it_was(run: RunDirectory) -> None:
    write_process(run, "cpu")
    write_exit(run, code=130, reason="stopped")
    before = {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()}
    process = run.process.read_bytes()
    withdraw(run, write_process(run, "cpu"), process)
    assert {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()} == before
    withdraw(run, write_process(run, "cpu"))  # by a supervisor, who does not know what there was
    assert status_of(run) is RunStatus.STOPPED
    assert write_process(run, "cpu").attempt == 2
