"""`python -m workbench.jobs.slurm_job RUN`: inside a job, run or resume; 130 means again.

It watches over the trainer as a supervisor does anywhere, on the devices that Slurm has given the job. What
Slurm is to do next follows from the run's directory and from how the attempt ended.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, assert_never

from workbench.jobs.control import Signals
from workbench.jobs.ending import notify
from workbench.jobs.slurm import SlurmSaid, attempts, command
from workbench.jobs.supervisor import Order, Supervisor, record_end, run_name, say
from workbench.runs.attempt_control import read_request
from workbench.runs.layout import RunDirectory
from workbench.runs.process import ProcessRecord, ensure_unattended, write_process
from workbench.runs.status import INTERRUPTED, RunStatus, status_of
from workbench.runs.ticket import Ticket, change_ticket, close_ticket, read_ticket
from workbench.support.errors import UserError

PATIENCE_SECONDS = 300.0
"""How long a job waits for a run that seems to be at work elsewhere: a node that died shows life for a
minute, and Slurm may start its runs again sooner."""
_LOOK_SECONDS = 5.0
Fate = Literal["again", "taken", "cancelled", "unknown"]
"""Of a job whose run was interrupted: it runs on and may be put back into the queue; Slurm has taken it back
by itself; somebody has cancelled it; Slurm does not say."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where in Slurm this process is."""

    job: str
    """Its number, `123` or `123_4`."""
    restarts: int
    """How often it was started before."""


def main(arguments: Sequence[str] | None = None, environment: dict[str, str] | None = None) -> int:
    """Run or resume; the exit code says whether to start the job again."""
    (path,) = sys.argv[1:] if arguments is None else arguments
    environment = dict(os.environ) if environment is None else environment
    place = Place(environment.get("PETBENCH_SLURM_JOB", ""), int(environment.get("SLURM_RESTART_COUNT") or 0))
    return go_on(RunDirectory(Path(path)), place, Signals())


def go_on(run: RunDirectory, place: Place, signals: Signals) -> int:
    """One attempt, if there is something to do, and what it means for the job, whose exit code it returns."""
    ticket = _begun(run, place)
    if ticket is None:
        return 0
    order = Order(run, "auto", ticket.data_home, ticket.notify, ticket.launched_by)
    try:
        process = _claim(run, signals)
    except (OSError, UserError) as error:
        say(f"job {place.job} gives up: {error}")
        return 1
    if process is None:
        return INTERRUPTED if _fate(place) == "again" else 0
    ticket = read_ticket(run) or ticket
    if not ticket.is_open:  # cancelled from where there is no scancel, since it was looked at
        record_end(run, process.attempt, INTERRUPTED, None, ticket.closed, signals.sleep)
        return 0
    code = Supervisor(order, process, signals, is_granted=True).supervise()
    if order.notify and (code != INTERRUPTED or read_request(run, process.attempt) is not None):
        trouble = notify(order.notify, run, run_name(run))
        if trouble:
            say(trouble)
    return _conclude(run, ticket, process, code, place)


def _begun(run: RunDirectory, place: Place) -> Ticket | None:
    """The ticket, if there is something to do in this job."""
    ticket = read_ticket(run)
    if ticket is None or (ticket.job and place.job and ticket.job != place.job):
        say(f"job {place.job} has nothing to do: the run has {ticket.words if ticket else 'no ticket'}")
        return None
    if not ticket.is_open:
        say(f"job {place.job} has nothing to do: {ticket.closed}")
        return None
    if status_of(run) is RunStatus.FINISHED and attempts(run) > ticket.after:
        close_ticket(run, ticket, "finished")
        return None
    return change_ticket(run, ticket, lambda one: replace(one, job=one.job or place.job, is_held=False))


def _claim(run: RunDirectory, signals: Signals) -> ProcessRecord | None:
    """Make the run this process's; None where it was asked to stop before it could.

    Raises:
        UserError: it is at work elsewhere, and stays so.
    """
    end = time.monotonic() + PATIENCE_SECONDS
    said = False
    while not signals.asked:
        try:
            seen = ensure_unattended([run], say)
            return write_process(run, "auto", role="waiting", seen=seen)
        except UserError as error:
            if time.monotonic() >= end:
                raise
            if not said:
                say(f"waits: {error.what}")
                said = True
        signals.sleep(_LOOK_SECONDS)
    return None


def _conclude(run: RunDirectory, ticket: Ticket, process: ProcessRecord, code: int, place: Place) -> int:
    """Close the ticket or leave it open; returns the job's exit code."""
    if code != INTERRUPTED:
        _close(run, ticket, "finished" if code == 0 else f"it ended with code {code}")
        return code
    request = read_request(run, process.attempt)
    if request is not None and request.wanted == "pause":
        if _hold(run, ticket, place):
            return 0
    elif request is None:
        fate = _fate(place)
        match fate:
            case "again":
                say(f"job {place.job} goes back into Slurm's queue")
                _change(run, ticket, lambda one: replace(one, requeued=one.requeued + 1))
                return INTERRUPTED
            case "taken":
                say(f"Slurm has put job {place.job} back into its queue")
                _change(run, ticket, lambda one: replace(one, requeued=one.requeued + 1))
                return 0
            case "unknown":
                return INTERRUPTED
            case "cancelled":
                _close(run, ticket, "cancelled in Slurm")
                return 0
            case _:
                assert_never(fate)
    _close(run, ticket, request.reason if request else "cancelled")
    return 0


def _hold(run: RunDirectory, ticket: Ticket, place: Place) -> bool:
    """Park the job, so that it keeps its number and goes on when it is released; whether Slurm lets us."""
    _change(run, ticket, lambda one: replace(one, is_held=True))
    try:
        command("scontrol", "requeuehold", place.job)
    except SlurmSaid as error:
        say(f"the job ends instead of being held: {error.what}")
        _change(run, ticket, lambda one: replace(one, is_held=False))
        return False
    return True


def _fate(place: Place) -> Fate:
    """What becomes of this job, whose run was interrupted.

    While it winds down, Slurm shows a job that it requeues and one that was cancelled alike; but the number
    of its restarts has grown by then (seen with 22.05).
    """
    try:
        said = command(
            "squeue", "--noheader", f"--jobs={place.job}", "--Format=State:40,RestartCnt:12"
        ).split()
    except SlurmSaid as error:
        say(f"Slurm does not say what becomes of job {place.job}: {error.what}")
        return "unknown"
    if len(said) != 2 or not said[1].isdecimal():
        return "unknown"
    if int(said[1]) > place.restarts or said[0] in ("PENDING", "PREEMPTED", "REQUEUED"):
        return "taken"
    return "again" if said[0] in ("RUNNING", "TIMEOUT") else "cancelled"


def _close(run: RunDirectory, ticket: Ticket, why: str) -> None:
    with suppress(OSError):  # whoever asks Slurm for the job finds it gone, and closes it
        close_ticket(run, ticket, why)


def _change(run: RunDirectory, ticket: Ticket, change: Callable[[Ticket], Ticket]) -> None:
    with suppress(OSError):
        change_ticket(run, ticket, change)


if __name__ == "__main__":
    sys.exit(main())
