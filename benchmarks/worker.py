"""A process that works when it is told to: a command a line on its standard input, an answer a line back.

So that sides in other processes (fastai's own environment, one process a data size) can take turns too.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.machine import ROOT

LAST_LINES = 15


class Worker:
    """Runs `command` from the repository's root.

    Args:
        log: what it writes to its standard error goes here.
    """

    def __init__(
        self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self._log = log
        with log.open("w", encoding="utf-8") as stream:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                text=True,
            )

    def ask(self, command: str, **values: Any) -> dict[str, Any]:
        """Its answer.

        Raises:
            RuntimeError: it ended instead, with the last lines that it logged.
        """
        return next(self.follow(command, **values))

    def follow(self, command: str, **values: Any) -> Iterator[dict[str, Any]]:
        """Its answers one by one, to the one that has `"last": true`.

        Raises:
            RuntimeError: as `ask`.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"command": command, **values}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise RuntimeError(self._failure(command)) from None
        while line := self._process.stdout.readline():
            answer: dict[str, Any] = json.loads(line)
            yield answer
            if answer.get("last", True):
                return
        raise RuntimeError(self._failure(command))

    def close(self) -> None:
        """Let it end; what does not end in half a minute is killed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.close()
            self._process.wait(timeout=30)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _failure(self, command: str) -> str:
        code = self._process.wait()
        with self._log.open(encoding="utf-8", errors="replace") as stream:
            last = "".join(deque(stream, LAST_LINES))
        return f"the worker ended with {code} on {command!r}:\n{last}"
