"""A signal that is meant for pytest: it ends, and so does everything that its tests started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

# As a run in pytest's own process takes signals: for a wish to stop. The child is one that nobody waits for.
_TESTS = """
import pathlib, signal, subprocess, sys, time

heard = []

def listening():
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: heard.append(number))

def test_a_run_that_answers_for_signals():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    listening()
    started = pathlib.Path(__file__).with_name("started")
    started.with_suffix(".new").write_text(str(child.pid))
    started.with_suffix(".new").rename(started)
    while not heard:
        time.sleep(0.01)

def test_the_next_one():
    pathlib.Path(__file__).with_name("next").touch()
"""
_OWN = """
import signal

def test_what_a_test_raises_itself_ends_nothing():
    heard = []
    listener = lambda number, frame: heard.append(number)
    before = signal.signal(signal.SIGTERM, listener)
    assert signal.getsignal(signal.SIGTERM) is listener
    signal.raise_signal(signal.SIGTERM)
    assert heard
    assert signal.signal(signal.SIGTERM, before) is listener

def test_the_next_one():
    pass
"""
_ROOT = Path(__file__).parents[1]


def _pytest(folder: Path, tests: str, *options: str) -> subprocess.Popen[str]:
    """pytest on tests of its own, with the plugin that ours have."""
    file = folder / "test_these.py"
    file.write_text(tests)
    command = [sys.executable, "-m", "pytest", "-p", "tests.signals", "-p", "no:cacheprovider", str(file)]
    return subprocess.Popen(
        [*command, f"--rootdir={folder}", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    while not path.exists():
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        time.sleep(0.02)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A directory outside of the project's tests; the child that a failing test leaves is ended."""
    yield tmp_path
    started = tmp_path / "started"
    if started.exists() and psutil.pid_exists(int(started.read_text())):
        os.kill(int(started.read_text()), signal.SIGKILL)


@pytest.mark.parametrize(
    ("options", "number"),
    [((), signal.SIGTERM), ((), signal.SIGINT), (("-n", "1"), signal.SIGTERM)],
    ids=["SIGTERM", "SIGINT", "SIGTERM and a worker"],
)
def test_a_signal_ends_pytest_its_workers_and_what_they_started(
    folder: Path, options: tuple[str, ...], number: signal.Signals
) -> None:
    running = _pytest(folder, _TESTS, *options)
    _wait_for(folder / "started", running)
    below = psutil.Process(running.pid).children(recursive=True)
    assert int((folder / "started").read_text()) in [child.pid for child in below]
    running.send_signal(number)
    said, _ = running.communicate(timeout=60)
    assert running.returncode not in (0, 1), said
    assert not (folder / "next").exists(), "the next test began"
    assert psutil.wait_procs(below, timeout=10)[1] == []


def test_what_a_test_raises_itself_is_its_own(folder: Path) -> None:
    running = _pytest(folder, _OWN)
    said, _ = running.communicate(timeout=60)
    assert running.returncode == 0, said
