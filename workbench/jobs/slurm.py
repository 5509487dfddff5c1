"""What Slurm says and is told: `squeue`, `scancel`, `scontrol`, asked seldom and never waited for for long.

Slurm is asked by its own commands, as any other way needs a library of the very release that the cluster has.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from workbench.runs.layout import RunDirectory
from workbench.runs.process import read_exit, read_process, write_exit
from workbench.runs.status import RunStatus, status_of
from workbench.runs.ticket import Ticket, change_ticket, close_ticket, number_ticket
from workbench.support.clean import clean
from workbench.support.errors import UserError

if TYPE_CHECKING:
    from workbench.runs.summary import RunSummary

ASK_SECONDS = 5.0
"""How often Slurm is asked at most; sites ask not to be polled by many users at once."""
PATIENCE_SECONDS = 15.0
"""How long a command of Slurm may take; a controller that is busy answers within ten."""
_SEPARATOR = "|"
_FORMAT = _SEPARATOR.join(("%F", "%K", "%T", "%j", "%P", "%N", "%r"))
_LARGEST_ARRAY = 1000  # Slurm's default for MaxArraySize is 1001, the first index that there is not
CANCELLED = "cancelled while queued"
GONE = "Slurm has no such job any more: it was cancelled there, or it ended without a word"


@dataclass(frozen=True, slots=True)
class Job:
    """A job, or a task of an array, as squeue has it."""

    number: str
    """`123`, or `123_4` for a task."""
    index: int
    """Of the task; -1 for a job of its own."""
    name: str
    state: str
    """In Slurm's letters: `PENDING`, `RUNNING`, `COMPLETING` …"""
    partition: str
    nodes: str
    reason: str
    """Why it waits; `None` while it does not."""

    @property
    def words(self) -> str:
        """Where it stands: `Resources`, `running on n1`."""
        if self.state == "PENDING":
            return self.reason if self.reason != "None" else "pending"
        state = self.state.lower().replace("_", " ")
        return f"{state} on {self.nodes}" if self.nodes else state


@dataclass(frozen=True, slots=True)
class SlurmView:
    """What Slurm said last."""

    jobs: Mapping[str, Job]
    """By number."""
    problem: str = ""
    """Why it said nothing: there is none here, it is down, it takes too long."""

    def job_of(self, ticket: Ticket) -> Job | None:
        """A ticket's job; by its name, where its number has not been written down."""
        if ticket.job:
            return self.jobs.get(ticket.job)
        named = (job for job in self.jobs.values() if (job.name, job.index) == (ticket.name, ticket.index))
        return next(named, None)

    def awaited(self, ticket: Ticket) -> str:
        """Why a job has not begun."""
        if self.problem:
            return self.problem
        job = self.job_of(ticket)
        return "" if job is None else job.words


class SlurmSaid(UserError):
    """A command of Slurm failed, or there is none."""


def command(*words: str, stdin: str = "", patience: float = PATIENCE_SECONDS) -> str:
    """What a command of Slurm prints.

    Raises:
        SlurmSaid: it is not here, it failed, it took too long.
    """
    name = words[0]
    try:
        done = subprocess.run(
            words,
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=patience,
            check=False,
            env={**os.environ, "LC_ALL": "C", "SLURM_TIME_FORMAT": "standard"},
            start_new_session=True,  # Ctrl-C is for petbench
        )
    except FileNotFoundError as error:
        raise _missing(name) from error
    except subprocess.TimeoutExpired as error:
        raise SlurmSaid(f"{name} did not answer within {patience:.0f} s", hint="try again later") from error
    except OSError as error:
        raise SlurmSaid(f"{name} cannot be run: {error.strerror or error}") from error
    if done.returncode:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        said = clean(lines[-1].removeprefix(f"{name}: ").removeprefix("error: "), 200) if lines else ""
        raise SlurmSaid(f"{name} failed: {said or f'code {done.returncode}'}")
    return done.stdout


