"""Whom a wish to stop may reach: a petbench at work on this very run, whatever its files say."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.runs.making import elsewhere, make_run
from workbench.jobs import pause_run, stop_run
from workbench.runs.attempt_control import read_request
from workbench.runs.layout import RunDirectory
from workbench.runs.metrics import MetricsWriter
from workbench.runs.process import is_alive, is_petbench_of, read_process, write_exit, write_process
from workbench.runs.status import RunStatus, status_of
from workbench.support.errors import UserError
from workbench.support.identity import process_id
from workbench.support.records import write_record

Child = subprocess.Popen[bytes]


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return make_run(tmp_path)


@pytest.fixture
def bystander(run: RunDirectory) -> Iterator[Child]:
    """A process of the user that reads the run, and names it on its command line."""
    run.metrics.touch()
    code = "import sys, time; f = open(sys.argv[1]); print(flush=True); time.sleep(600)"
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(run.metrics), str(run.path)], stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    child.stdout.readline()
    yield child
    child.kill()
    child.wait()
    child.stdout.close()


@pytest.mark.parametrize("as_supervisor", [False, True])
@pytest.mark.parametrize("grace", [120.0, 0.0])
def test_a_process_that_a_forged_file_names_is_left_alone(
    run: RunDirectory, bystander: Child, as_supervisor: bool, grace: float
) -> None:
    forged = write_process(run, "cpu", pid=bystander.pid)
    if as_supervisor:
        mine = process_id()
        assert mine is not None
        write_record(
            run.process,
            replace(
                forged,
                pid=mine.pid,
                start_ticks=1,
                supervisor_pid=forged.pid,
                supervisor_ticks=forged.start_ticks,
            ),
        )
    for ask in (stop_run, pause_run):
        with pytest.raises(UserError, match="is no petbench at work on this run"):
            ask(run, grace_seconds=grace)
    assert bystander.poll() is None
    assert read_request(run, 1) is None
    assert status_of(run) is RunStatus.LOST
    with pytest.raises(UserError, match="is no petbench at work on this run"):
        write_process(run, "cpu")


def test_a_trainer_is_known_by_the_metrics_that_it_writes(run: RunDirectory) -> None:
    record = write_process(run, "cpu")
    assert is_alive(record)
    assert not is_petbench_of(run, record.identity)
    with MetricsWriter(run.metrics):
        assert is_petbench_of(run, record.identity)
    with MetricsWriter(make_run(run.path.parent, "other").metrics):
        assert not is_petbench_of(run, record.identity)


def test_a_wish_reaches_a_run_of_another_machine_by_its_directory_alone(
    run: RunDirectory, bystander: Child
) -> None:
    elsewhere(run, bystander.pid)
    stop_run(run)
    process = read_process(run)
    assert process is not None
    assert read_request(run, process.attempt) is not None
    assert bystander.poll() is None


@pytest.mark.parametrize("supervised", [False, True])
def test_a_run_that_has_ended_holds_no_device_by_a_stranger(
    run: RunDirectory, bystander: Child, supervised: bool
) -> None:
    forged = write_process(run, "cpu", pid=bystander.pid)
    write_record(
        run.process, replace(forged, supervisor_pid=forged.pid if supervised else 0, supervisor_ticks=1)
    )
    write_exit(run, code=130, reason="stopped")
    assert status_of(run) is RunStatus.STOPPED


def test_a_process_that_cannot_be_asked_counts_if_it_is_of_the_owner_of_the_file(
    run: RunDirectory, bystander: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_process(run, "cpu", pid=bystander.pid)
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)  # who looks is somebody else
    assert status_of(run) is RunStatus.LIVE
