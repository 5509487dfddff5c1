"""Drills on a real Slurm of two nodes: whatever interrupts a run, it ends with the weights of one that
nothing interrupted, and nothing is trained twice."""

from __future__ import annotations

import contextlib
import getpass
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.jobs.background import SOME_SECONDS, wait_for_epochs, wait_for_status, wait_until
from tests.jobs.slurm_cluster import SlurmCluster, what_is_missing
from tests.train.making import make_sample, recipe_text
from workbench.jobs import pause_run, resume_run, stop_run
from workbench.jobs.cluster import Cluster
from workbench.jobs.slurm import ask_about, cluster_facts
from workbench.jobs.submission import Submission, launch_on_slurm
from workbench.jobs.sweep import queue_sweep
from workbench.recipe import parse_recipe
from workbench.recipe.sweep import Sweep, load_sweep
from workbench.runs.index import list_runs
from workbench.runs.layout import RunDirectory
from workbench.runs.process import read_exit, read_process
from workbench.runs.results import read_results
from workbench.runs.status import RunStatus, status_of
from workbench.runs.summary import summarise
from workbench.runs.ticket import Ticket, read_ticket

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(what_is_missing()), reason=f"no Slurm to drill: {what_is_missing()}"),
]
ENDED = (RunStatus.FINISHED, RunStatus.FAILED, RunStatus.STOPPED, RunStatus.LOST)
POINTS = 200


class Drill:
    """A cluster, and a runs directory that its nodes share."""

    def __init__(self, cluster: SlurmCluster, home: Path, sample: Path) -> None:
        self.cluster = cluster
        self.runs = home / "runs"
        self._sample = sample
        self._home = home

    def launch(self, name: str, *, partition: str = "low", devices: int = 1) -> RunDirectory:
        """A run as a job of its own; all have the same recipe but for its name and devices."""
        text = recipe_text(SOME_SECONDS, self._sample).replace('name = "tiny-trunk"', f'name = "{name}"')
        text += f"devices = {devices}\n" if devices > 1 else ""
        how = Submission(Cluster(partition=partition))
        return launch_on_slurm(parse_recipe(text), self.runs, how).run

    def sweep(self, table: str) -> Sweep:
        """A sweep of the same recipe, an epoch long."""
        path = self._home / "recipe.toml"
        text = recipe_text(SOME_SECONDS.replace("epochs = 6", "epochs = 1"), self._sample)
        path.write_text(f"{text}[sweep]\n{table}")
        return load_sweep(path)


@pytest.fixture(scope="module")
def drill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drill]:
    """One cluster for all drills."""
    home = tmp_path_factory.mktemp("slurm")
    cluster = SlurmCluster(home / "cluster")
    with pytest.MonkeyPatch.context() as patch, contextlib.closing(cluster):
        try:
            cluster.start()
        except (TimeoutError, OSError) as error:  # another release, or a machine that forbids it
            pytest.skip(f"Slurm is here and does not start: {error}")
        patch.setenv("SLURM_CONF", str(cluster.settings))
        for name in ("RUNS", "DATA", "CACHE", "STATE"):
            patch.setenv(f"PETBENCH_{name}", str(home / name.lower()))
        patch.setenv("OMP_NUM_THREADS", "1")
        cluster_facts.cache_clear()
        yield Drill(cluster, home, make_sample(home / "sample"))
        cluster_facts.cache_clear()


