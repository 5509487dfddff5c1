"""Who runs a run, and how it ended: `process.json`, `heartbeat` and `exit.json`.

A process is known by boot id, pid and start ticks together, so a pid that the kernel gave to someone else,
or a machine that was started anew, is never taken for the run.
"""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil
from filelock import FileLock
from pydantic import TypeAdapter, ValidationError

from workbench.runs.layout import RunDirectory
from workbench.support.atomic import atomic_write
from workbench.support.errors import UserError

_DEAD_STATES = frozenset("ZXx")  # zombie and dead, proc(5)


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
    started: float
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class ExitRecord:
    """How an attempt ended."""

    attempt: int
    code: int
    signal: int | None
    reason: str
    ended: float
    """Seconds since the epoch."""


def write_process(run: RunDirectory, device: str, *, pid: int | None = None) -> ProcessRecord:
    """Claim `run` for a new attempt of process `pid` (this one unless given).

    Raises:
        UserError: another process is running it.
        ProcessLookupError: no process has this pid.
    """
    owner = os.getpid() if pid is None else pid
    ticks = _start_ticks(owner)
    if ticks is None:
        raise ProcessLookupError(f"no process {owner}")
    with FileLock(run.lock):
        previous, ended = read_process(run), read_exit(run)
        over = previous is None or (ended is not None and ended.attempt >= previous.attempt)
        if previous is not None and not over and previous.pid != owner and is_alive(previous):
            raise UserError(
                f"process {previous.pid} is still running it",
                where=run.id,
                hint=f"kill -INT {previous.pid} stops it after a checkpoint",
            )
        attempt = 1 + max(previous.attempt if previous else 0, ended.attempt if ended else 0)
        record = ProcessRecord(
            boot_id=_boot_id(),
            pid=owner,
            start_ticks=ticks,
            attempt=attempt,
            host=socket.gethostname(),
            device=device,
            started=time.time(),
        )
        _write_record(run.process, record)
    beat(run)
    return record


def read_process(run: RunDirectory) -> ProcessRecord | None:
    """The latest attempt's process; None where none was recorded or the file is damaged."""
    return _read_record(run.process, _PROCESS)


def is_alive(process: ProcessRecord) -> bool:
    """Whether exactly this process runs on this machine: same boot, pid and start; a zombie does not."""
    return process.boot_id == _boot_id() and _start_ticks(process.pid) == process.start_ticks


def is_local(process: ProcessRecord) -> bool:
    """Whether the process was started on this machine, so that `is_alive` can tell."""
    return process.host == socket.gethostname()


def beat(run: RunDirectory) -> None:
    """Touch the heartbeat: the batch loop is moving."""
    run.heartbeat.touch()


def write_exit(run: RunDirectory, *, code: int, reason: str = "", signal: int | None = None) -> ExitRecord:
    """Record how the latest attempt ended.

    Args:
        code: the exit code; 0 done, 1 failed, 2 wrong input, 130 interrupted.
        reason: one line for a person.
        signal: number of the signal that ended it, if one did.
    """
    process = read_process(run)
    record = ExitRecord(
        attempt=process.attempt if process else 1, code=code, signal=signal, reason=reason, ended=time.time()
    )
    _write_record(run.exit, record)
    return record


def read_exit(run: RunDirectory) -> ExitRecord | None:
    """How the latest attempt that ended did so; None where none has or the file is damaged."""
    return _read_record(run.exit, _EXIT)


_PROCESS = TypeAdapter(ProcessRecord)
_EXIT = TypeAdapter(ExitRecord)
_Record = TypeVar("_Record", ProcessRecord, ExitRecord)


def _write_record(path: Path, record: ProcessRecord | ExitRecord) -> None:
    values: dict[str, Any] = asdict(record)
    atomic_write(path, json.dumps(values, indent=2) + "\n")


def _read_record(path: Path, adapter: TypeAdapter[_Record]) -> _Record | None:
    try:
        return adapter.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return f"{psutil.boot_time():.0f}"


def _start_ticks(pid: int) -> int | None:
    """Start of a process that is alive; None for one that is not, or is a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None if Path("/proc/self/stat").exists() else _start_without_proc(pid)
    # The command's name is in parentheses and may hold spaces and parentheses itself.
    fields = stat[stat.rindex(")") + 2 :].split()
    return None if fields[0] in _DEAD_STATES else int(fields[19])


def _start_without_proc(pid: int) -> int | None:
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else round(process.create_time() * 100)
    except psutil.Error:
        return None
