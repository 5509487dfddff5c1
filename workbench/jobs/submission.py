"""Runs given to Slurm: their tickets, then one sbatch of a script that runs or resumes; 130 means again.

The run's directory is there before the job, and its ticket before the job's number: whoever is killed on the
way leaves a ticket by whose name the job is found, so that nothing is submitted twice.
"""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from workbench.jobs.cluster import Cluster, read_cluster
from workbench.jobs.slurm import (
    SlurmSaid,
    adopt,
    ask_about,
    attempts,
    cluster_facts,
    command,
    own_name,
    release,
    withdraw,
)
from workbench.jobs.start import (
    NOTIFY,
    Launched,
    check_launch,
    child_environment,
    devices_asked,
    ensure_resumable,
    new_run,
    python_module,
)
from workbench.recipe import Recipe
from workbench.runs.layout import RunDirectory
from workbench.runs.process import ensure_unattended
from workbench.runs.summary import RunSummary, summarise
from workbench.runs.sweeps import starting
from workbench.runs.ticket import SUBMISSIONS, Ticket, number_ticket, read_ticket, write_ticket
from workbench.support.atomic import atomic_write
from workbench.support.clean import slug
from workbench.support.errors import UserError

JOB = "workbench.jobs.slurm_job"
_ADVICE = "sinfo lists partitions; --partition, --time, --gpus and --sbatch say what to ask for"
_LONGEST_NAME = 40


@dataclass(frozen=True, slots=True)
class Submission:
    """How runs are given to Slurm."""

    cluster: Cluster
    data_home: Path | None = None
    notify: str = ""
    command_line: Sequence[str] = ()
    job: Sequence[str] = ()
    """What runs or resumes the run whose directory follows; petbench's own unless given."""


def submission_asked(
    typed: Mapping[str, object],
    *,
    data_home: Path | None,
    command_line: Sequence[str],
    notify: str | None = None,
) -> Submission:
    """How runs are given to Slurm by the user's file and what was typed over it, as for `read_cluster`.

    Args:
        notify: as for `launch`.

    Raises:
        UserError: what is asked for is wrong.
    """
    hook = os.environ.get(NOTIFY, "") if notify is None else notify
    return Submission(read_cluster(typed), data_home, hook, tuple(command_line))


def launch_on_slurm(recipe: Recipe, runs_home: Path, how: Submission) -> Launched:
    """Make a run's directory and give it to Slurm; returns at once.

    Raises:
        UserError: as `launch`, or Slurm refuses.
    """
    check_launch(recipe, runs_home, data_home=how.data_home, device=None)
    with starting(runs_home):
        run = new_run(recipe, runs_home)
        try:
            return Launched(run, 0, submit([run], how)[run].job)
        except UserError:
            if read_ticket(run) is None:
                shutil.rmtree(run.path, ignore_errors=True)
            raise


def resume_on_slurm(
    run: RunDirectory, how: Submission | None = None, *, told: Callable[[str], None] = lambda _: None
) -> Launched:
    """Release a run's job that is parked, or give the run to Slurm once more.

    Args:
        how: as it was the last time, unless given.
        told: as for `resume_run`.

    Raises:
        UserError: it is active or finished, or Slurm refuses.
    """
    with starting(run.path.parent):
        settle([summarise(run)])
        ticket = read_ticket(run)
        if ticket is not None and ticket.is_open and ticket.is_held and how is None:
            release(run, ticket)
            return Launched(run, 0, ticket.job)
        ensure_resumable(run)
        if ticket is not None and ticket.is_open:
            withdraw(run, ticket)
        if how is None:
            how = Submission(read_cluster()) if ticket is None else resubmission(ticket)
        ensure_unattended([run], told)
        return Launched(run, 0, submit([run], how)[run].job)


def settle(runs: Iterable[RunSummary]) -> None:
    """Bring open tickets in line with what Slurm has, as far as it answers. The caller holds `starting`.

    Raises:
        SlurmSaid: there are tickets without a number, and Slurm does not answer.
    """
    runs = list(runs)
    ask_about(runs)
    adopt(runs)


def submit(runs: Sequence[RunDirectory], how: Submission) -> dict[RunDirectory, Ticket]:
    """Give runs to Slurm: one as a job, several as an array, or as arrays one after the other where one may
    not have so many tasks. The caller holds `starting` of their runs directory.

    Raises:
        UserError: Slurm refuses, does not answer or is not here, or a directory cannot be written. What was
            submitted before that keeps its tickets.
    """
    most = max(1 if (asked := devices_asked(run)) == "all" else asked for run in runs)
    how = replace(how, cluster=how.cluster.for_devices(most))
    name, largest = cluster_facts()
    tickets: dict[RunDirectory, Ticket] = {}
    previous = ""
    for first in range(0, len(runs), largest):
        some = runs[first : first + largest]
        given = _submit_some(some, how, name, after=previous)
        tickets |= given
        previous = next(iter(given.values())).job.partition("_")[0]
    return tickets


