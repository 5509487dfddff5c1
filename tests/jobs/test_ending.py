"""What is said of a trainer that could not say itself how it ended."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.runs.making import make_results, make_run
from workbench.jobs.ending import Ending, ending_of, last_words, memory_kills, notify, split_command
from workbench.jobs.supervisor import record_end
from workbench.runs.attempt_control import Control
from workbench.runs.layout import RunDirectory
from workbench.runs.process import read_exit, write_exit
from workbench.runs.results import write_results
from workbench.support.errors import UserError

STOP = Control("stop", 1, 60.0, 0.0)
PAUSE = Control("pause", 1, 60.0, 0.0)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return make_run(tmp_path)


def _ending(
    run: RunDirectory,
    returncode: int,
    *,
    request: Control | None = None,
    grace: float | None = None,
    kernel: bool = False,
) -> Ending:
    return ending_of(run, returncode, request=request, killed_after_seconds=grace, kernel_killed=kernel)


def test_a_kill_out_of_nowhere_may_be_for_want_of_memory(run: RunDirectory) -> None:
    ending = _ending(run, -9)
    assert (ending.code, ending.signal) == (137, 9)
    assert ending.reason.startswith("killed by signal 9 (SIGKILL): out of memory, or by hand?")
    assert "lower training.batch_size" in ending.reason


def test_a_kill_while_the_kernel_killed_for_want_of_memory_says_so(run: RunDirectory) -> None:
    reason = _ending(run, -9, kernel=True).reason
    assert "the machine ran out of memory; lower training.batch_size" in reason


def test_a_crash_names_its_signal(run: RunDirectory) -> None:
    ending = _ending(run, -signal.SIGSEGV)
    assert (ending.code, ending.signal) == (139, 11)
    assert "SIGSEGV" in ending.reason


@pytest.mark.parametrize(
    ("request_", "reason"),
    [(STOP, "stopped on request"), (PAUSE, "paused"), (None, "stopped by SIGTERM before it had begun")],
)
def test_a_trainer_stopped_before_it_listened_is_stopped(
    run: RunDirectory, request_: Control | None, reason: str
) -> None:
    assert _ending(run, -signal.SIGTERM, request=request_) == Ending(130, 15, reason)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
def test_every_signal_that_asks_to_stop_leaves_a_stopped_run(
    run: RunDirectory, number: signal.Signals
) -> None:
    ending = _ending(run, -number)
    assert ending == Ending(130, number, f"stopped by {number.name} before it had begun")


def test_a_trainer_killed_after_its_grace_is_stopped_and_says_what_is_lost(run: RunDirectory) -> None:
    ending = _ending(run, -9, request=STOP, grace=60.0)
    assert (ending.code, ending.signal) == (130, 9)
    assert "killed, as it did not end within 60 s" in ending.reason


def test_a_refusal_before_the_run_began_is_told_in_its_own_words(run: RunDirectory) -> None:
    run.log.write_text("some noise\npetbench: --device: no device 'cuda'\n  petbench doctor says why\n")
    assert _ending(run, 2) == Ending(2, None, "--device: no device 'cuda'")


def test_a_traceback_ends_with_what_went_wrong(run: RunDirectory) -> None:
    run.log.write_text("Traceback (most recent call last):\n  File x\nImportError: no torch\x1b[31m\n\n")
    assert last_words(run).startswith("ImportError: no torch")
    assert "\x1b" not in last_words(run)


def test_without_a_log_the_code_is_told(run: RunDirectory) -> None:
    assert _ending(run, 3) == Ending(3, None, "the trainer ended with code 3")


def test_a_clean_end_counts_only_with_results(run: RunDirectory) -> None:
    assert _ending(run, 0).code == 1
    write_results(run.results, make_results())
    assert _ending(run, 0) == Ending(0, None, "")


def test_kills_for_want_of_memory_are_counted() -> None:
    assert memory_kills() >= 0


def test_a_notification_gets_the_run_in_its_environment(run: RunDirectory, tmp_path: Path) -> None:
    write_exit(run, code=0)
    script = tmp_path / "tell"
    script.write_text(
        "#!/bin/sh\n"
        'printf "%s|%s|%s|%s|%s" "$1" "$PETBENCH_RUN_ID" "$PETBENCH_STATUS" "$PETBENCH_NAME" '
        f'"$PETBENCH_RUN_DIR" > "{tmp_path}/told"\n'
    )
    script.chmod(0o755)
    assert notify(f"{script} 'a $(b) c'", run, "a[/b]") == ""
    assert (tmp_path / "told").read_text() == f"a $(b) c|{run.id}|finished|a[/b]|{run.path}"


@pytest.mark.parametrize(
    ("command", "said"),
    [("/no/such/thing", "failed"), ("false", "code 1"), ("'", "failed"), ("  ", "failed")],
)
def test_a_notification_that_fails_is_told_and_raises_nothing(
    run: RunDirectory, command: str, said: str
) -> None:
    assert said in notify(command, run, "x")


def test_a_command_that_cannot_be_split_is_refused() -> None:
    with pytest.raises(UserError, match="no command"):
        split_command("echo 'half")


def test_an_exit_that_cannot_be_written_is_tried_again_and_said(
    run: RunDirectory, capfd: pytest.CaptureFixture[str]
) -> None:
    run.exit.mkdir()  # in its place, as no disk can be filled here

    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            run.exit.rmdir()

    record_end(run, 1, 137, 9, "killed", sleep)
    ended = read_exit(run)
    assert ended is not None
    assert (ended.code, ended.signal, len(slept)) == (137, 9, 3)
    assert capfd.readouterr().out.count("exit.json cannot be written") == 3


def test_an_exit_that_can_never_be_written_ends_the_trying(run: RunDirectory) -> None:
    run.exit.mkdir()

    slept: list[float] = []
    record_end(run, 1, 0, None, "", slept.append)
    assert len(slept) == 24
