"""What asks a process to stop, pause or leave the queue: a front end, signals, its owner's end."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from types import FrameType

from workbench.jobs.slurm import SlurmSaid, cancel, hold, withdraw
from workbench.runs.attempt_control import GRACE_SECONDS, STOP_SIGNALS, Wanted, read_request, write_control
from workbench.runs.layout import RunDirectory
from workbench.runs.leftovers import ensure_movable, move_to_trash
from workbench.runs.process import ProcessRecord, is_local, is_petbench_of, no_petbench, read_process
from workbench.runs.status import RunStatus, status_of
from workbench.runs.ticket import read_ticket
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


def discard_runs(
    runs: Sequence[RunDirectory],
    told: Callable[[str], None] = lambda _: None,
    cancelled: Callable[[str], None] = lambda _: None,
) -> list[RunDirectory]:
    """As `move_to_trash`; a job that Slurm still has for one of the runs, such as a paused one, is cancelled.

    Args:
        cancelled: hears of each job that was.

    Raises:
        UserError: as `move_to_trash`, or Slurm refuses.
    """
    runs = list(dict.fromkeys(runs))
    ensure_movable(runs, told)
    for run in runs:
        ticket = read_ticket(run)
        if ticket is not None and ticket.is_open:
            withdraw(run, ticket)
            cancelled(f"Slurm's {clean(ticket.words)} for {clean(run.slug)} is cancelled")
    return move_to_trash(runs, told)


def is_background(run: RunDirectory) -> bool:
    """Whether a supervisor watches over the run's latest attempt."""
    process = read_process(run)
    return process is not None and process.supervisor is not None


def _ask(run: RunDirectory, wanted: Wanted, grace_seconds: float) -> None:
    if _told_slurm(run, wanted):
        return
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
    ticket = read_ticket(run)
    if grace_seconds <= 0 and ticket is not None and ticket.is_open:
        with suppress(SlurmSaid):  # its supervisor hears of it all the same, if it lives
            cancel(ticket)
    # A second SIGTERM would end a trainer in the foreground at once, without a checkpoint.
    if is_local(process) and not (process.supervisor is None and asked_before):
        _signal(run, process, kill=grace_seconds <= 0)


def _told_slurm(run: RunDirectory, wanted: Wanted) -> bool:
    """Whether a wish about a run that Slurm keeps waiting, or parked, was seen to. Raises: UserError."""
    ticket = read_ticket(run)
    if ticket is None or not ticket.is_open:
        return False
    status = status_of(run)
    if status is RunStatus.QUEUED and wanted == "pause":
        hold(run, ticket)
    elif status is RunStatus.QUEUED or (ticket.is_held and not status.is_running and wanted == "stop"):
        withdraw(run, ticket)
    else:
        return False
    return not status_of(run).is_running  # it may have begun this very moment


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


INSISTENT = (signal.SIGINT, signal.SIGTERM)
"""Only a person's second Ctrl-C or a second SIGTERM means more than the first: a terminal that closes may
send two SIGHUPs, and a cluster warns by SIGUSR1 before it sends SIGTERM."""
_PATIENCE = 3
_BUT_HANGUP = tuple(number for number in STOP_SIGNALS if number != signal.SIGHUP)


def is_heard(number: signal.Signals) -> bool:
    """Whether a process in the foreground listens to a signal: an ignored one stays so, as nohup means it.

    SIGINT is heard also where a shell that put petbench in the background has it ignored.
    """
    return number in INSISTENT or signal.getsignal(number) is not signal.SIG_IGN


class Signals:
    """A process's ears: it sleeps until a signal comes or a time is over, and misses none.

    In the main thread only.
    """

    def __init__(self, asking: Collection[signal.Signals] = _BUT_HANGUP, *, is_patient: bool = True) -> None:
        """Begin to listen.

        Args:
            asking: those that ask to stop; SIGCHLD only wakes, and a SIGHUP that does not ask is ignored.
            is_patient: False: a person's third wish since the last one that was heeded raises
                KeyboardInterrupt, wherever the process is stuck.
        """
        self.asked = 0
        """How often it was asked to stop; only a person insists, so other signals count once in all."""
        self.heeded = 0
        """To how many of these wishes the process has answered."""
        self._is_patient = is_patient
        self._reader, self._writer = os.pipe()
        for end in (self._reader, self._writer):
            os.set_blocking(end, False)
        heard = (*asking, signal.SIGCHLD)
        self._before = {number: signal.signal(number, self._note) for number in heard}
        if signal.SIGHUP not in heard:
            self._before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._waker = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        # Those that came before the handlers were there are heard now.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, heard)

    def sleep(self, seconds: float, *sources: int) -> list[int]:
        """Until a signal comes or one of `sources` (descriptors) can be read, at most so long: which can."""
        readable, _, _ = select.select([self._reader, *sources], [], [], max(0.0, seconds))
        if self._reader in readable:
            os.read(self._reader, 4096)
        return [one for one in readable if one != self._reader]

    def close(self) -> None:
        """Hear no more: signals mean again what they meant before."""
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        for end in (self._reader, self._writer):
            os.close(end)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number in INSISTENT:
            self.asked += 1
            if not self._is_patient and self.asked >= self.heeded + _PATIENCE:
                raise KeyboardInterrupt
        elif number != signal.SIGCHLD:
            self.asked = max(1, self.asked)


class Lifeline:
    """A trainer's tie to its supervisor: a pipe that closes when the supervisor dies, however it dies.

    A supervisor that was killed can neither free the device in time nor say how the run ended. Its trainer
    therefore takes its death for a SIGTERM: it writes a checkpoint and ends, and leaves no `exit.json`, so
    that the run shows as lost and is resumed by whoever looks after it.
    """

    def __init__(self, descriptor: int, attempt: int, number: signal.Signals = signal.SIGTERM) -> None:
        """Begin with `watch`.

        Args:
            descriptor: the reading end; only the supervisor has the other one.
            number: what to take its death for; SIGKILL by a rank, which has nothing to save.
        """
        self.attempt = attempt
        self._number = number
        self.cut = False
        """Whether the supervisor is gone."""
        self._descriptor = descriptor

    def watch(self) -> None:
        """Wait for the supervisor's death in a thread that holds nothing up."""
        os.set_inheritable(self._descriptor, False)
        threading.Thread(target=self._wait, name="lifeline", daemon=True).start()

    def _wait(self) -> None:
        try:
            while os.read(self._descriptor, 1):
                pass
        except OSError:
            return  # no pipe after all: the trainer was started by hand
        self.cut = True
        os.kill(os.getpid(), self._number)
