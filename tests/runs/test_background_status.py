"""The states of a run in the background, derived from records, processes and wishes."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.runs.making import make_run, rewrite_json, sleeping
from workbench.runs.attempt_control import read_request, write_control
from workbench.runs.layout import RunDirectory
from workbench.runs.process import (
    ProcessRecord,
    join_attempt,
    note_start,
    pulse,
    read_process,
    write_exit,
    write_process,
)
from workbench.runs.status import RunStatus, status_of
from workbench.support.errors import UserError
from workbench.support.identity import process_id
from workbench.support.records import write_record

Child = subprocess.Popen[bytes]


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return make_run(tmp_path)


@pytest.fixture
def children(run: RunDirectory) -> Iterator[tuple[Child, Child]]:
    """A supervisor and a trainer that only wait."""
    command = sleeping(run)
    made = subprocess.Popen(command), subprocess.Popen(command)
    yield made
    for child in made:
        child.kill()
        child.wait()


def _end(child: Child) -> None:
    child.kill()
    child.wait()


def _trained(run: RunDirectory, supervisor: Child, trainer: Child) -> ProcessRecord:
    """The record that a trainer in the background leaves."""
    watching = write_process(run, "cpu", pid=supervisor.pid, role="waiting")
    working = write_process(make_run(run.path.parent, "other"), "cpu", pid=trainer.pid)
    record = replace(
        working,
        attempt=watching.attempt,
        supervisor_pid=watching.pid,
        supervisor_ticks=watching.start_ticks,
    )
    write_record(run.process, record)
    return record


def test_a_run_is_queued_then_starting_while_its_supervisor_lives(
    run: RunDirectory, children: tuple[Child, Child]
) -> None:
    claimed = write_process(run, "auto", pid=children[0].pid, role="waiting")
    assert status_of(run) is RunStatus.QUEUED
    assert status_of(run).is_active
    assert not status_of(run).is_running
    note_start(run, claimed, "cuda:0")
    assert status_of(run) is RunStatus.STARTING
    assert status_of(run).is_running
    _end(children[0])
    assert status_of(run) is RunStatus.LOST


def test_a_trainer_under_a_living_supervisor_is_live(
    run: RunDirectory, children: tuple[Child, Child]
) -> None:
    _trained(run, *children)
    assert status_of(run) is RunStatus.LIVE


def test_a_trainer_whose_supervisor_died_is_stopping_and_then_lost(
    run: RunDirectory, children: tuple[Child, Child]
) -> None:
    _trained(run, *children)
    _end(children[0])
    assert status_of(run) is RunStatus.STOPPING
    _end(children[1])
    assert status_of(run) is RunStatus.LOST


def test_a_worker_whose_sweep_died_is_stopping_and_then_lost(
    run: RunDirectory, children: tuple[Child, Child]
) -> None:
    sweep, worker = children
    write_process(run, "cpu", pid=worker.pid, sweep=process_id(sweep.pid))
    assert status_of(run) is RunStatus.LIVE
    _end(sweep)
    assert status_of(run) is RunStatus.STOPPING
    _end(worker)
    assert status_of(run) is RunStatus.LOST


def test_a_run_is_not_lost_while_its_supervisor_writes_down_how_it_ended(
    run: RunDirectory, children: tuple[Child, Child]
) -> None:
    record = _trained(run, *children)
    _end(children[1])
    assert status_of(run) is RunStatus.STOPPING
    write_exit(run, code=137, signal=9, attempt=record.attempt)
    assert status_of(run) is RunStatus.FAILED


@pytest.mark.parametrize("field", ["supervisor_ticks", "start_ticks"])
def test_a_pid_used_again_is_neither_supervisor_nor_trainer(
    run: RunDirectory, children: tuple[Child, Child], field: str
) -> None:
    record = _trained(run, *children)
    rewrite_json(run.process, **{field: getattr(record, field) - 1})
    assert status_of(run) is RunStatus.STOPPING
    rewrite_json(
        run.process, supervisor_ticks=record.supervisor_ticks - 1, start_ticks=record.start_ticks - 1
    )
    assert status_of(run) is RunStatus.LOST


@pytest.mark.parametrize("wanted", ["stop", "pause"])
def test_a_run_that_is_asked_to_end_is_stopping(
    run: RunDirectory, children: tuple[Child, Child], wanted: str
) -> None:
    record = write_process(run, "cpu", pid=children[0].pid)
    write_control(run, "stop" if wanted == "stop" else "pause", record.attempt, grace_seconds=5)
    assert status_of(run) is RunStatus.STOPPING
    _end(children[0])
    assert status_of(run) is RunStatus.LOST


def test_a_wish_binds_only_the_attempt_it_was_made_for(
    run: RunDirectory, children: tuple[Child, Child]
) -> None:
    first = write_process(run, "cpu", pid=children[0].pid)
    write_control(run, "stop", first.attempt, grace_seconds=5)
    write_exit(run, code=130, reason="stopped on request")
    assert status_of(run) is RunStatus.STOPPED
    write_process(run, "cpu", pid=children[1].pid)
    assert status_of(run) is RunStatus.LIVE


@given(st.binary(max_size=100) | st.text(max_size=50).map(lambda text: json.dumps({"wanted": text}).encode()))
def test_a_poisoned_control_file_asks_for_nothing(content: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory(Path(folder))
        run.control.write_bytes(content)
        assert read_request(run, 1) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"wanted": "explode"},
        {"wanted": ["stop"]},
        {"attempt": "1"},
        {"attempt": True},
        {"grace_seconds": "soon"},
        {"grace_seconds": float("nan")},
        {"asked": None},
        {"wanted": "run"},
    ],
)
def test_a_control_file_with_a_wrong_value_asks_for_nothing(
    run: RunDirectory, changes: dict[str, object]
) -> None:
    write_control(run, "stop", 1, grace_seconds=5)
    assert read_request(run, 1) is not None
    rewrite_json(run.control, **changes)
    assert read_request(run, 1) is None


def test_a_grace_below_zero_is_none(run: RunDirectory) -> None:
    assert write_control(run, "stop", 1, grace_seconds=-5).grace_seconds == 0


def test_a_queued_run_cannot_be_claimed_by_a_second_process(
    run: RunDirectory, children: tuple[Child, Child]
) -> None:
    write_process(run, "cpu", pid=children[0].pid, role="waiting")
    with pytest.raises(UserError, match="waits in the queue already") as error:
        write_process(run, "cpu")
    assert f"petbench stop {run.handle}" in error.value.hint


def test_a_running_run_says_how_to_stop_it(run: RunDirectory, children: tuple[Child, Child]) -> None:
    write_process(run, "cpu", pid=children[0].pid)
    with pytest.raises(UserError, match="is still running it") as error:
        write_process(run, "cpu")
    assert error.value.hint == f"petbench stop {run.handle} stops it after a checkpoint"


def test_an_orphans_run_cannot_be_claimed_before_it_has_ended(
    run: RunDirectory, children: tuple[Child, Child]
) -> None:
    _trained(run, *children)
    _end(children[0])
    with pytest.raises(UserError, match="still running"):
        write_process(run, "cpu")
    _end(children[1])
    assert write_process(run, "cpu").attempt == 2


def test_a_trainer_joins_only_the_attempt_of_its_parent(run: RunDirectory) -> None:
    write_process(run, "cuda:3", pid=os.getppid(), role="waiting")
    joined = join_attempt(run, 1)
    assert read_process(run) == joined
    assert (joined.pid, joined.device, joined.role) == (os.getpid(), "cuda:3", "trainer")
    assert joined.supervisor is not None
    assert joined.supervisor.pid == os.getppid()
    with pytest.raises(UserError, match="not this process's"):
        join_attempt(run, 2)


def test_a_queued_run_of_another_machine_is_queued_while_its_heart_beats(
    run: RunDirectory, children: tuple[Child, Child]
) -> None:
    write_process(run, "cpu", pid=children[0].pid, role="waiting")
    rewrite_json(run.process, host="elsewhere", boot_id="0b", started=time.time() - 1000)
    assert status_of(run) is RunStatus.QUEUED
    then = time.time() - 61
    for path in (run.heartbeat, run.process):
        os.utime(path, (then, then))
    assert status_of(run) is RunStatus.SILENT


def test_a_stopped_run_is_stopping_until_its_trainer_has_let_go_of_the_device(
    run: RunDirectory, children: tuple[Child, Child]
) -> None:
    record = _trained(run, *children)
    write_exit(run, code=130, reason="stopped on request", attempt=record.attempt)
    assert status_of(run) is RunStatus.STOPPING
    _end(children[1])
    assert status_of(run) is RunStatus.STOPPED  # whatever its supervisor, or a notification, still does


def test_records_of_before_background_runs_can_still_be_read(run: RunDirectory) -> None:
    record = write_process(run, "cpu")
    values = json.loads(run.process.read_text())
    for key in ("role", "supervisor_pid", "supervisor_ticks", "namespace", "crc32"):
        del values[key]
    run.process.write_text(json.dumps(values))
    assert read_process(run) == replace(record, namespace="")
    assert status_of(run) is RunStatus.LIVE


def test_a_supervisor_whose_run_another_attempt_has_claimed_takes_nothing_back(
    run: RunDirectory, children: tuple[Child, Child]
) -> None:
    """Its machine was out of reach while it waited in the queue, and another took the run for lost."""
    first = write_process(run, "cpu", pid=children[0].pid, role="waiting")
    assert pulse(run, first)
    _end(children[0])
    second = write_process(run, "cpu", pid=children[1].pid, role="waiting")
    with pytest.raises(UserError, match="not this process's any more"):
        note_start(run, first, "cpu")
    assert not pulse(run, first)
    assert read_process(run) == second
    assert write_exit(run, code=130, attempt=first.attempt) is None