def ask(users: Iterable[str]) -> SlurmView:
    """The jobs of some users that have not ended; why there is no answer, where there is none."""
    try:
        said = command("squeue", "--noheader", "--array", f"--user={','.join(users)}", f"--format={_FORMAT}")
    except SlurmSaid as error:
        return SlurmView({}, error.what)
    jobs = [job for line in said.splitlines() if (job := _job_of(line)) is not None]
    return SlurmView({job.number: job for job in jobs})


def _job_of(line: str) -> Job | None:
    parts = line.strip().split(_SEPARATOR)
    if len(parts) < 7 or not parts[0].isdecimal():
        return None
    number, index, state, *name, partition, nodes, reason = parts  # a name of somebody else's may hold a bar
    is_task = index.isdecimal()
    return Job(
        number=f"{number}_{index}" if is_task else number,
        index=int(index) if is_task else -1,
        name=_SEPARATOR.join(name),
        state=clean(state, 40),
        partition=clean(partition, 60),
        nodes=clean(nodes, 60),
        reason=clean(reason, 80),
    )


@cache
def own_name() -> str:
    """This user's, as Slurm has it."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


@cache
def cluster_facts() -> tuple[str, int]:
    """(the cluster's name, how many tasks an array may have). Raises: SlurmSaid."""
    settings = {}
    for line in command("scontrol", "show", "config").splitlines():
        key, _, value = line.partition("=")
        settings[key.strip()] = value.strip()
    largest = settings.get("MaxArraySize", "")
    return clean(settings.get("ClusterName", ""), 60), (
        int(largest) - 1 if largest.isdecimal() and int(largest) > 1 else _LARGEST_ARRAY
    )


def is_here() -> bool:
    """Whether this machine has Slurm's commands."""
    return shutil.which("squeue") is not None


def ensure_here() -> None:
    """See that this machine can give Slurm a job. Raises: SlurmSaid."""
    if shutil.which("sbatch") is None:
        raise _missing("sbatch")


def _missing(name: str) -> SlurmSaid:
    return SlurmSaid(
        f"there is no {name} on this machine", hint="go where Slurm is, or run it here with --engine local"
    )


class SlurmWatch:
    """Slurm's word on the jobs of runs: asked every few seconds at most, by a thread, where a run waits.

    `look` may be called from anywhere and never waits; `awaited` gives what was heard last.
    """

    def __init__(self, every: float = ASK_SECONDS, heard: Callable[[], object] = lambda: None) -> None:
        """`heard` is called from another thread when Slurm says something else than before."""
        self._every = every
        self._heard = heard
        self._view = SlurmView({})
        self._asked = float("-inf")
        self._busy = threading.Lock()

    @property
    def view(self) -> SlurmView:
        """What was heard last."""
        return self._view

    def awaited(self, ticket: Ticket) -> str:
        """Why a job has not begun, as far as is known."""
        return self._view.awaited(ticket)

    def look(self, runs: Iterable[RunSummary]) -> None:
        """Ask about those of `runs` that have an open ticket, if it is time to."""
        if time.monotonic() - self._asked < self._every:
            return
        waiting = with_open_tickets(runs)
        if not waiting or not self._busy.acquire(blocking=False):
            return
        self._asked = time.monotonic()
        threading.Thread(target=self._ask, args=(waiting,), name="slurm", daemon=True).start()

    def _ask(self, runs: Sequence[RunSummary]) -> None:
        try:
            view = ask(_users(runs))
            tend(runs, view)
            self._asked = time.monotonic()
            changed, self._view = view != self._view, view
        finally:
            self._busy.release()
        if changed:
            self._heard()


def with_open_tickets(runs: Iterable[RunSummary]) -> list[RunSummary]:
    """Those that Slurm may have a job for."""
    return [run for run in runs if run.ticket is not None and run.ticket.is_open]


def _users(runs: Iterable[RunSummary]) -> list[str]:
    return list(dict.fromkeys(run.ticket.user for run in runs if run.ticket is not None and run.ticket.user))


def ask_about(runs: Iterable[RunSummary]) -> SlurmView:
    """Slurm's word on runs with an open ticket, waited for; closes those whose jobs are gone."""
    waiting = with_open_tickets(runs)
    if not waiting:
        return SlurmView({})
    view = ask(_users(waiting))
    tend(waiting, view)
    return view


def tend(runs: Iterable[RunSummary], view: SlurmView) -> None:
    """Close the tickets of jobs that Slurm had no more when it said `view`, after `runs` were read.

    One without a number is left alone: whoever submits it has yet to write it down.
    """
    if view.problem:
        return
    for run in runs:
        ticket = run.ticket
        if ticket is None or not ticket.job or ticket.job in view.jobs or not _is_ours(ticket):
            continue
        try:
            close_ticket(run.run, ticket, GONE)
        except OSError:
            continue  # another's run, or a full disk: it is asked about again


def _is_ours(ticket: Ticket) -> bool:
    """Whether this machine's Slurm is the one that has the job."""
    try:
        return cluster_facts()[0] == ticket.cluster
    except SlurmSaid:
        return False


def adopt(runs: Iterable[RunSummary]) -> None:
    """See to tickets whose submitter was killed before it wrote the job's number down: the job is found by
    its name, or there is none. The caller holds `starting`, so that nobody is submitting.

    Raises:
        SlurmSaid: Slurm cannot be asked.
    """
    forsaken = [run for run in with_open_tickets(runs) if run.ticket is not None and not run.ticket.job]
    if not forsaken:
        return
    view = ask(_users(forsaken))
    if view.problem:
        raise SlurmSaid(view.problem)
    for run in forsaken:
        assert run.ticket is not None
        job = view.job_of(run.ticket)
        if job is None:
            close_ticket(run.run, run.ticket, "it was never submitted")
            continue
        number_ticket(run.run, run.ticket, job.number)


def withdraw(run: RunDirectory, ticket: Ticket) -> None:
    """Cancel the job of a run that waits; where there is no Slurm here, the job finds that and ends at once.

    Raises:
        UserError: Slurm refuses, or the directory cannot be written.
    """
    target = [ticket.job] if ticket.job else [f"--name={ticket.name}"]
    if is_here() and _is_ours(ticket) and (ticket.job or ticket.index < 0):
        command("scancel", *target)
    latest = attempts(run)
    try:
        close_ticket(run, ticket, CANCELLED)
        # A job that claims the run looks at its ticket after that: it has seen this, or it is seen here.
        if attempts(run) == latest and status_of(run) is not RunStatus.STOPPED:
            write_exit(run, code=130, reason=CANCELLED, attempt=latest + 1)
    except OSError as error:
        raise UserError(
            f"it cannot be written down: {error.strerror or error}", where=run.id, hint="free some space"
        ) from error


def attempts(run: RunDirectory) -> int:
    """The number of the run's latest attempt; 0 before the first."""
    return max((one.attempt for one in (read_process(run), read_exit(run)) if one is not None), default=0)


def hold(run: RunDirectory, ticket: Ticket) -> None:
    """Park the job of a run that waits: it keeps its place, and does not start. Raises: UserError."""
    command("scontrol", "hold", _numbered(run, ticket))
    change_ticket(run, ticket, lambda one: replace(one, is_held=True))


def release(run: RunDirectory, ticket: Ticket) -> None:
    """Let a parked job start. Raises: UserError."""
    command("scontrol", "release", _numbered(run, ticket))
    change_ticket(run, ticket, lambda one: replace(one, is_held=False))


def cancel(ticket: Ticket) -> None:
    """Cancel a job, whatever it does; without its number nothing is done. Raises: SlurmSaid."""
    if ticket.job:
        command("scancel", ticket.job)


def _numbered(run: RunDirectory, ticket: Ticket) -> str:
    if not ticket.job:
        raise UserError("its job has no number yet", where=run.id, hint="try again in a moment")
    return ticket.job
