"""Whole runs of two processes: begun by petbench or torchrun, killed, stopped, resumed; the same weights."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.jobs.background import Background, process_of, wait_for_status, wait_until
from tests.runs.making import make_run
from tests.train.making import TRUNK, make_sample, recipe_text
from tests.train.processes import only_run, petbench
from workbench.jobs.local_ranks import Fallen, LocalRanks
from workbench.jobs.start import child_environment, python_module, resume_run
from workbench.runs.layout import RunDirectory, run_directories
from workbench.runs.log import RunLog
from workbench.runs.process import read_exit
from workbench.runs.results import read_results
from workbench.runs.status import RunStatus, status_of
from workbench.train import process_group
from workbench.train.setup import Places

TOGETHER = TRUNK + "devices = 2\ncheckpoint_seconds = 0\n"


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sample(tmp_path_factory.mktemp("pair") / "sample")


@pytest.fixture(scope="module")
def whole(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the weights of `TOGETHER` come to when nothing happens."""
    home = tmp_path_factory.mktemp("whole")
    recipe = home / "recipe.toml"
    recipe.write_text(recipe_text(TOGETHER, sample))
    ended = petbench("run", str(recipe), "--device=cpu", home=home)
    assert ended.code == 0, ended.output
    return _weights(only_run(home))


@pytest.fixture
def background(tmp_path: Path, sample: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Background]:
    for name in ("RUNS", "DATA", "CACHE", "STATE"):
        monkeypatch.setenv(f"PETBENCH_{name}", str(tmp_path / name.lower()))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield Background(tmp_path / "runs", sample)
    for process in psutil.Process().children(recursive=True):
        process.kill()


def _weights(run: RunDirectory) -> str:
    return read_results(run.results).weights_sha256


def _ranks_of(run: RunDirectory) -> list[psutil.Process]:
    """All processes of a run, rank 0 first."""
    first = psutil.Process(process_of(run).pid)
    return [first, *first.children()]


def _begun(run: RunDirectory) -> bool:
    return run.checkpoint.is_dir() and any(run.checkpoint.iterdir())


@pytest.mark.slow
def test_a_rank_that_is_killed_fails_the_run_by_name_and_it_resumes_to_the_same_weights(
    background: Background, whole: str
) -> None:
    for rank in (0, 1):
        run = background.launch(TOGETHER, name=f"killed-{rank}").run
        wait_until(lambda run=run: _begun(run) and len(_ranks_of(run)) == 2, "a checkpoint")  # type: ignore[misc]
        ranks = _ranks_of(run)
        ranks[rank].kill()
        wait_for_status(run, RunStatus.FAILED)
        ended = read_exit(run)
        assert ended is not None
        expected = "rank 1 was killed by signal 9" if rank else "killed by signal 9"
        assert ended.reason.startswith(expected), ended.reason
        wait_until(lambda ranks=ranks: not any(map(_lives, ranks)), "no rank left")  # type: ignore[misc]
        resume_run(run, device="cpu")
        wait_for_status(run, RunStatus.FINISHED)
        assert _weights(run) == whole


def _lives(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


@pytest.mark.slow
def test_under_torchrun_the_same_weights_come_out_and_ranks_find_the_run_by_themselves(
    background: Background, tmp_path: Path, whole: str
) -> None:
    recipe = background.recipe_file(TOGETHER, tmp_path / "recipe.toml")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
    done = subprocess.run(
        [*command, "workbench.cli.main", "run", str(recipe), "--device=cpu"],
        env=child_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = run_directories(background.runs)
    assert _weights(run) == whole


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def hosts() -> Iterator[dict[str, str]]:
    """Two network namespaces that a cable joins, and the address of each."""
    if shutil.which("ip") is None or os.geteuid():
        pytest.skip("two hosts on one machine take root and iproute2's ip")
    names = {f"pb{os.getpid()}{end}": f"10.213.7.{number}" for number, end in enumerate("ab", start=1)}
    first, second = names
    with contextlib.ExitStack() as stack:
        for name in names:
            try:
                _ip("netns", "add", name)
            except subprocess.CalledProcessError as error:
                pytest.skip(f"no network namespace can be made here: {error.stderr.decode().strip()}")
            stack.callback(_ip, "netns", "delete", name)
        _ip(*f"link add cable netns {first} type veth peer name cable netns {second}".split())
        for name, address in names.items():
            _ip("-n", name, "address", "add", f"{address}/24", "dev", "cable")
            for device in ("lo", "cable"):
                _ip("-n", name, "link", "set", device, "up")
        yield names


@pytest.mark.slow
def test_two_hosts_train_the_weights_of_two_processes_of_one(
    background: Background, tmp_path: Path, hosts: dict[str, str], whole: str
) -> None:
    recipe = background.recipe_file(TOGETHER, tmp_path / "recipe.toml")
    first = next(iter(hosts.values()))
    processes = [
        subprocess.Popen(
            [
                *("ip", "netns", "exec", name, sys.executable, "-m", "torch.distributed.run"),
                *("--nnodes=2", "--nproc-per-node=1", f"--node-rank={number}"),
                *(f"--master-addr={first}", "--master-port=29500"),
                *("-m", "workbench.cli.main", "run", str(recipe), "--device=cpu"),
            ],
            env=child_environment(GLOO_SOCKET_IFNAME="cable"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number, name in enumerate(hosts)
    ]
    said = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(said)
    (run,) = run_directories(background.runs)
    assert _weights(run) == whole


@pytest.mark.slow
def test_ctrl_c_stops_all_ranks_after_a_checkpoint_and_the_run_resumes_to_the_same_weights(
    background: Background, tmp_path: Path, whole: str
) -> None:
    recipe = background.recipe_file(TOGETHER, tmp_path / "recipe.toml")
    command = [*python_module("workbench.cli.main"), "run", str(recipe), "--device=cpu"]
    first = subprocess.Popen(
        command,
        env=child_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        process_group=0,
    )

    wait_until(lambda: any(map(_begun, run_directories(background.runs))), "a checkpoint")
    os.killpg(first.pid, signal.SIGINT)  # as a terminal does: to the ranks, too
    said, _ = first.communicate()
    (run,) = run_directories(background.runs)
    assert (first.returncode, status_of(run)) == (130, RunStatus.STOPPED), said
    resume_run(run, device="cpu")
    wait_for_status(run, RunStatus.FINISHED)
    assert _weights(run) == whole


@pytest.mark.parametrize("has_met", [True, False])
def test_a_first_process_that_hangs_because_a_rank_is_gone_is_abandoned(
    has_met: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a GPU waits for one that is gone, or one never came: no meeting ever says so."""
    import threading

    import torch

    for name, rules in (("STUCK_SECONDS", has_met), ("UNMET_SECONDS", not has_met)):
        monkeypatch.setattr(process_group, name, 0.05 if rules else 3600.0)
    dies = [sys.executable, "-c", "import time, os; time.sleep(0.5); os.kill(os.getpid(), 9)"]
    given_up, told = threading.Event(), list[Fallen]()

    def abandon(fallen: Fallen) -> None:
        told.append(fallen)
        given_up.set()

    ranks = LocalRanks(2, dies, threads=1, hear=lambda *_: None)
    with ranks, process_group._unstuck(ranks, abandon) as met:
        if has_met:
            met.set()
        assert given_up.wait(60)
    assert [fallen.rank for fallen in told] == [1]
    places = Places(tmp_path, tmp_path, torch.device("cpu"))
    run = make_run(tmp_path / "runs")
    with process_group.world_of(run, places, 1, RunLog(run.log), abandon) as world:
        assert world.is_alone
