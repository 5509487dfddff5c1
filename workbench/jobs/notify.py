"""The user's own command, run when a run has ended."""

from __future__ import annotations

import shlex
import subprocess

from workbench.jobs.start import child_environment
from workbench.runs.layout import RunDirectory
from workbench.runs.status import status_of
from workbench.support.errors import UserError

_LIMIT_SECONDS = 30.0


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
