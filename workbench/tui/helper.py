"""Work that needs torch: a petbench command in a process of its own, awaited off the screen's loop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from dataclasses import dataclass
from typing import Any

from workbench.tui.faults import log_fault

_GRACE_SECONDS = 3.0
_USER_ERROR = 2
"""petbench's exit code for input that the user can mend."""


@dataclass(frozen=True, slots=True)
class HelperResult:
    """How a helper process ended."""

    code: int
    output: str
    problem: str
    """What it said on standard error, last lines; empty when it went well."""

    @property
    def ok(self) -> bool:
        """Whether it ended well."""
        return self.code == 0

    def json(self) -> Any:
        """Its standard output as JSON. Raises: ValueError, when it is none."""
        return json.loads(self.output)


async def run_petbench(*arguments: str) -> HelperResult:
    """Run `petbench ARGUMENTS…` with this interpreter and wait for it.

    When the awaiting task is cancelled (the screen was left, a newer request came), the process is ended. The
    helper runs at low priority: what the user watches comes first.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "workbench.cli.main",
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200"},
        preexec_fn=_be_nice,
    )
    try:
        output, errors = await process.communicate()
    except asyncio.CancelledError:
        await end_process(process)
        raise
    code = process.returncode or 0
    said = errors.decode("utf-8", "replace").strip()
    return HelperResult(code, output.decode("utf-8", "replace"), "" if code == 0 else said[-2000:])


def told_problem(result: HelperResult, what: str) -> str:
    """What to tell of a process that failed: a mistake in full, a fault in a line with the log's path.

    Returns:
        words for the screen, with line breaks, not cleaned; `what` names the command.
    """
    if result.code == _USER_ERROR and "Traceback" not in result.problem:
        return result.problem or f"petbench {what} refused this recipe"
    last = result.problem.rpartition("\n")[2] or f"exit code {result.code}"
    log = log_fault(RuntimeError(f"petbench {what} failed\n{result.problem}"))
    return f"petbench {what} failed: {last}\nwhat it said is in {log}"


async def end_process(process: asyncio.subprocess.Process) -> None:
    """Its input ends, and so does it; where it does not, it is ended. Returns once it has."""
    if process.stdin is not None:
        process.stdin.close()
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _GRACE_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()


def _be_nice() -> None:
    os.nice(5)
