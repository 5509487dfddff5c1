"""A home of its own for every test that queues or launches, and nothing left running after it."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.jobs.background import Background
from tests.runs.making import sleeping
from tests.train.making import make_sample
from workbench.runs.layout import RunDirectory, run_directories
from workbench.runs.process import read_process
from workbench.support.identity import send_signal

Sleeper = subprocess.Popen[bytes]


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few drawn pets, for whole runs that take a second."""
    return make_sample(tmp_path_factory.mktemp("tiny") / "sample")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs, data, cache and queue of this test alone, on a machine without GPUs, one thread a trainer."""
    for name in ("RUNS", "DATA", "CACHE", "STATE"):
        monkeypatch.setenv(f"PETBENCH_{name}", str(tmp_path / name.lower()))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("PETBENCH_NOTIFY", raising=False)
    return tmp_path


@pytest.fixture
def background(home: Path, sample: Path) -> Iterator[Background]:
    """Launches real runs; what still runs at the end is killed, each by its own identity."""
    yield Background(home / "runs", sample)
    for run in run_directories(home / "runs"):
        process = read_process(run)
        if process is not None:
            for one in (process.supervisor, process.identity):
                if one is not None:
                    send_signal(one, signal.SIGKILL)


@pytest.fixture
def sleeper() -> Iterator[Callable[..., Sleeper]]:
    """Makes processes that only wait, as the trainers or supervisors of runs if any are given; ends them."""
    started: list[Sleeper] = []

    def start(*runs: RunDirectory) -> Sleeper:
        process = subprocess.Popen(sleeping(*runs))
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