def _submit_some(
    runs: Sequence[RunDirectory], how: Submission, cluster: str, *, after: str
) -> dict[RunDirectory, Ticket]:
    token = f"{slug(runs[0].slug)[:_LONGEST_NAME]}-{secrets.token_hex(4)}"
    home = runs[0].path.absolute().parent
    is_array = len(runs) > 1
    tickets = {
        run: Ticket(
            name=token,
            index=index if is_array else -1,
            cluster=cluster,
            user=own_name(),
            submitted=time.time(),
            after=attempts(run),
            options=how.cluster.options,
            data_home=str(how.data_home.absolute()) if how.data_home else "",
            notify=how.notify,
            launched_by=shlex.join(how.command_line),
        )
        for index, run in enumerate(runs)
    }
    before = {run: read_ticket(run) for run in runs}
    text = script(runs, how, name=token, after=after)
    try:
        (home / SUBMISSIONS).mkdir(exist_ok=True)
        atomic_write(home / SUBMISSIONS / f"{token}.sh", text)
        for run, ticket in tickets.items():
            write_ticket(run, ticket)
    except OSError as error:
        _take_back(before)
        raise UserError(
            f"it cannot be submitted: {error.strerror or error}", where=str(home), hint="free some space"
        ) from error
    try:
        number = command("sbatch", "--parsable", stdin=text).strip().partition(";")[0]
        if not number.isdecimal():
            raise SlurmSaid(f"sbatch answered {number[:60]!r}, which is no job's number")
    except SlurmSaid as error:
        if "did not answer" in error.what:  # it may have the job all the same: the tickets' name tells, later
            raise SlurmSaid(
                error.what, hint="petbench queue tells whether it has the job; the same command goes on then"
            ) from error
        _take_back(before)
        raise SlurmSaid(error.what, hint=error.hint or _ADVICE) from error
    numbered = {}
    for run, ticket in tickets.items():
        job = f"{number}_{ticket.index}" if is_array else number
        with suppress(OSError):  # it is found by its name
            number_ticket(run, ticket, job)
        numbered[run] = replace(ticket, job=job)
    return numbered


def script(runs: Sequence[RunDirectory], how: Submission, *, name: str, after: str = "") -> str:
    """What sbatch is given."""
    return "\n".join(_script_lines(runs, how, name, after)) + "\n"


def _script_lines(runs: Sequence[RunDirectory], how: Submission, name: str, after: str) -> Iterator[str]:
    log = runs[0].path.absolute().parent / SUBMISSIONS / f"{name}-%{'A_%a' if len(runs) > 1 else 'j'}.log"
    yield "#!/bin/bash"
    yield f"#SBATCH --job-name={name}"
    yield f'#SBATCH --output="{log}"'
    yield "#SBATCH --open-mode=append"
    yield "#SBATCH --requeue"
    if len(runs) > 1:
        most = f"%{how.cluster.max_parallel}" if how.cluster.max_parallel else ""
        yield f"#SBATCH --array=0-{len(runs) - 1}{most}"
    if after:  # the array before it, so that no more run at a time than asked
        yield f"#SBATCH --dependency=afterany:{after}"
    yield from (f"#SBATCH {option}" for option in how.cluster.options)
    yield "# Run or resume; 130 means again. What becomes of a run stands in its own directory."
    yield from (f"export {key}={shlex.quote(value)}" for key, value in sorted(_exported().items()))
    yield "runs=("
    yield from (f"    {shlex.quote(str(run.path.absolute()))}" for run in runs)
    yield ")"
    yield "run=${runs[${SLURM_ARRAY_TASK_ID:-0}]}"
    yield "job=$SLURM_JOB_ID"
    # The last task of an array has the number of the whole: without its own, all would go again.
    yield 'if [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID; fi'
    yield "export PETBENCH_SLURM_JOB=$job"
    # The step hears Slurm's signals itself, and checkpoints; this shell has to outlive it.
    yield "trap : TERM INT HUP USR1 USR2"
    words = how.job or python_module(JOB)
    # An array's tasks have one thread a core that they were given; srun has to be told, since Slurm 22.05.
    yield (
        "srun --nodes=1 --ntasks=1 ${SLURM_CPUS_PER_TASK:+--cpus-per-task=$SLURM_CPUS_PER_TASK} "
        f'{shlex.join(words)} "$run" >> "$run/run.log" 2>&1'
    )
    yield "code=$?"
    yield 'if [ "$code" -eq 130 ]; then scontrol requeue "$job"; fi'
    yield 'exit "$code"'


def _exported() -> Mapping[str, str]:
    """What a job needs of this environment, also where Slurm passes none on."""
    return {
        name: value
        for name, value in child_environment().items()
        if name == "PYTHONPATH" or (name.startswith("PETBENCH_") and not name.startswith("PETBENCH_SLURM"))
    }


def _take_back(before: Mapping[RunDirectory, Ticket | None]) -> None:
    """The tickets as they were before: nothing was submitted."""
    for run, ticket in before.items():
        with suppress(OSError):
            if ticket is None:
                run.ticket.unlink(missing_ok=True)
            else:
                write_ticket(run, ticket)


def resubmission(ticket: Ticket) -> Submission:
    """As a run was submitted the last time."""
    return Submission(
        Cluster(lines=ticket.options),
        Path(ticket.data_home) if ticket.data_home else None,
        ticket.notify,
        shlex.split(ticket.launched_by),
    )
