"""What state a run is in, derived from its files and from the process table, never stored."""

from __future__ import annotations

import time
from enum import StrEnum

from workbench.runs.attempt_control import STOP_SIGNALS, read_request
from workbench.runs.layout import RunDirectory
from workbench.runs.process import (
    STALE_SECONDS,
    ExitRecord,
    ProcessRecord,
    is_at_work,
    is_local,
    is_over,
    may_differ,
    read_exit,
    read_process,
    seconds_still,
)
from workbench.runs.ticket import Ticket, read_ticket
from workbench.support.identity import is_running

INTERRUPTED = 130


class RunStatus(StrEnum):
    """The states of a run."""

    QUEUED = "queued"
    """Its supervisor waits for a device, or Slurm has its job and has not started it."""
    STARTING = "starting"
    """Its supervisor has a device; the trainer is loading."""
    LIVE = "live"
    STALLED = "stalled"
    """Alive, but its heartbeat is older than a minute."""
    STOPPING = "stopping"
    """Asked to stop or pause: it ends its batch, writes a checkpoint and lets go of its device."""
    SILENT = "silent"
    """Still at the first look, on a machine whose clock may differ: alive or lost."""
    LOST = "lost"
    """Dead without a word: killed, or the machine went down; it can be resumed."""
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"
    """Interrupted after a checkpoint; it can be resumed."""

    @property
    def is_running(self) -> bool:
        """Whether a process works on the run, moving or not."""
        return self in (RunStatus.LIVE, RunStatus.STALLED, RunStatus.STARTING, RunStatus.STOPPING)

    @property
    def is_active(self) -> bool:
        """Whether the run is running or waits its turn to."""
        return self.is_running or self is RunStatus.QUEUED


def status_of(run: RunDirectory) -> RunStatus:
    """The state of `run` at this moment."""
    return derive_status(run, read_process(run), read_exit(run), read_ticket(run))


def derive_status(
    run: RunDirectory,
    process: ProcessRecord | None,
    ended: ExitRecord | None,
    ticket: Ticket | None,
) -> RunStatus:
    """As `status_of`, from records already read.

    An exit counts only for the attempt it belongs to: a resumed run is not what its earlier attempt was. A
    run of another machine that shares the directory is alive while its times move. Of a run that Slurm has a
    job for and that nobody works on, the job is yet to begin, or to go on.
    """
    status = _status_by_process(run, process, ended)
    if ticket is None or not ticket.is_open or status.is_active or status is RunStatus.SILENT:
        return status
    latest = max(process.attempt if process else 0, ended.attempt if ended else 0)
    if latest > ticket.after and status not in (RunStatus.STOPPED, RunStatus.LOST):
        return status
    return RunStatus.STOPPED if ticket.is_held else RunStatus.QUEUED


def _status_by_process(
    run: RunDirectory, process: ProcessRecord | None, ended: ExitRecord | None
) -> RunStatus:
    if process is None:
        return RunStatus.LOST if ended is None else _status_after(ended)
    if ended is not None and is_over(process, ended):
        after = _status_after(ended)
        # A trainer in the background has its device until its process is gone, which may take seconds.
        is_behind = process.supervisor is not None and process.role == "trainer" and is_local(process)
        holds_device = is_behind and is_at_work(run, process.identity)
        return RunStatus.STOPPING if after is RunStatus.STOPPED and holds_device else after
    if not is_local(process):
        if seconds_still(run) > STALE_SECONDS:
            return RunStatus.SILENT if may_differ(run, process) else RunStatus.LOST
        return _status_of_living(run, process, _is_moving(run, process))
    if is_at_work(run, process.identity):
        return _status_of_living(run, process, _is_moving(run, process))
    # A supervisor outlives its trainer for the moment in which it writes down how that ended.
    supervisor = process.supervisor
    return RunStatus.STOPPING if supervisor and is_at_work(run, supervisor) else RunStatus.LOST


def _status_of_living(run: RunDirectory, process: ProcessRecord, is_moving: bool) -> RunStatus:
    if read_request(run, process.attempt) is not None or _is_orphan(run, process):
        return RunStatus.STOPPING
    if process.role == "waiting":
        return RunStatus.QUEUED
    if process.role == "starting":
        return RunStatus.STARTING
    return RunStatus.LIVE if is_moving else RunStatus.STALLED


def _is_moving(run: RunDirectory, process: ProcessRecord) -> bool:
    """Whether the batch loop is: its heartbeat is no older than a minute, by the clock or by the process.

    The process shows itself in files of the same disk, so that no two clocks are compared; one that cannot
    even do that is told by this machine's clock.
    """
    try:
        beaten = run.heartbeat.lstat().st_mtime
        shown = run.process.lstat().st_mtime
    except OSError:
        beaten = shown = process.started
    if shown - beaten > STALE_SECONDS:
        return False
    return not is_local(process) or time.time() - max(shown, beaten) <= STALE_SECONDS


def _is_orphan(run: RunDirectory, process: ProcessRecord) -> bool:
    """A trainer whose supervisor or sweep is gone: it writes a checkpoint and ends."""
    if not is_local(process):
        return False
    supervisor, sweep = process.supervisor, process.sweep
    if sweep is not None and not is_running(sweep):
        return True
    return supervisor is not None and not is_at_work(run, supervisor)


def _status_after(ended: ExitRecord) -> RunStatus:
    if ended.code == 0:
        return RunStatus.FINISHED
    if ended.code == INTERRUPTED or ended.signal in STOP_SIGNALS:
        return RunStatus.STOPPED
    return RunStatus.FAILED


def last_sign(run: RunDirectory, process: ProcessRecord) -> float:
    """When the latest attempt last gave a sign of life, in seconds since the epoch."""
    try:
        beaten = run.heartbeat.lstat().st_mtime
    except OSError:
        return process.started
    return max(beaten, process.started)
