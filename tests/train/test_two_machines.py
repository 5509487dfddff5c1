"""One run on two machines that share its directory: at most one trains it, whatever their clocks say.

A machine is a real process that reads another boot id and host name; its trainers are real ones.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.jobs.background import ENDLESS, wait_until
from tests.train.making import TRUNK, recipe_text
from tests.train.processes import only_run
from workbench.jobs import stop_run
from workbench.runs import process as processes
from workbench.runs.layout import RunDirectory
from workbench.runs.leftovers import move_to_trash
from workbench.runs.process import read_exit, read_process, write_process
from workbench.runs.results import read_results
from workbench.runs.status import RunStatus, status_of
from workbench.support.errors import UserError

Child = subprocess.Popen[str]

_MACHINE = """
import os, socket, sys
from workbench.support import identity
from workbench.runs import process
host, skew, *sys.argv = sys.argv[1:]
boot = lambda: f"boot of {host}"
identity.boot_id = process.boot_id = boot
socket.gethostname = lambda: host
process.PULSE_SECONDS, process.WATCH_SECONDS = 0.2, 3.0
if float(skew):
    # Its clock, and that of the files it touches.
    import time
    now, touch = time.time, os.utime
    time.time = lambda: now() + float(skew)
    os.utime = lambda path, times=None, **more: touch(path, times or (time.time(),) * 2, **more)
import torch
torch.set_num_threads(1)
from workbench.cli.main import main
sys.argv.insert(0, "petbench")
main()
"""


class Machine:
    """Another machine: `petbench` there, on the shared directory `home`."""

    def __init__(self, home: Path, host: str, *, skew_seconds: float = 0.0) -> None:
        self._home, self._host, self._skew = home, host, skew_seconds
        self.children: list[Child] = []

    def petbench(self, *arguments: str) -> Child:
        """Start a command."""
        home = self._home
        environment = os.environ | {
            "PETBENCH_RUNS": str(home / "runs"),
            "PETBENCH_CACHE": str(home / "cache"),
            "PETBENCH_STATE": str(home / f"state-{self._host}"),
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "300",
        }
        child = subprocess.Popen(
            [sys.executable, "-c", _MACHINE, self._host, str(self._skew), *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.children.append(child)
        return child

    def resume(self) -> tuple[int, str]:
        """`petbench resume latest`, to its end."""
        child = self.petbench("resume", "latest", "--device", "cpu")
        output, _ = child.communicate(timeout=120)
        return child.returncode, output


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Callable[..., Machine]]:
    made: list[Machine] = []

    def make(host: str, *, skew_seconds: float = 0.0) -> Machine:
        made.append(Machine(tmp_path, host, skew_seconds=skew_seconds))
        return made[-1]

    yield make
    for child in (child for one in made for child in one.children):
        child.kill()
        child.communicate()


@contextmanager
def _frozen(child: Child) -> Iterator[None]:
    """As a machine that hangs, or whose network is gone for a while."""
    child.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        child.send_signal(signal.SIGCONT)


def _begun(machine: Machine, home: Path, sample: Path, text: str = ENDLESS) -> tuple[RunDirectory, Child]:
    """A run that has a checkpoint, and trains on."""
    recipe = home / "recipe.toml"
    recipe.write_text(recipe_text(text, sample) + "checkpoint_seconds = 0\n")
    child = machine.petbench("run", str(recipe), "--device", "cpu")
    wait_until(lambda: child.poll() is not None or any((home / "runs").glob("*/checkpoint/0*.safetensors")))
    assert child.poll() is None, child.communicate()[0]
    return only_run(home), child


def _look_old(run: RunDirectory) -> None:
    """As if its last sign of life were an hour old by this clock, as it also is where clocks differ so."""
    then = time.time() - 3600
    for path in (run.process, run.heartbeat, run.metrics):
        os.utime(path, (then, then))


def _files(run: RunDirectory) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(run.path.rglob("*")) if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("skew", [0.0, 3600.0])
def test_a_run_that_is_live_on_one_machine_is_not_resumed_on_another(
    machine: Callable[..., Machine],
    sample: Path,
    tmp_path: Path,
    skew: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, trainer = _begun(machine("one", skew_seconds=skew), tmp_path, sample)
    code, output = machine("two").resume()
    assert code == 2, output
    assert "it is alive on one" in output
    assert "Traceback" not in output
    monkeypatch.setattr(processes, "WATCH_SECONDS", 3.0)  # this process is a third machine
    with pytest.raises(UserError, match=r"it is (running|alive on one)"):
        move_to_trash([run])
    assert trainer.poll() is None
    found = read_process(run)
    assert found is not None
    assert (found.host, found.attempt) == ("one", 1)
    stop_run(run)  # no signal reaches it: it finds the wish
    assert trainer.wait(60) == 130
    ended = read_exit(run)
    assert ended is not None
    assert ended.reason == "stopped on request"


@pytest.mark.slow
def test_a_trainer_that_comes_back_to_a_run_taken_over_ends_without_writing(
    machine: Callable[..., Machine], sample: Path, tmp_path: Path
) -> None:
    run, trainer = _begun(machine("one"), tmp_path, sample, TRUNK.replace("epochs = 2", "epochs = 4"))
    with _frozen(trainer):
        _look_old(run)
        code, output = machine("two").resume()
        assert code == 0, output
        assert "watching for 3 s" in output
        after = _files(run)
    output, _ = trainer.communicate(timeout=60)
    assert trainer.returncode == 1, output
    assert "attempt 2, on two, has taken the run over" in output
    assert _files(run) == after
    ended = read_exit(run)
    assert ended is not None
    assert (ended.attempt, ended.code) == (2, 0)
    assert read_results(run.results).test.images
    assert status_of(run) is RunStatus.FINISHED


def test_a_run_that_moves_while_it_is_watched_is_neither_claimed_nor_removed(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same in small, without a trainer."""
    from tests.runs.making import elsewhere, make_run

    run = make_run(tmp_path)
    elsewhere(run, os.getpid())
    run.metrics.touch()
    _look_old(run)
    before = _files(run)
    looks = 0

    def sleep(_seconds: float) -> None:
        nonlocal looks
        looks += 1
        os.utime(run.process, (looks, time.time() - 3590))

    monkeypatch.setattr(time, "sleep", sleep)
    for deed in (lambda: write_process(run, "cpu"), lambda: move_to_trash([run])):
        with pytest.raises(UserError, match=r"it is (running|alive on elsewhere)"):
            deed()
    assert _files(run) == before
    assert looks == 1  # seen moving, it is refused without another watch
    stop_run(run)
    assert status_of(run) is RunStatus.STOPPING
