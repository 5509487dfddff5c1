"""How a run ended: in words, where its trainer could not say so itself, and to the user's own command."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from workbench.jobs.start import child_environment
from workbench.runs.attempt_control import STOP_SIGNALS, Control
from workbench.runs.layout import RunDirectory
from workbench.runs.status import status_of
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.regular_file import open_regular

_VMSTAT = Path("/proc/vmstat")
_TAIL_BYTES = 4096
_LIMIT_SECONDS = 30.0
LOWER = "lower training.batch_size or data.image_size, or take a smaller backbone"
"""What to do about too little memory."""
_REASON_LIMIT = 300


@dataclass(frozen=True, slots=True)
class Ending:
    """What `exit.json` is to hold."""

    code: int
    signal: int | None
    reason: str


def ending_of(
    run: RunDirectory,
    returncode: int,
    *,
    request: Control | None,
    killed_after_seconds: float | None,
    kernel_killed: bool,
) -> Ending:
    """What became of a trainer that left no record of its end.

    Args:
        returncode: as `subprocess` gives it, a signal's number below zero.
        request: the wish to stop or pause it, if there was one.
        killed_after_seconds: the grace after which its supervisor killed it, if it did.
        kernel_killed: the kernel has killed some process for want of memory meanwhile.
    """
    number = -returncode if returncode < 0 else None
    asked = request.reason if request else ""
    if killed_after_seconds is not None:
        reason = f"{asked or 'stopped'}: killed, as it did not end within {killed_after_seconds:.0f} s"
        return Ending(130, number, f"{reason}; what followed its last checkpoint is lost")
    if number in STOP_SIGNALS:
        return Ending(130, number, asked or f"stopped by {signal.Signals(number).name} before it had begun")
    if number is not None:
        return Ending(128 + number, number, death_words(number, kernel_killed=kernel_killed))
    if returncode == 0:
        if run.results.exists():
            return Ending(0, None, "")
        return Ending(1, None, "it ended without results and without a word")
    return Ending(returncode, None, last_words(run) or f"the trainer ended with code {returncode}")


def memory_kills() -> int:
    """How often the kernel has killed a process for want of memory since boot; 0 where it does not tell."""
    try:
        for line in _VMSTAT.read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    except (OSError, ValueError):
        pass
    return 0


def last_words(run: RunDirectory) -> str:
    """The last thing that the log says, for an end that nobody recorded."""
    try:
        with open_regular(run.log) as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = stream.read(_TAIL_BYTES).decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    problem = [line for line in lines if line.startswith("petbench: ")]
    told = problem or [line for line in lines if line.strip()]
    return clean(told[-1].strip().removeprefix("petbench: "), _REASON_LIMIT) if told else ""


def notify(command: str, run: RunDirectory, name: str) -> str:
    """Run `command` (no shell) with PETBENCH_RUN_ID, _STATUS, _RUN_DIR and _NAME; returns what went wrong.

    It writes to the run's log, and is killed if it takes longer than half a minute.
    """
    environment = child_environment(
        PETBENCH_RUN_ID=run.id,
        PETBENCH_STATUS=status_of(run).value,
        PETBENCH_RUN_DIR=str(run.path),
        PETBENCH_NAME=name,
    )
    try:
        done = subprocess.run(
            split_command(command),
            env=environment,
            stdin=subprocess.DEVNULL,
            timeout=_LIMIT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"the notification took longer than {_LIMIT_SECONDS:.0f} s and was killed"
    except (OSError, ValueError, UserError) as error:
        return f"the notification failed: {error}"
    return f"the notification failed with code {done.returncode}" if done.returncode else ""


def split_command(command: str) -> list[str]:
    """The words of a command as a shell would split them. Raises: UserError."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UserError(f"no command: {error}", where="--notify") from error
    if not words:
        raise UserError("an empty command", where="--notify")
    return words


def death_words(number: int, *, kernel_killed: bool, who: str = "") -> str:
    """How a process that a signal has ended came to that.

    Args:
        kernel_killed: the kernel has killed some process for want of memory meanwhile.
        who: it is, where it is not the trainer.
    """
    name = _name(number)
    if number != signal.SIGKILL:
        return f"{who or 'the trainer'} crashed: signal {number} ({name}); run.log may tell more"
    if who:
        return f"{who} was {death_words(number, kernel_killed=kernel_killed)}"
    if kernel_killed:
        return f"killed by signal 9 ({name}): the machine ran out of memory; {LOWER}"
    return f"killed by signal 9 ({name}): out of memory, or by hand? If the former, {LOWER}"


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
