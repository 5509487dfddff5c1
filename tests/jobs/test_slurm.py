"""Runs that Slurm has: what their directories say, and what is asked of Slurm. Its commands are played here;
`test_slurm_drills.py` has a real one."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.jobs.background import wait_until
from tests.jobs.played_slurm import Played
from tests.runs.making import make_run
from tests.train.making import TRUNK, recipe_text
from workbench.cli.runs_listing import listed
from workbench.jobs import discard_runs, pause_run, resume_run, stop_run, submission
from workbench.jobs.cluster import Cluster
from workbench.jobs.slurm import (
    CANCELLED,
    SlurmSaid,
    SlurmView,
    SlurmWatch,
    ask,
    ask_about,
    attempts,
    command,
)
from workbench.jobs.slurm_job import Place, _begun
from workbench.jobs.submission import Submission, script, settle, submit
from workbench.jobs.sweep import queue_sweep
from workbench.recipe.sweep import load_sweep
from workbench.runs.layout import RunDirectory, run_directories
from workbench.runs.leftovers import Wanted, find_leftovers, remove, restore_run
from workbench.runs.process import write_exit, write_process
from workbench.runs.status import RunStatus, status_of
from workbench.runs.summary import summarise
from workbench.runs.ticket import SUBMISSIONS, Ticket, close_ticket, read_ticket, write_ticket
from workbench.support.errors import UserError

TICKET = Ticket(name="tiny-1a2b", index=-1, cluster="played", user="me", submitted=1.0, after=0, job="12")


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Played:
    """A Slurm that is played, of a cluster of that name."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return Played(tmp_path / "bin")


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A run that Slurm has as job 12."""
    made = make_run(tmp_path / "runs")
    write_ticket(made, TICKET)
    return made


def _line(job: str, state: str, reason: str, *, task: str = "N/A", name: str = "tiny-1a2b") -> str:
    return f"echo '{job}|{task}|{state}|{name}|low||{reason}'"


# What the directory says


def test_a_run_with_an_open_ticket_is_queued_from_its_directory_alone(run: RunDirectory) -> None:
    assert status_of(run) is RunStatus.QUEUED
    assert summarise(run).slurm_words == "pending in Slurm, job 12"


def test_a_run_that_checkpointed_in_its_job_waits_to_be_started_again(run: RunDirectory) -> None:
    write_exit(run, code=130, reason="stopped by SIGUSR1", attempt=1)
    assert status_of(run) is RunStatus.QUEUED
    assert summarise(run).slurm_words.startswith("requeued in Slurm")


def test_a_failure_stands_although_the_ticket_is_open_unless_it_was_submitted_after_it(
    run: RunDirectory,
) -> None:
    write_exit(run, code=1, reason="loss is nan", attempt=1)
    assert status_of(run) is RunStatus.FAILED
    write_ticket(run, replace(TICKET, name="again", after=1))
    assert status_of(run) is RunStatus.QUEUED


def test_a_live_run_is_live_and_one_that_slurm_holds_is_paused(run: RunDirectory) -> None:
    write_ticket(run, replace(TICKET, is_held=True))
    assert status_of(run) is RunStatus.STOPPED
    assert summarise(run).reason == "paused"
    write_process(run, "cpu")
    assert status_of(run) is RunStatus.LIVE


def test_the_first_word_about_the_end_of_a_job_stands(run: RunDirectory) -> None:
    close_ticket(run, TICKET, "finished")
    close_ticket(run, TICKET, "gone")
    close_ticket(run, replace(TICKET, name="other"), "another's")
    found = read_ticket(run)
    assert found is not None
    assert found.closed == "finished"
    assert status_of(run) is RunStatus.LOST


# What Slurm says


def test_a_run_that_waits_says_why_in_slurms_word(run: RunDirectory, slurm: Played) -> None:
    slurm.says("squeue", _line("12", "PENDING", "Resources"))
    ((summary,), view) = listed(run.path.parent)
    assert summary.slurm_words == "pending in Slurm, job 12: Resources"
    assert view.jobs["12"].state == "PENDING"


def test_tasks_of_an_array_are_known_by_their_index(slurm: Played) -> None:
    slurm.says(
        "squeue", f"{_line('7', 'PENDING', 'Priority', task='3')}; {_line('7', 'RUNNING', 'None', task='2')}"
    )
    assert sorted(ask(["me"]).jobs) == ["7_2", "7_3"]


def test_a_job_that_slurm_has_no_more_makes_its_run_lost_with_the_reason(
    run: RunDirectory, slurm: Played
) -> None:
    ask_about([summarise(run)])
    assert status_of(run) is RunStatus.LOST
    assert "no such job any more" in summarise(run).reason


def test_jobs_of_another_cluster_are_not_judged(run: RunDirectory, slurm: Played) -> None:
    write_ticket(run, replace(TICKET, cluster="elsewhere"))
    ask_about([summarise(run)])
    assert status_of(run) is RunStatus.QUEUED


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1", "Unable to contact"),
        ("exit 7", "squeue failed: code 7"),
        ("printf '\\033[2J' >&2; exit 1", "squeue failed"),
    ],
)
def test_a_broken_slurm_is_said_and_no_ticket_is_closed(
    line: str, words: str, run: RunDirectory, slurm: Played
) -> None:
    slurm.says("squeue", line)
    view = ask_about([summarise(run)])
    assert words in view.problem
    assert "\033" not in view.problem
    assert status_of(run) is RunStatus.QUEUED
    assert words in view.awaited(TICKET)


def test_a_slow_or_missing_command_is_said(slurm: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    slurm.says("squeue", "exec sleep 60")
    with pytest.raises(SlurmSaid, match="did not answer"):
        command("squeue", patience=0.2)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SlurmSaid, match="there is no squeue on this machine"):
        command("squeue")


def test_the_watch_asks_seldom_never_waits_and_asks_nothing_where_nobody_waits(
    run: RunDirectory, slurm: Played
) -> None:
    slurm.says("squeue", f"sleep 1; {_line('12', 'PENDING', 'Priority')}")
    heard: list[SlurmView] = []
    watch = SlurmWatch(every=3600, heard=lambda: heard.append(watch.view))
    watch.look([])
    began = time.monotonic()
    for _ in range(20):
        watch.look([summarise(run)])
    assert time.monotonic() - began < 1  # it is asked by a thread, which sleeps for a second
    wait_until(lambda: bool(heard))
    watch.look([summarise(run)])
    assert len(slurm.asked("squeue")) == 1
    assert watch.awaited(TICKET) == "Priority"


# What Slurm is told


def test_stop_cancels_the_job_of_a_run_that_waits(run: RunDirectory, slurm: Played) -> None:
    stop_run(run)
    assert slurm.asked("scancel") == ["12"]
    assert (status_of(run), summarise(run).reason) == (RunStatus.STOPPED, CANCELLED)


def test_pause_holds_a_job_that_waits_and_resume_releases_it(run: RunDirectory, slurm: Played) -> None:
    slurm.says("squeue", _line("12", "PENDING", "JobHeldUser"))
    pause_run(run)
    assert status_of(run) is RunStatus.STOPPED
    launched = resume_run(run)
    assert (launched.job, status_of(run)) == ("12", RunStatus.QUEUED)
    assert [told for told in slurm.asked("scontrol") if told != "show config"] == ["hold 12", "release 12"]


def test_a_paused_run_that_is_thrown_away_leaves_no_job_in_slurm(run: RunDirectory, slurm: Played) -> None:
    pause_run(run)
    said: list[str] = []
    (moved,) = discard_runs([run], cancelled=said.append)
    assert slurm.asked("scancel") == ["12"]
    assert said == [f"Slurm's job 12 for {run.slug} is cancelled"]
    ticket = read_ticket(moved)
    assert ticket is not None
    assert ticket.closed == CANCELLED
    assert discard_runs([restore_run(run.path.parent, run.id)], cancelled=said.append) == [moved]
    assert len(said) == 1


def test_a_run_whose_job_slurm_does_not_let_go_stays_where_it_is(run: RunDirectory, slurm: Played) -> None:
    pause_run(run)
    slurm.says("scancel", "echo scancel: error: down >&2; exit 1")
    with pytest.raises(UserError, match="down"):
        discard_runs([run])
    assert run.path.is_dir()


def test_two_submitters_of_one_sweep_at_once_submit_nothing_twice(tmp_path: Path, slurm: Played) -> None:
    slurm.says("squeue", 'for n in 0 1 2; do echo "40|$n|PENDING|x|low||Priority"; done')
    path = tmp_path / "recipe.toml"
    path.write_text(recipe_text(TRUNK, tmp_path) + "[sweep]\nseeds = [0, 1, 2]\n")
    sweep = load_sweep(path)
    go = threading.Barrier(4)

    def submit() -> int:
        go.wait()
        queued = queue_sweep(
            sweep, tmp_path / "runs", _same_data, data_home=None, slurm=Submission(Cluster())
        )
        return len(queued.launched)

    with ThreadPoolExecutor(4) as pool:
        given = [one.result() for one in [pool.submit(submit) for _ in range(4)]]
    assert sorted(given) == [0, 0, 0, 3]
    assert len(slurm.asked("sbatch")) == 1
    assert len(run_directories(tmp_path / "runs")) == 3


def _same_data(asked: Sequence[object]) -> list[bool]:
    return [True] * len(asked)


def test_scripts_and_logs_of_jobs_go_once_no_run_waits_for_them(tmp_path: Path) -> None:
    home = tmp_path / "runs"
    waits, ended = make_run(home, "waits"), make_run(home, "ended")
    write_ticket(waits, replace(TICKET, name="waits-0a1b2c3d"))
    write_ticket(ended, replace(TICKET, name="ended-0a1b2c3d", closed="finished"))
    (folder := home / SUBMISSIONS).mkdir()
    kept = {"waits-0a1b2c3d.sh", "waits-0a1b2c3d-12.log", "mine.txt", "young-0a1b2c3d.sh"}
    gone = {"ended-0a1b2c3d.sh", "ended-0a1b2c3d-12.log", "nobody-ffffffff-7_3.log"}
    for name in kept | gone:
        (folder / name).write_text("x")
        if not name.startswith("young"):
            os.utime(folder / name, (0, 0))
    found = find_leftovers(home, [], tmp_path / "cache", Wanted())
    assert {(one.kind, one.path.name) for one in found} == {("submission", name) for name in gone}
    assert [why for _, why in remove(found, home)] == [""] * len(gone)
    assert {path.name for path in folder.iterdir()} == kept


def test_a_run_can_be_cancelled_where_there_is_no_slurm(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    stop_run(run)
    assert status_of(run) is RunStatus.STOPPED
    with pytest.raises(UserError, match="it is not running"):
        stop_run(run)


def test_a_stop_without_grace_cancels_the_job_too(
    run: RunDirectory, slurm: Played, sleeper: Callable[..., object]
) -> None:
    write_process(run, "cpu", pid=sleeper(run).pid)  # type: ignore[attr-defined]
    stop_run(run, grace_seconds=0)
    assert slurm.asked("scancel") == ["12"]


def test_a_stopped_run_goes_on_in_slurm_as_it_was_asked_for_before(run: RunDirectory, slurm: Played) -> None:
    write_ticket(run, replace(TICKET, options=("--partition=low", "--signal=USR1@90"), notify="true"))
    stop_run(run)
    launched = resume_run(run)
    found = read_ticket(run)
    assert found is not None
    assert (launched.job, found.job, found.notify) == ("40", "40", "true")
    assert found.options == ("--partition=low", "--signal=USR1@90")


# Submitting


def _runs(home: Path, count: int) -> list[RunDirectory]:
    return [make_run(home, f"point{number}") for number in range(count)]


def test_several_runs_are_an_array_of_so_many_at_a_time(tmp_path: Path) -> None:
    runs = _runs(tmp_path / "my runs", 3)
    text = script(runs, Submission(Cluster(partition="low", max_parallel=2)), name="tiny-1")
    assert "#SBATCH --array=0-2%2\n" in text
    assert "#SBATCH --partition=low\n" in text
    assert f"    '{runs[2].path}'\n" in text
    assert 'if [ "$code" -eq 130 ]; then scontrol requeue "$job"; fi' in text


def test_more_runs_than_an_array_may_have_are_arrays_one_after_the_other(
    tmp_path: Path, slurm: Played
) -> None:
    slurm.says("sbatch", "cat >> $0.scripts; echo 40")
    tickets = submit(_runs(tmp_path / "runs", 5), Submission(Cluster()))
    assert [ticket.job for ticket in tickets.values()] == ["40_0", "40_1", "40_2", "40_0", "40_1"]
    given = (tmp_path / "bin" / "sbatch.scripts").read_text()
    assert "--array=0-2" in given
    assert "--dependency=afterany:40" in given


def test_what_sbatch_refuses_is_said_and_leaves_no_ticket(tmp_path: Path, slurm: Played) -> None:
    slurm.says(
        "sbatch", "cat > /dev/null; echo 'sbatch: error: invalid partition specified: gpu' >&2; exit 1"
    )
    (run,) = _runs(tmp_path / "runs", 1)
    with pytest.raises(UserError, match="invalid partition specified: gpu"):
        submit([run], Submission(Cluster()))
    assert read_ticket(run) is None


@pytest.mark.parametrize("index", [-1, 2])
def test_a_job_whose_submitter_was_killed_is_found_by_its_name(
    index: int, run: RunDirectory, slurm: Played
) -> None:
    write_ticket(run, replace(TICKET, job="", index=index))
    task = "N/A" if index < 0 else str(index)
    slurm.says("squeue", _line("77", "PENDING", "Priority", task=task))
    settle([summarise(run)])
    found = read_ticket(run)
    assert found is not None
    assert found.job == ("77" if index < 0 else "77_2")


def test_a_run_whose_submitter_was_killed_before_sbatch_is_lost_and_can_be_submitted(
    run: RunDirectory, slurm: Played
) -> None:
    write_ticket(run, replace(TICKET, job=""))
    settle([summarise(run)])
    assert status_of(run) is RunStatus.LOST
    assert resume_run(run).job == "40"


def test_nothing_is_submitted_while_slurm_does_not_say_whether_it_has_a_job(
    run: RunDirectory, slurm: Played
) -> None:
    write_ticket(run, replace(TICKET, job=""))
    slurm.says("squeue", "exit 1")
    with pytest.raises(UserError, match="squeue failed"):
        resume_run(run)
    assert not slurm.asked("sbatch")


def test_the_ticket_is_plain_json_that_a_person_can_read(run: RunDirectory) -> None:
    assert json.loads(run.ticket.read_text())["job"] == "12"


# Many points, and whatever happens on the way


SBATCH = """number=$(( 40 + $(ls {jobs} | wc -l) ))
cat > {jobs}/$number
echo $number"""
SQUEUE = """for file in {jobs}/*; do
  [ -s "$file" ] || continue
  name=$(sed -n 's/^#SBATCH --job-name=//p' "$file")
  last=$(sed -n 's/^#SBATCH --array=0-//p' "$file")
  for task in $(seq 0 "$last"); do echo "${{file##*/}}|$task|PENDING|$name|low||Priority"; done
