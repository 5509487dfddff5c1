"""What state a run is in, derived from its files and from the process table, never stored."""

from __future__ import annotations

import signal
import time
from enum import StrEnum

from workbench.runs.layout import RunDirectory
from workbench.runs.process import ExitRecord, ProcessRecord, is_alive, is_local, read_exit, read_process

STALE_SECONDS = 60.0
INTERRUPTED = 130
_STOPPING = (signal.SIGINT, signal.SIGTERM)


class RunStatus(StrEnum):
    """The states of a run."""

    LIVE = "live"
    STALLED = "stalled"
    """Alive, but its heartbeat is older than a minute."""
    LOST = "lost"
    """Dead without a word: killed, or the machine went down; it can be resumed."""
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"
    """Interrupted after a checkpoint; it can be resumed."""

    @property
    def is_running(self) -> bool:
        """Whether a process works on the run, moving or not."""
        return self in (RunStatus.LIVE, RunStatus.STALLED)


def status_of(run: RunDirectory) -> RunStatus:
    """The state of `run` at this moment."""
    return derive_status(run, read_process(run), read_exit(run))


def derive_status(run: RunDirectory, process: ProcessRecord | None, ended: ExitRecord | None) -> RunStatus:
    """As `status_of`, from records already read.

    An exit counts only for the attempt it belongs to: a resumed run is not what its earlier attempt was. A
    run started on another machine that shares the directory is live while its heartbeat is fresh.
    """
    if ended is not None and (process is None or ended.attempt >= process.attempt):
        return _status_after(ended)
    if process is None:
        return RunStatus.LOST
    age = _heartbeat_age(run, process)
    if not is_alive(process):
        return RunStatus.LIVE if not is_local(process) and age <= STALE_SECONDS else RunStatus.LOST
    return RunStatus.LIVE if age <= STALE_SECONDS else RunStatus.STALLED


def _status_after(ended: ExitRecord) -> RunStatus:
    if ended.code == 0:
        return RunStatus.FINISHED
    if ended.code == INTERRUPTED or ended.signal in _STOPPING:
        return RunStatus.STOPPED
    return RunStatus.FAILED


def _heartbeat_age(run: RunDirectory, process: ProcessRecord) -> float:
    """Seconds since the last sign of life."""
    try:
        last = run.heartbeat.stat().st_mtime
    except OSError:
        last = process.started
    return time.time() - max(last, process.started)
