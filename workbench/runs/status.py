"""What state a run is in, derived from its files and from the process table, never stored."""

from __future__ import annotations

import signal
import time
from enum import StrEnum

from workbench.runs.control import read_request
from workbench.runs.layout import RunDirectory
from workbench.runs.process import (
    ExitRecord,
    ProcessRecord,
    is_alive,
    is_attended,
    is_local,
    read_exit,
    read_process,
)
from workbench.support.identity import is_running

STALE_SECONDS = 60.0
INTERRUPTED = 130
_STOPPING = (signal.SIGINT, signal.SIGTERM)


class RunStatus(StrEnum):
    """The states of a run."""

    QUEUED = "queued"
    """Its supervisor waits for a device."""
    STARTING = "starting"
    """Its supervisor has a device; the trainer is loading."""
    LIVE = "live"
    STALLED = "stalled"
    """Alive, but its heartbeat is older than a minute."""
    STOPPING = "stopping"
    """Asked to stop or pause: it ends its batch and writes a checkpoint."""
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
    return derive_status(run, read_process(run), read_exit(run))


def derive_status(run: RunDirectory, process: ProcessRecord | None, ended: ExitRecord | None) -> RunStatus:
    """As `status_of`, from records already read.

    An exit counts only for the attempt it belongs to: a resumed run is not what its earlier attempt was. A
    run started on another machine that shares the directory is alive while its heartbeat is fresh.
    """
    if ended is not None and (process is None or ended.attempt >= process.attempt):
        return _status_after(ended)
    if process is None:
        return RunStatus.LOST
    fresh = time.time() - last_sign(run, process) <= STALE_SECONDS
    if not is_local(process):
        return _status_of_living(run, process, fresh) if fresh else RunStatus.LOST
    if is_alive(process):
        return _status_of_living(run, process, fresh)
    # A supervisor outlives its trainer for the moment in which it writes down how that ended.
    return RunStatus.STOPPING if is_attended(process) else RunStatus.LOST


def _status_of_living(run: RunDirectory, process: ProcessRecord, fresh: bool) -> RunStatus:
    if read_request(run, process.attempt) is not None or _is_orphan(process):
        return RunStatus.STOPPING
    if process.role == "waiting":
        return RunStatus.QUEUED
    if process.role == "starting":
        return RunStatus.STARTING
    return RunStatus.LIVE if fresh else RunStatus.STALLED


def _is_orphan(process: ProcessRecord) -> bool:
    """A trainer whose supervisor is gone: it writes a checkpoint and ends."""
    supervisor = process.supervisor
    return supervisor is not None and is_local(process) and not is_running(supervisor)


def _status_after(ended: ExitRecord) -> RunStatus:
    if ended.code == 0:
        return RunStatus.FINISHED
    if ended.code == INTERRUPTED or ended.signal in _STOPPING:
        return RunStatus.STOPPED
    return RunStatus.FAILED


def last_sign(run: RunDirectory, process: ProcessRecord) -> float:
    """When the latest attempt last gave a sign of life, in seconds since the epoch."""
    try:
        beaten = run.heartbeat.stat().st_mtime
    except OSError:
        return process.started
    return max(beaten, process.started)