done"""


class _Killed(BaseException):
    """As kill -9: nobody takes anything back."""


@pytest.mark.slow
def test_two_hundred_points_whose_submitters_and_jobs_end_at_random_are_trained_once_each(
    tmp_path: Path, slurm: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(5)
    (jobs := tmp_path / "jobs").mkdir()
    slurm.says("scontrol", 'echo "ClusterName = played"; echo "MaxArraySize = 81"')
    slurm.says("sbatch", SBATCH.format(jobs=jobs))
    slurm.says("squeue", SQUEUE.format(jobs=jobs))
    path, home = tmp_path / "recipe.toml", tmp_path / "runs"
    path.write_text(recipe_text(TRUNK, tmp_path) + f"[sweep]\nseeds = {list(range(200))}\n")
    sweep = load_sweep(path)

    def submit(killed: float) -> int:
        def deadly(*words: str, stdin: str = "") -> str:
            if words[0] == "sbatch" and chance.random() < killed:
                raise _Killed
            said = command(*words, stdin=stdin)
            if words[0] == "sbatch" and chance.random() < killed:
                raise _Killed
            return said

        monkeypatch.setattr(submission, "command", deadly)
        with suppress(_Killed):
            how = Submission(Cluster())
            return len(queue_sweep(sweep, home, _same_data, data_home=None, slurm=how).launched)
        return 1

    def work(share: float) -> None:
        """Some of what Slurm has is trained, as a job looks at its ticket first; the rest is cancelled."""
        for job in jobs.iterdir():
            script = job.read_text()
            given = script.partition("runs=(\n")[2].partition("\n)")[0]
            for task, line in enumerate(given.splitlines()):
                run, place = RunDirectory(Path(line.strip())), Place(f"{job.name}_{task}", 0)
                if chance.random() < share and (ticket := _begun(run, place)) is not None:
                    with (run.path / "trained").open("a") as file:
                        file.write("once\n")
                    write_exit(run, code=0, reason="", attempt=attempts(run) + 1)
                    close_ticket(run, ticket, "finished")
            job.write_text("")  # it is gone; its number is not given again

    for killed in (0.5, 0.5, 0.3, 0.0, 0.3):
        submit(killed)
        work(chance.random() / 2)
    submit(0.0)
    work(1.0)
    assert submit(0.0) == 0
    runs = run_directories(home)
    assert len(runs) == 200
    assert {status_of(run) for run in runs} == {RunStatus.FINISHED}
    assert {(run.path / "trained").read_text() for run in runs} == {"once\n"}
