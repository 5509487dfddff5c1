"""Who runs a run, and how it ended: `process.json`, `heartbeat` and `exit.json`.

A process is known by boot id, pid and start ticks together, so a pid that the kernel gave to someone else,
or a machine that was started anew, is never taken for the run. An attempt in the background belongs to its
supervisor first, while it waits for a device and starts the trainer, then to the trainer.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass, replace
from typing import Literal

from workbench.runs.layout import RunDirectory
from workbench.support.errors import UserError
from workbench.support.identity import ProcessId, boot_id, is_running, process_id
from workbench.support.locks import locked
from workbench.support.records import read_record, write_record

Role = Literal["waiting", "starting", "trainer"]
"""A supervisor that waits for a device, one that starts its trainer, or a trainer."""


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """The process of a run's latest attempt."""

    boot_id: str
    pid: int
    start_ticks: int
    """Clock ticks from boot to the process's start (proc(5), field 22)."""
    attempt: int
    """1 for the first start, one more for every resume."""
    host: str
    device: str
    """What it computes on, or waits for."""
    started: float
    """Seconds since the epoch."""
    role: Role = "trainer"
    supervisor_pid: int = 0
    """Of a trainer in the background; 0 in the foreground."""
    supervisor_ticks: int = 0

    @property
    def identity(self) -> ProcessId:
        """The process itself."""
        return ProcessId(self.boot_id, self.pid, self.start_ticks)

    @property
    def supervisor(self) -> ProcessId | None:
        """The process that watches over this attempt; None in the foreground."""
        if self.role != "trainer":
            return self.identity
        if not self.supervisor_pid:
            return None
        return ProcessId(self.boot_id, self.supervisor_pid, self.supervisor_ticks)


@dataclass(frozen=True, slots=True)
class ExitRecord:
    """How an attempt ended."""

    attempt: int
    code: int
    signal: int | None
    reason: str
    ended: float
    """Seconds since the epoch."""


def write_process(
    run: RunDirectory, device: str, *, pid: int | None = None, role: Role = "trainer"
) -> ProcessRecord:
    """Claim `run` for a new attempt of process `pid` (this one unless given).

    Raises:
        UserError: another process is running it.
        ProcessLookupError: no process has this pid.
    """
    owner = process_id(pid)
    if owner is None:
        raise ProcessLookupError(f"no process {pid}")
    with locked(run.lock):
        previous, ended = read_process(run), read_exit(run)
        over = previous is None or (ended is not None and ended.attempt >= previous.attempt)
        if previous is not None and not over and previous.pid != owner.pid and is_attended(previous):
            raise UserError(
                "it waits in the queue already"
                if previous.role == "waiting"
                else f"process {previous.pid} is still running it",
                where=run.id,
                hint=f"petbench stop {run.handle} "
                + ("takes it out" if previous.role == "waiting" else "stops it after a checkpoint"),
            )
        attempt = 1 + max(previous.attempt if previous else 0, ended.attempt if ended else 0)
        record = _record(owner, attempt, device, role)
        write_record(run.process, record)
    beat(run)
    return record


def note_start(run: RunDirectory, claimed: ProcessRecord, device: str) -> ProcessRecord:
    """Record that the supervisor of `claimed` has `device` and starts its trainer. Raises: OSError."""
    record = replace(claimed, role="starting", device=device, started=time.time())
    with locked(run.lock):
        write_record(run.process, record)
    beat(run)
    return record


def join_attempt(run: RunDirectory, attempt: int) -> ProcessRecord:
    """Make this process the trainer of the attempt that its supervisor claimed.

    Raises:
        UserError: another process has claimed the run since.
    """
    with locked(run.lock):
        claimed = read_process(run)
        if claimed is None or claimed.attempt != attempt or claimed.pid != os.getppid():
            raise UserError(f"attempt {attempt} is not this process's any more", where=run.id)
        me = process_id()
        assert me is not None  # this process runs
        record = replace(
            _record(me, attempt, claimed.device, "trainer"),
            supervisor_pid=claimed.pid,
            supervisor_ticks=claimed.start_ticks,
        )
        write_record(run.process, record)
    beat(run)
    return record


def read_process(run: RunDirectory) -> ProcessRecord | None:
    """The latest attempt's process; None where none was recorded or the file is damaged."""
    return read_record(run.process, ProcessRecord)


def is_alive(process: ProcessRecord) -> bool:
    """Whether exactly this process runs on this machine: same boot, pid and start; a zombie does not."""
    return is_running(process.identity)


def is_attended(process: ProcessRecord) -> bool:
    """Whether the process or its supervisor, which has yet to say how it ended, is alive."""
    supervisor = process.supervisor
    return is_alive(process) or (supervisor is not None and is_running(supervisor))


def is_local(process: ProcessRecord) -> bool:
    """Whether the process was started on this machine, so that `is_alive` can tell."""
    return process.host == socket.gethostname()


def beat(run: RunDirectory) -> None:
    """Touch the heartbeat: the batch loop is moving."""
    run.heartbeat.touch()


def write_exit(
    run: RunDirectory,
    *,
    code: int,
    reason: str = "",
    signal: int | None = None,
    attempt: int | None = None,
) -> ExitRecord:
    """Record how an attempt ended, the latest unless given.

    Args:
        code: the exit code; 0 done, 1 failed, 2 wrong input, 130 interrupted.
        reason: one line for a person.
        signal: number of the signal that ended it, if one did.
    """
    if attempt is None:
        process = read_process(run)
        attempt = process.attempt if process else 1
    record = ExitRecord(attempt=attempt, code=code, signal=signal, reason=reason, ended=time.time())
    write_record(run.exit, record)
    return record


def read_exit(run: RunDirectory) -> ExitRecord | None:
    """How the latest attempt that ended did so; None where none has or the file is damaged."""
    return read_record(run.exit, ExitRecord)


def _record(owner: ProcessId, attempt: int, device: str, role: Role) -> ProcessRecord:
    return ProcessRecord(
        boot_id=boot_id(),
        pid=owner.pid,
        start_ticks=owner.start_ticks,
        attempt=attempt,
        host=socket.gethostname(),
        device=device,
        started=time.time(),
        role=role,
    )