@pytest.fixture(autouse=True)
def _homes(drill: Drill, _own_homes: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the module's, after every test was given homes of its own."""
    for name in ("RUNS", "DATA", "CACHE", "STATE"):
        monkeypatch.setenv(f"PETBENCH_{name}", str(drill.runs.parent / name.lower()))


@pytest.fixture(scope="module")
def undisturbed(drill: Drill) -> RunDirectory:
    """A run that nothing interrupts."""
    return drill.launch("undisturbed")


def _ticket(run: RunDirectory) -> Ticket:
    found = read_ticket(run)
    assert found is not None
    return found


def _attempt(run: RunDirectory) -> int:
    process = read_process(run)
    return process.attempt if process else 0


def _weights(run: RunDirectory) -> str:
    wait_for_status(run, *ENDED)
    return read_results(run.results).weights_sha256


def _interrupted(run: RunDirectory, attempt: int) -> None:
    """Wait until an attempt has ended after a checkpoint, and Slurm has the run again."""
    wait_until(lambda: (it := read_exit(run)) is not None and it.attempt == attempt, f"end of {attempt}")
    ended = read_exit(run)
    assert ended is not None
    assert ended.code == 130
    wait_for_status(run, RunStatus.QUEUED, RunStatus.STARTING, RunStatus.LIVE)


def test_what_interrupts_a_run_never_changes_its_weights(drill: Drill, undisturbed: RunDirectory) -> None:
    cluster = drill.cluster
    run = drill.launch("disturbed")
    assert status_of(run) in (RunStatus.QUEUED, RunStatus.STARTING, RunStatus.LIVE)
    job = _ticket(run).job

    wait_for_epochs(run, 1)
    cluster.ask("scancel", "--signal=USR1", job)  # as before the end of its time
    _interrupted(run, 1)
    wait_until(lambda: _ticket(run).requeued == 1, "requeued")

    wait_until(lambda: _attempt(run) == 2, "second attempt")
    wait_for_epochs(run, 2)
    cluster.ask("scontrol", "requeue", job)
    _interrupted(run, 2)

    wait_until(lambda: _attempt(run) == 3, "third attempt")
    wait_for_epochs(run, 3)
    node = cluster.node(job)
    urgent = cluster.ask(
        *("sbatch", "--parsable", "--partition=high", "--exclusive", f"--nodelist={node}"),
        *("--output=/dev/null", "--wrap=true"),
    )
    _interrupted(run, 3)
    wait_until(lambda: cluster.state(urgent) == "", "the job that preempts")

    wait_until(lambda: _attempt(run) == 4, "fourth attempt")
    wait_for_epochs(run, 4)
    node = cluster.node(job)
    cluster.kill_node(node)
    wait_for_status(run, RunStatus.QUEUED)  # it is dead, and Slurm has its job
    assert _weights(run) == _weights(undisturbed)
    wait_until(lambda: _ticket(run).closed == "finished", "the ticket closed")
    assert (_attempt(run), _ticket(run).job) == (5, job)
    cluster.start_node(node)


def test_a_job_of_two_processes_is_requeued_to_the_weights_of_one_that_nothing_interrupts(
    drill: Drill,
) -> None:
    cluster = drill.cluster
    whole, run = (drill.launch(name, devices=2) for name in ("pair", "requeued-pair"))
    job = _ticket(run).job
    if cluster.has_gpus:  # as many as the recipe's devices, for the one task
        assert "gpu:2" in cluster.ask("squeue", "-h", "-j", job, "-O", "tres-per-node")
    wait_for_epochs(run, 1)
    cluster.ask("scontrol", "requeue", job)
    _interrupted(run, 1)
    wait_until(lambda: _attempt(run) == 2, "second attempt")
    assert _weights(run) == _weights(whole)
    assert [read_results(one.results).devices for one in (whole, run)] == [2, 2]
    wait_until(lambda: _ticket(run).closed == "finished", "the ticket closed")


def test_a_run_is_paused_resumed_and_stopped_through_slurm(drill: Drill) -> None:
    cluster = drill.cluster
    run = drill.launch("parked")
    job = _ticket(run).job
    wait_for_epochs(run, 1)
    pause_run(run)
    wait_for_status(run, RunStatus.STOPPED)
    wait_until(lambda: cluster.state(job) == "PENDING", "held")
    assert summarise(run).reason == "paused"
    assert resume_run(run).job == job  # the same, released
    wait_until(lambda: _attempt(run) == 2, "second attempt")
    wait_for_epochs(run, 2)
    stop_run(run)
    wait_for_status(run, RunStatus.STOPPED)
    wait_until(lambda: cluster.state(job) == "", "the job's end")
    assert summarise(run).reason == "stopped on request"


def test_a_job_that_is_cancelled_behind_our_back_stops_its_run_and_is_not_started_again(drill: Drill) -> None:
    run = drill.launch("cancelled")
    job = _ticket(run).job
    wait_for_epochs(run, 1)
    drill.cluster.ask("scancel", job)
    wait_for_status(run, RunStatus.STOPPED)
    wait_until(lambda: drill.cluster.state(job) == "", "the job's end")
    assert _ticket(run).closed == "cancelled in Slurm"
    waits = drill.cluster
    waits.ask("scontrol", "update", "partitionname=low", "state=down")
    try:
        other = drill.launch("waits")
        view = ask_about([summarise(other)])
        assert "Partition" in view.awaited(_ticket(other)) or view.awaited(_ticket(other)) == "None"
        waits.ask("scancel", _ticket(other).job)
        wait_until(lambda: waits.state(_ticket(other).job) == "", "the waiting job's end")
        ask_about([summarise(other)])
        assert status_of(other) is RunStatus.LOST
    finally:
        waits.ask("scontrol", "update", "partitionname=low", "state=up")


def _same_data(asked: object) -> list[bool]:
    return [True] * len(asked)  # type: ignore[arg-type]


def test_an_array_of_six_of_which_one_fails_is_five_results_and_one_failure(drill: Drill) -> None:
    home = drill.runs.parent / "six"
    weights = drill.runs.parent / "broken.safetensors"
    weights.write_text("no weights at all")
    cases = [f"[sweep.cases.seed{seed}]\nseed = {seed}\n" for seed in range(5)]
    sweep = drill.sweep("".join([*cases, f'[sweep.cases.broken]\n"model.weights" = "{weights}"\n']))
    queued = queue_sweep(
        sweep, home, _same_data, data_home=None, slurm=Submission(Cluster(partition="low", max_parallel=2))
    )
    runs = [one.run for one in queued.launched]
    assert len({_ticket(run).job.partition("_")[0] for run in runs}) == 1
    most = 0

    def ended() -> bool:
        nonlocal most
        states = [status_of(run) for run in runs]
        most = max(most, sum(state.is_running for state in states))
        return all(state in ENDED for state in states)

    wait_until(ended, "six runs")
    assert sorted(status_of(run).value for run in runs) == ["failed", *["finished"] * 5]
    assert most <= 2
    again = queue_sweep(sweep, home, _same_data, data_home=None, slurm=Submission(Cluster(partition="low")))
    assert (again.launched, again.left_words) == ((), "5 finished, 1 failed")


def test_two_hundred_points_interrupted_at_random_and_resubmitted_are_trained_once_each(
    drill: Drill, tmp_path: Path
) -> None:
    chance = random.Random(5)
    home, point = drill.runs.parent / "points", tmp_path / "point.sh"
    point.write_text(_POINT)
    point.chmod(0o755)
    sweep = drill.sweep(f"seeds = {list(range(POINTS))}\n")

    def submit() -> int:
        how = Submission(Cluster(partition="low"), job=(str(point),))
        return len(queue_sweep(sweep, home, _same_data, data_home=None, slurm=how).launched)

    for _ in range(3):  # killed at random while it submits
        child = os.fork()
        if not child:
            with contextlib.suppress(BaseException):
                submit()
            os._exit(0)
        time.sleep(chance.uniform(0.5, 4))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    for _ in range(3):  # all that there is, cancelled at random
        submit()
        time.sleep(chance.uniform(1, 4))
        drill.cluster.ask("scancel", f"--user={getpass.getuser()}")
    wait_until(lambda: not submit() and all(run.status in ENDED for run in list_runs(home)), "all points")
    runs = list_runs(home)
    assert len(runs) == POINTS
    assert {run.status for run in runs} == {RunStatus.FINISHED}
    assert {(run.path / "trained").read_text() for run in runs} == {"once\n"}
    assert not list(home.glob("*/two-at-once"))


_POINT = """\
#!/bin/sh
# A point that costs nothing: done once it has slept, unless it is interrupted.
run=$1
trap 'rmdir "$run/at-work"; exit 0' TERM
mkdir "$run/at-work" || touch "$run/two-at-once"
sleep 0.3 &
wait $!
trap '' TERM
echo once >> "$run/trained"
printf '{"attempt":999,"code":0,"signal":null,"reason":"","ended":1.0}' > "$run/exit.part"
mv "$run/exit.part" "$run/exit.json"
rmdir "$run/at-work"
"""
