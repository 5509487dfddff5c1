"""Ranks that a run's first process starts: they know their place, are heard, and never outlive it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress

import psutil
import pytest

from tests.jobs.background import wait_until
from workbench.jobs import local_ranks
from workbench.jobs.local_ranks import LEFT_ALONE, LocalRanks
from workbench.jobs.start import child_environment
from workbench.runs.attempt_control import STOP_SIGNALS
from workbench.support.ranks import rank_here

_ALIKE = "import os, sys, time\nrank = int(os.environ['RANK'])\n"
"""What every rank does first; its lifeline is the last argument."""
_STAYS = "os.read(int(sys.argv[-1]), 1)\n"
_WAITS = _ALIKE + "print('here', flush=True)\n" + _STAYS


def _ranks(code: str, size: int = 3, heard: list[tuple[int, str]] | None = None) -> LocalRanks:
    said = [] if heard is None else heard
    command = [sys.executable, "-c", code]
    return LocalRanks(size, command, threads=2, hear=lambda rank, line: said.append((rank, line)))


def test_each_rank_finds_its_place_in_torchruns_variables_and_the_first_is_this_process() -> None:
    heard: list[tuple[int, str]] = []
    names = ["RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "OMP_NUM_THREADS"]
    with _ranks(_ALIKE + f"print(*(os.environ[name] for name in {names}))", heard=heard):
        own = rank_here()
        assert own is not None
        assert (own.number, own.size, own.local) == (0, 3, 0)
        wait_until(lambda: len(heard) == 2, "both ranks")
    assert sorted(heard) == [(1, "1 1 3 127.0.0.1 2"), (2, "2 2 3 127.0.0.1 2")]
    assert rank_here() is None


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ("os.kill(os.getpid(), 9)", "rank 2 was killed by signal 9 (SIGKILL): "),
        ("os.abort()", "rank 2 crashed: signal 6 (SIGABRT)"),
        ("sys.exit('petbench: no room')", "rank 2 ended with code 1: no room"),
        ("raise ValueError('odd')", "rank 2 ended with code 1: ValueError: odd"),
    ],
)
def test_a_rank_that_ends_before_its_time_is_named_with_what_ended_it_and_its_last_words(
    end: str, reason: str
) -> None:
    with suppress(InterruptedError), _ranks(_ALIKE + f"if rank == 2: {end}\n{_STAYS}") as ranks:
        fallen = ranks.fallen(60)
        raise InterruptedError  # as rank 0 does, so that nobody waits for rank 1
    assert fallen is not None
    assert (fallen.rank, fallen.reason.startswith(reason)) == (2, True), fallen.reason


def test_ranks_that_only_missed_another_are_not_the_cause() -> None:
    follows = f"if rank == 1: sys.exit({LEFT_ALONE})\n"
    falls = "time.sleep(0.3)\nsys.exit(7)\n"  # heard of later than the one that missed it
    with _ranks(_ALIKE + follows + falls) as ranks:
        fallen = ranks.fallen(60)
    assert fallen is not None
    assert (fallen.rank, fallen.code) == (2, 7)


def _children_since(before: list[psutil.Process]) -> list[psutil.Process]:
    """This process may have others, of other tests."""
    return [child for child in psutil.Process().children() if child not in before]


def test_what_ends_a_run_reaches_no_rank_but_by_its_first_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_ranks, "_LAST_SECONDS", 0.2)
    before = psutil.Process().children()
    with _ranks(_WAITS, size=2) as ranks:
        (process,) = _children_since(before)
        for number in STOP_SIGNALS:
            process.send_signal(number)
        assert ranks.fallen(0.5) is None
        assert process.is_running()
    assert not process.is_running()  # it was given the time to end by itself, and did not


def test_a_failure_of_the_first_process_ends_the_others_at_once() -> None:
    children: list[psutil.Process] = []
    before = psutil.Process().children()

    def fail() -> None:
        with _ranks(_WAITS):
            children.extend(_children_since(before))
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        fail()
    assert [child.is_running() for child in children] == [False, False]


_FIRST = """
import time
from tests.jobs.test_local_ranks import _ranks
with _ranks({code!r}):
    print("ready", flush=True)
    time.sleep(600)
"""
_RANK = """
import signal, sys, time
from workbench.jobs.control import Lifeline
Lifeline(int(sys.argv[-1]), 0, signal.SIGKILL).watch()
print("here", flush=True)
time.sleep(600)
"""


def test_no_rank_outlives_a_first_process_that_was_killed() -> None:
    first = subprocess.Popen(
        [sys.executable, "-c", _FIRST.format(code=_RANK)], stdout=subprocess.PIPE, env=child_environment()
    )
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == b"ready\n"
        children = psutil.Process(first.pid).children()
        assert len(children) == 2
    finally:
        first.kill()
        first.communicate()
    wait_until(lambda: not any(_lives(child) for child in children), "ranks without a first process")


def _lives(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_ranks_that_cannot_be_started_leave_nothing_behind() -> None:
    descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count
    with pytest.raises(OSError, match="no/such"), LocalRanks(2, ["no/such"], threads=1, hear=_nothing):
        pass
    assert len(os.listdir("/proc/self/fd")) == descriptors  # noqa: PTH208
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def _nothing(rank: int, line: str) -> None:
    """Nobody listens."""
