"""Which process is meant: boot id, pid and start ticks together, so that a pid used again is another one."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_DEAD_STATES = frozenset("ZXx")  # zombie and dead, proc(5)


@dataclass(frozen=True, slots=True)
class ProcessId:
    """One process of one boot of this machine."""

    boot_id: str
    pid: int
    start_ticks: int
    """Clock ticks from boot to the process's start (proc(5), field 22)."""


def process_id(pid: int | None = None) -> ProcessId | None:
    """The identity of process `pid` (this one unless given); None where it does not run."""
    number = os.getpid() if pid is None else pid
    ticks = _start_ticks(number)
    return None if ticks is None else ProcessId(boot_id(), number, ticks)


def is_running(process: ProcessId) -> bool:
    """Whether exactly this process runs: same boot, pid and start. A zombie does not."""
    return process.boot_id == boot_id() and _start_ticks(process.pid) == process.start_ticks


def send_signal(
    process: ProcessId, number: signal.Signals, *, if_: Callable[[ProcessId], bool] = lambda _: True
) -> bool:
    """Signal exactly this process, never one that got its pid since; whether it was there to be signalled.

    Args:
        if_: looked at once the process is held fast; False leaves it alone, as if it were not there.

    Raises:
        PermissionError: it is another user's.
    """
    try:
        descriptor = os.pidfd_open(process.pid) if hasattr(os, "pidfd_open") else None
    except ProcessLookupError:
        return False
    except OSError:
        descriptor = None  # a kernel before 5.3, or one that hides it: a moment's race is left
    try:
        if not is_running(process) or not if_(process):
            return False
        if descriptor is None:
            os.kill(process.pid, number)
        else:
            signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        if descriptor is not None:
            os.close(descriptor)
    return True


@cache
def boot_id() -> str:
    """What differs from one start of the machine to the next."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        import psutil

        return f"{psutil.boot_time():.0f}"


@cache
def pid_namespace() -> str:
    """Whose pids this process sees: containers of one machine share its boot, and have pids of their own."""
    try:
        return os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - no file: `pid:[4026531836]`
    except OSError:
        return ""


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
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else round(process.create_time() * 100)
    except psutil.Error:
        return None
