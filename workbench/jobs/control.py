"""What a front end may ask of a run that is under way: stop, pause, leave the queue."""

from __future__ import annotations

import signal

from workbench.runs.control import GRACE_SECONDS, Wanted, read_request, write_control
from workbench.runs.layout import RunDirectory
from workbench.runs.process import ProcessRecord, is_local, read_process
from workbench.runs.status import RunStatus, status_of
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.identity import send_signal


def stop_run(run: RunDirectory, *, grace_seconds: float = GRACE_SECONDS) -> None:
    """Ask a run to checkpoint at the end of its batch and end; one that waits leaves the queue.

    Returns at once. In the background its supervisor kills it if it does not end within the grace; asking
    again changes the grace. A run in the foreground is asked once and never killed.

    Raises:
        UserError: it is not active, it runs in the foreground of another machine, or it cannot be reached.
    """
    _ask(run, "stop", grace_seconds)


def pause_run(run: RunDirectory, *, grace_seconds: float = GRACE_SECONDS) -> None:
    """Park a run: as `stop_run`, but it says "paused"; its device is free until it is resumed.

    Raises:
        UserError: as `stop_run`.
    """
    _ask(run, "pause", grace_seconds)


def cancel_run(run: RunDirectory) -> None:
    """Take a run that waits out of the queue.

    Raises:
        UserError: it does not wait.
    """
    status = status_of(run)
    if status is not RunStatus.QUEUED:
        hint = (
            f"petbench stop {run.handle} ends it" if status.is_running else "petbench queue lists what waits"
        )
        raise UserError(f"it does not wait in the queue: it is {status.value}", where=run.id, hint=hint)
    _ask(run, "stop", GRACE_SECONDS)


def is_background(run: RunDirectory) -> bool:
    """Whether a supervisor watches over the run's latest attempt."""
    process = read_process(run)
    return process is not None and process.supervisor is not None


def _ask(run: RunDirectory, wanted: Wanted, grace_seconds: float) -> None:
    status = status_of(run)
    process = read_process(run)
    if process is None or not status.is_active:
        raise UserError(f"it is not running: it is {status.value}", where=run.id, hint=_advice(run, status))
    asked_before = read_request(run, process.attempt) is not None
    try:
        write_control(run, wanted, process.attempt, grace_seconds=grace_seconds)
    except OSError as error:
        raise UserError(
            f"it cannot be asked: {error.strerror or error}", where=clean(run.control), hint="free some space"
        ) from error
    if process.supervisor is None and not is_local(process):
        raise UserError(
            f"it runs in the foreground of {clean(process.host)}",
            where=run.id,
            hint="stop it there, with Ctrl-C",
        )
    # A second SIGTERM would end a trainer in the foreground at once, without a checkpoint.
    if is_local(process) and not (process.supervisor is None and asked_before):
        _signal(run, process, kill=grace_seconds <= 0)


def _signal(run: RunDirectory, process: ProcessRecord, *, kill: bool) -> None:
    """Wake whoever is to act: the supervisor, else the trainer in the foreground.

    A trainer whose supervisor is gone ends by itself; one that hangs is killed if no grace is given.
    """
    try:
        if process.supervisor is None:
            send_signal(process.identity, signal.SIGTERM)
        elif not send_signal(process.supervisor, signal.SIGTERM) and kill:
            send_signal(process.identity, signal.SIGKILL)
    except PermissionError as error:
        raise UserError(
            f"process {process.pid} belongs to another user", where=run.id, hint="ask them to stop it"
        ) from error


def _advice(run: RunDirectory, status: RunStatus) -> str:
    if status is RunStatus.FINISHED:
        return f"petbench runs show {run.handle}"
    return f"petbench resume {run.handle} goes on with it"
