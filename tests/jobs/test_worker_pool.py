"""A sweep's workers: real processes that train, are killed, asked to stop, and given several devices."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.jobs.background import ENDLESS, process_of, wait_for_epochs, wait_for_status, wait_until
from tests.runs.making import any_data, make_run
from tests.train.making import HEAD, TRUNK, recipe_text, train
from workbench.jobs.device import Demand, Device, wanted_devices
from workbench.jobs.lease import holders, try_lease
from workbench.jobs.start import child_environment
from workbench.jobs.sweep import Ended, Task, carry_out
from workbench.jobs.worker_pool import SweepStopped, WorkerPool
from workbench.recipe.sweep import Sweep, parse_sweep
from workbench.runs.layout import RunDirectory, run_directories
from workbench.runs.process import read_exit, read_process
from workbench.runs.results import read_results
from workbench.runs.status import RunStatus, status_of
from workbench.runs.sweeps import find_runs
from workbench.runs.waiting import queue_lock
from workbench.support.errors import UserError
from workbench.support.identity import send_signal
from workbench.train.host import one_thread

CPU = wanted_devices("cpu")


class Swept:
    """A sweep under a home of its own, on workers of this process."""

    def __init__(self, home: Path, sample: Path, text: str) -> None:
        self.runs = home / "runs"
        self.sweep: Sweep = parse_sweep(recipe_text(text, sample))
        self.ended: list[Ended] = []
        self.said: list[str] = []

    def go(self, *, jobs: int = 1, devices: list[Device] = CPU) -> list[Task]:
        """Carry it out; the tasks that were given to workers."""
        given: list[Task] = []
        demand = Demand(tuple(devices))
        with WorkerPool(demand, jobs, data_home=self.runs.parent / "data", say=self.said.append) as pool:

            def train(tasks: Sequence[Task]) -> None:
                given.extend(tasks)
                pool.train(tasks, self.ended.append)

            carry_out(self.sweep, self.runs, train, any_data, say=lambda _: None)
        return given

    def weights(self) -> dict[str, str]:
        """Of each finished run, by what sets it apart."""
        found = find_runs(self.runs, self.sweep.runs, any_data)
        return {
            str(run.recipe["seed"]): read_results(run.run.results).weights_sha256
            for run in found.values()
            if run.status is RunStatus.FINISHED
        }


Sweeping = Callable[..., Swept]


@pytest.fixture
def swept(tmp_path: Path, home: Path, sample: Path) -> Iterator[Sweeping]:
    """Makes sweeps, each under a home of its own; kills what still runs at the end."""
    made: list[Swept] = []

    def make(text: str, name: str = "one") -> Swept:
        made.append(Swept(tmp_path / name, sample, text))
        return made[-1]

    yield make
    for one in made:
        for run in run_directories(one.runs):
            process = read_process(run)
            if process is not None and process.pid != os.getpid():
                send_signal(process.identity, signal.SIGKILL)


@contextmanager
def meanwhile(deed: Callable[[], None]) -> Iterator[None]:
    """Do something in a thread while workers train; what it raises is raised at the end."""
    trouble: list[BaseException] = []

    def do() -> None:
        try:
            deed()
        except BaseException as error:
            trouble.append(error)

    thread = threading.Thread(target=do)
    thread.start()
    yield
    thread.join()
    assert not trouble, trouble


def first_under_way(runs: Path) -> RunDirectory:
    """The run that was begun first, once it has validated an epoch."""
    wait_until(lambda: len(run_directories(runs)) > 0, "a run")
    run = run_directories(runs)[-1]
    wait_for_epochs(run, 1)
    return run


def shell(swept: Swept, recipe: Path, *arguments: str) -> subprocess.Popen[str]:
    """`petbench sweep RECIPE`, as from a shell."""
    command = [sys.executable, "-P", "-m", "workbench.cli.main", "sweep", str(recipe), "--device=cpu"]
    return subprocess.Popen(
        [*command, f"--runs-dir={swept.runs}", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=child_environment(),
        start_new_session=True,
    )


def written(tmp_path: Path, sample: Path, text: str) -> Path:
    path = tmp_path / "swept.toml"
    path.write_text(recipe_text(text, sample))
    return path


SEEDS = HEAD + "[sweep]\nseed = [0, 1, 2]\n"
PAIR = HEAD + "[sweep]\nseed = [0, 1]\n"
SLOW = TRUNK.replace("epochs = 2", "epochs = 4") + "checkpoint_seconds = 0\n"
"""Long enough to be caught in the middle; a checkpoint after every step."""
SLOW_SEEDS = SLOW + "[sweep]\nseed = [0, 1]\n"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, sample: Path) -> dict[str, str]:
    """What `Swept.weights` of `SLOW_SEEDS` comes to, trained one by one in this process."""
    runs = parse_sweep(recipe_text(SLOW_SEEDS, sample)).runs
    with one_thread():
        trained = [train(run.recipe, tmp_path_factory.mktemp("undisturbed")) for run in runs]
    return {str(run.recipe.seed): one.results.weights_sha256 for run, one in zip(runs, trained, strict=True)}


def test_one_worker_takes_the_runs_one_after_the_other_and_several_come_to_the_same(swept: Sweeping) -> None:
    one, other = swept(SEEDS), swept(SEEDS, "other")
    assert len(one.go()) == 3
    assert len({process_of(run).pid for run in run_directories(one.runs)}) == 1
    assert [ended.code for ended in one.ended] == [0, 0, 0]
    other.go(jobs=2)
    assert len({process_of(run).pid for run in run_directories(other.runs)}) == 2
    assert one.weights() == other.weights()
    assert len(one.weights()) == 3
    assert one.go() == []
    assert holders() == {}


def test_a_worker_that_is_killed_loses_its_run_alone_and_the_sweep_given_again_goes_on_with_it(
    swept: Sweeping, undisturbed: dict[str, str]
) -> None:
    killed = swept(SLOW_SEEDS)
    victims: list[RunDirectory] = []

    def kill() -> None:
        victims.append(first_under_way(killed.runs))
        os.kill(process_of(victims[0]).pid, signal.SIGKILL)

    with meanwhile(kill):
        killed.go()
    assert [(ended.run, ended.code, ended.is_lost) for ended in killed.ended] == [
        (victims[0], 137, True),
        (run_directories(killed.runs)[0], 0, False),
    ]
    assert "signal 9 (SIGKILL)" in killed.ended[0].reason
    assert status_of(victims[0]) is RunStatus.LOST
    assert "its worker ended: killed by signal 9" in victims[0].log.read_text()
    (task,) = killed.go()
    assert task.run == victims[0]
    assert len(run_directories(killed.runs)) == 2
    assert killed.weights() == undisturbed


def test_a_sweep_that_is_killed_leaves_its_run_with_a_checkpoint_and_given_again_trains_nothing_twice(
    swept: Sweeping, tmp_path: Path, sample: Path, undisturbed: dict[str, str]
) -> None:
    killed = swept(SLOW_SEEDS)
    first = shell(killed, written(tmp_path, sample, SLOW_SEEDS))
    run = first_under_way(killed.runs)
    first.kill()
    first.wait()
    assert len(killed.go()) == 2  # at once: it waits for the run that is about to end, and goes on with it
    assert [ended.elsewhere for ended in killed.ended] == ["", ""]
    assert process_of(run).attempt == 2
    assert len(run_directories(killed.runs)) == 2
    assert killed.weights() == undisturbed
    assert "the sweep that began it is gone" in run.log.read_text()


def test_ctrl_c_stops_every_run_after_a_checkpoint_and_begins_no_other(
    swept: Sweeping, tmp_path: Path, sample: Path
) -> None:
    stopped = swept(SLOW + "[sweep]\nseed = [0, 1, 2]\n")
    recipe = written(tmp_path, sample, SLOW + "[sweep]\nseed = [0, 1, 2]\n")
    child = shell(stopped, recipe, "--jobs=2")
    wait_until(lambda: len(run_directories(stopped.runs)) == 2, "two runs")
    under_way = run_directories(stopped.runs)
    for run in under_way:
        wait_for_epochs(run, 1)
    os.killpg(child.pid, signal.SIGINT)
    said, _ = child.communicate()
    assert child.returncode == 130, said
    assert "the same command goes on from here" in said
    assert run_directories(stopped.runs) == under_way
    for run in under_way:
        ended = read_exit(run)
        assert ended is not None
        assert (status_of(run), ended.reason) == (RunStatus.STOPPED, "stopped on request")
        assert any(run.checkpoint.iterdir())
    assert [task.run in under_way for task in stopped.go(jobs=2)] == [True, True, False]
    assert len(stopped.weights()) == 3


def test_a_second_ctrl_c_ends_runs_at_once(swept: Sweeping) -> None:
    insisted = swept(ENDLESS + "[sweep]\nseed = [0]\n")

    def insist() -> None:
        run = first_under_way(insisted.runs)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.raise_signal(number)
            time.sleep(0.01)
        wait_for_status(run, RunStatus.STOPPED)

    with meanwhile(insist), pytest.raises(SweepStopped):
        insisted.go()
    assert [ended.code for ended in insisted.ended] == [130]


def test_a_run_that_somebody_stops_stops_no_other_and_has_the_device_until_then(swept: Sweeping) -> None:
    from workbench.jobs import stop_run

    cases = "[sweep.cases.endless]\ntraining.epochs = 1000\n[sweep.cases.short]\ntraining.epochs = 1\n"
    stopped = swept(TRUNK + cases)
    holding: list[str] = []

    def stop() -> None:
        run = first_under_way(stopped.runs)
        holding.append(_holder_of(run))
        stop_run(run)

    with meanwhile(stop):
        stopped.go()
    assert [ended.code for ended in stopped.ended] == [130, 0]
    assert stopped.ended[0].reason == "stopped on request"
    assert holding == [run_directories(stopped.runs)[-1].id]
    assert (stopped.said, holders()) == ([], {})


def test_a_point_that_fails_leaves_the_others_going_and_the_command_says_so_at_the_end(
    swept: Sweeping, tmp_path: Path, sample: Path
) -> None:
    text = HEAD + (
        '[sweep.cases.runaway]\noptimizer.name = "sgd"\noptimizer.learning_rate = 10.0\n'
        "optimizer.weight_decay = 10.0\ntraining.epochs = 20\n"
        "[sweep.cases.sound]\ntraining.epochs = 1\n[sweep.cases.longer]\ntraining.epochs = 2\n"
    )
    failing = swept(text)
    child = shell(failing, written(tmp_path, sample, text), "--jobs=2")
    said, _ = child.communicate()
    assert child.returncode == 1, said
    assert "2 of 3 runs finished" in said
    statuses = sorted(status_of(run).value for run in run_directories(failing.runs))
    assert statuses == ["failed", "finished", "finished"]


def test_two_sweeps_of_one_recipe_at_once_train_no_point_twice(
    swept: Sweeping, tmp_path: Path, sample: Path
) -> None:
    both = swept(SEEDS)
    recipe = written(tmp_path, sample, SEEDS)
    children = [shell(both, recipe, "--jobs=2"), shell(both, recipe)]
    for child in children:
        said, _ = child.communicate()
        assert child.returncode == 0, said
    assert len(run_directories(both.runs)) == 3
    assert both.go() == []


def test_what_no_worker_can_compute_on_is_refused_before_a_run_begins(swept: Sweeping) -> None:
    refused = swept(SEEDS)
    with pytest.raises(UserError, match="cuda:7"):
        refused.go(devices=[Device("cuda:7", "GPU", "gpu-7", "7")])
    assert run_directories(refused.runs) == []


def test_the_one_device_that_another_run_has_is_used_all_the_same_and_that_is_said(swept: Sweeping) -> None:
    shared = swept(HEAD + "[sweep]\nseed = [0]\n")
    holder = make_run(shared.runs.parent / "elsewhere", "holder")
    with queue_lock():
        lease = try_lease(CPU, holder)
    assert lease is not None
    shared.go()
    lease.release()
    assert [ended.code for ended in shared.ended] == [0]
    assert shared.said == [f"cpu is in use by {holder.id}: both will be slower"]


def test_of_several_devices_one_that_another_run_has_is_left_alone_until_it_is_free(swept: Sweeping) -> None:
    pair = [Device("cpu", "CPU", key, "") for key in ("left", "right")]
    careful = swept(PAIR)
    holder = make_run(careful.runs.parent / "elsewhere", "holder")
    with queue_lock():
        lease = try_lease(pair[:1], holder)
    assert lease is not None
    careful.go(jobs=2, devices=pair)
    assert len({process_of(run).pid for run in run_directories(careful.runs)}) == 1
    assert careful.said == [f"cpu is in use by {holder.id}: left alone until it is free"]
    lease.release()
    again = swept(PAIR, "again")
    again.go(jobs=2, devices=pair)
    assert len({process_of(run).pid for run in run_directories(again.runs)}) == 2


def test_a_sweep_waits_while_all_of_several_devices_are_taken_and_takes_whichever_is_free(
    swept: Sweeping,
) -> None:
    pair = [Device("cpu", "CPU", key, "") for key in ("left", "right")]
    patient = swept(HEAD + "[sweep]\nseed = [0]\n")
    holder = make_run(patient.runs.parent / "elsewhere", "holder")
    with queue_lock():
        left, right = (try_lease([device], holder) for device in pair)
    assert left is not None
    assert right is not None
    before = psutil.Process().children()
    workers: list[psutil.Process] = []

    def release() -> None:
        wait_until(lambda: len(patient.said) == 2, "a word on each device")
        workers.extend(child for child in psutil.Process().children() if child not in before)
        right.release()

    with meanwhile(release):
        patient.go(devices=pair)
    left.release()
    assert (workers, [ended.code for ended in patient.ended]) == ([], [0])


def _holder_of(run: RunDirectory) -> str:
    """The id of the run that has the CPU while `run` trains."""
    assert status_of(run).is_running
    return holders()["cpu"].run.id
