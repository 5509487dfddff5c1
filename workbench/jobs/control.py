"""What a front end may ask of a run that is under way: stop, pause, leave the queue."""

from __future__ import annotations

import signal

from workbench.runs.control import GRACE_SECONDS, Wanted, read_request, write_control
from workbench.runs.layout import RunDirectory
from workbench.runs.process import ProcessRecord, is_local, is_petbench_of, no_petbench, read_process
from workbench.runs.status import RunStatus, status_of
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.identity import ProcessId, is_running, send_signal


def stop_run(run: RunDirectory, *, grace_seconds: float = GRACE_SECONDS) -> None:
    """Ask a run to checkpoint at the end of its batch and end; one that waits leaves the queue.

    Returns at once. In the background its supervisor kills it if it does not end within the grace; asking
    again changes the grace. A run in the foreground is asked once and never killed. One of another machine
    finds the wish in the directory, within seconds.

    Raises:
        UserError: it is not active, or it cannot be reached.
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
    # One of another machine that seems lost may live by another clock: the wish waits for it, and harms none.
    may_live = process is not None and status in (RunStatus.SILENT, RunStatus.LOST) and not is_local(process)
    if process is not None and (status.is_active or status is RunStatus.LOST):
        _refuse_strangers(run, process)
    if process is None or not (status.is_active or may_live):
        raise UserError(f"it is not running: it is {status.value}", where=run.id, hint=_advice(run, status))
    asked_before = read_request(run, process.attempt) is not None
    try:
        write_control(run, wanted, process.attempt, grace_seconds=grace_seconds)
    except OSError as error:
        raise UserError(
            f"it cannot be asked: {error.strerror or error}", where=clean(run.control), hint="free some space"
        ) from error
    # A second SIGTERM would end a trainer in the foreground at once, without a checkpoint.
    if is_local(process) and not (process.supervisor is None and asked_before):
        _signal(run, process, kill=grace_seconds <= 0)


def _refuse_strangers(run: RunDirectory, process: ProcessRecord) -> None:
    """A file that was changed, or made elsewhere, may name any process; that one is left alone."""
    if not is_local(process):
        return
    for one in {process.identity, process.supervisor or process.identity}:
        try:
            if not is_running(one) or is_petbench_of(run, one):
                continue
        except PermissionError as error:
            raise _of_another_user(run, one) from error
        raise no_petbench(run, one.pid)


def _of_another_user(run: RunDirectory, process: ProcessId) -> UserError:
    return UserError(
        f"process {process.pid} belongs to another user", where=run.id, hint="ask them to stop it"
    )


def _signal(run: RunDirectory, process: ProcessRecord, *, kill: bool) -> None:
    """Wake whoever is to act: the supervisor, else the trainer in the foreground.

    A trainer whose supervisor is gone ends by itself; one that hangs is killed if no grace is given.
    """

    def is_ours(one: ProcessId) -> bool:
        return is_petbench_of(run, one)

    try:
        if process.supervisor is None:
            send_signal(process.identity, signal.SIGTERM, if_=is_ours)
        elif not send_signal(process.supervisor, signal.SIGTERM, if_=is_ours) and kill:
            send_signal(process.identity, signal.SIGKILL, if_=is_ours)
    except PermissionError as error:
        raise _of_another_user(run, process.identity) from error


def _advice(run: RunDirectory, status: RunStatus) -> str:
    if status is RunStatus.FINISHED:
        return f"petbench runs show {run.handle}"
    return f"petbench resume {run.handle} goes on with it"
