"""Work that needs torch: a petbench command in a process of its own, awaited off the screen's loop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from dataclasses import dataclass
from typing import Any

_GRACE_SECONDS = 3.0


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
        await _end(process)
        raise
    code = process.returncode or 0
    said = errors.decode("utf-8", "replace").strip()
    return HelperResult(code, output.decode("utf-8", "replace"), "" if code == 0 else said[-2000:])


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _GRACE_SECONDS)
        except TimeoutError:
            process.kill()


def _be_nice() -> None:
    os.nice(5)
