"""`slurm.json`: the job that a run was given to Slurm as, so that its directory alone tells that it waits.

The ticket is open while Slurm may still start the job, again or for the first time. Who ends that closes it:
the job itself at its end, a front end that cancels it, or one that hears that Slurm has no such job any more.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from workbench.runs.layout import RunDirectory
from workbench.support.locks import locked
from workbench.support.records import read_record, write_record

SUBMISSIONS = ".slurm"
"""In the runs directory: each submission's script, and what Slurm itself says of its jobs."""
_OF_SUBMISSION = re.compile(r"(?P<name>.+-[0-9a-f]{8})(?:\.sh|-\d+(?:_\d+)?\.log)", re.DOTALL)


def submission_of(file: str) -> str | None:
    """The jobs' name that a file of `SUBMISSIONS` is of; None for any other.

    >>> submission_of("lite-0a1b2c3d.sh"), submission_of("lite-0a1b2c3d-40_1.log"), submission_of("notes.txt")
    ('lite-0a1b2c3d', 'lite-0a1b2c3d', None)
    """
    match = _OF_SUBMISSION.fullmatch(file)
    return None if match is None else match["name"]


@dataclass(frozen=True, slots=True)
class Ticket:
    """A run's latest job."""

    name: str
    """The job's, which no other job has: it is found by that while its number is not known."""
    index: int
    """Of its task in an array; -1 for a job of its own."""
    cluster: str
    """As Slurm calls itself; empty where it does not say."""
    user: str
    """Whose job it is: `squeue` is asked for theirs."""
    submitted: float
    """Seconds since the epoch."""
    after: int
    """The number of the run's latest attempt when it was submitted; 0 for a new run."""
    job: str = ""
    """Slurm's number, `123` or `123_4`; empty until sbatch has told it."""
    is_held: bool = False
    """Parked: Slurm keeps the job and does not start it until it is released."""
    closed: str = ""
    """Why the job will do nothing more; empty while the ticket is open."""
    requeued: int = 0
    """How often the run has ended in the job after a checkpoint, to go on in it later."""
    options: tuple[str, ...] = ()
    """sbatch's, for the next time."""
    data_home: str = ""
    """`--data-dir` of the launch; empty where it had none."""
    notify: str = ""
    launched_by: str = ""
    """The command line of the launch, for the run's provenance."""

    @property
    def is_open(self) -> bool:
        """Whether Slurm may still start the job."""
        return not self.closed

    @property
    def words(self) -> str:
        """The job, for people."""
        return f"job {self.job}" if self.job else f"a job named {self.name}"


def read_ticket(run: RunDirectory) -> Ticket | None:
    """The run's latest ticket; None for a run that Slurm never had, or where the file is damaged."""
    return read_record(run.ticket, Ticket)


def write_ticket(run: RunDirectory, ticket: Ticket) -> None:
    """Replace the ticket. Raises: OSError."""
    with locked(run.lock):
        write_record(run.ticket, ticket)


def change_ticket(run: RunDirectory, of: Ticket, change: Callable[[Ticket], Ticket]) -> Ticket | None:
    """Change a ticket, unless the run has another one by now; returns what it is then, None where it has.

    Raises:
        OSError: it cannot be written.
    """
    with locked(run.lock):
        found = read_ticket(run)
        if found is None or found.name != of.name:
            return None
        changed = change(found)
        if changed != found:
            write_record(run.ticket, changed)
        return changed


def number_ticket(run: RunDirectory, of: Ticket, job: str) -> None:
    """Write the job's number down, unless somebody has. Raises: OSError."""
    change_ticket(run, of, lambda ticket: replace(ticket, job=ticket.job or job))


def close_ticket(run: RunDirectory, of: Ticket, why: str) -> None:
    """Say that the job will do nothing more; the first word stands. Raises: OSError."""
    change_ticket(run, of, lambda ticket: ticket if ticket.closed else replace(ticket, closed=why or "ended"))
