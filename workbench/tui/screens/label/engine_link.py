"""The process that looks at the images and chooses what comes next, as the screen sees it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from workbench.labels.protocol import (
    MODULE,
    Answer,
    Doubted,
    Failed,
    Learned,
    Offered,
    Progress,
    Request,
    answer_of,
    line_of,
)
from workbench.tui.actions import ACTIONS
from workbench.tui.faults import log_fault
from workbench.tui.helper import end_process

_LONGEST_LINE = 2**24  # bytes; an answer has a few hundred images at most
_KEPT_WORDS = 2_000


def engine_command(folder: Path, options: Sequence[str]) -> Sequence[str]:
    """What starts the engine of petbench."""
    return (sys.executable, "-m", MODULE, str(folder), *options)


@dataclass(frozen=True, slots=True)
class Started:
    """The process is there and takes requests."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The process is not there any more, and nobody asked it to end."""

    code: int
    problem: str
    """The last line that it said on standard error; empty where it said nothing."""
    log: Path | None
    """Where all of it is."""


News = Answer | Started | Ended
Command = Callable[[Path, Sequence[str]], Sequence[str]]


class EngineLink:
    """One process at a time; requests to one that is not there are dropped.

    Args:
        hear: called on the event loop with every answer, and of the process's beginning and end.
        command: what starts it.
    """

    def __init__(self, hear: Callable[[News], object], command: Command = engine_command) -> None:
        self._hear, self._command = hear, command
        self._process: asyncio.subprocess.Process | None = None
        self._failure = ""
        self.progress: Progress | None = None
        """How far it is with looking at the images; None where it has not said so."""
        self.trouble = ""
        """What is wrong with it, for a line of the screen; empty where nothing is."""
        self.has_answered = False
        """Whether it has offered images since it was started; before, it may take seconds."""

    @property
    def is_there(self) -> bool:
        """Whether a process runs that requests reach."""
        return self._process is not None

    @property
    def why_by_chance(self) -> str:
        """Why an image is here that it has not chosen."""
        if self.trouble:
            return "drawn at random: no chooser is there"
        if not self.is_there:
            return "drawn at random while the chooser starts"
        return "drawn at random: the chooser has not answered yet"

    def forget(self) -> None:
        """What was said of another folder, or before it is started anew."""
        self.progress, self.trouble, self._failure, self.has_answered = None, "", "", False

    def _tell(self, news: News) -> None:
        """Keep what it says of itself, and pass it on."""
        match news:
            case Started():
                self.forget()
            case Progress():
                self.progress = news
            case Failed():
                self._failure = " ".join(news.message.split("\n"))
                self.trouble = f"chooser: {self._failure}"
            case Ended():
                self.progress = None
                why = self._failure or news.problem or f"exit code {news.code}"
                self.trouble = f"{ACTIONS['label.engine'].shown_key} restarts the chooser, it ended: {why}"
            case Offered():
                self.has_answered = True
            case Learned() | Doubted():
                pass
            case _:
                assert_never(news)
        self._hear(news)

    async def run(self, folder: Path, options: Sequence[str]) -> None:
        """Start it and pass on what it says, until it ends. Cancelling ends it."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command(folder, options),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=_LONGEST_LINE,
                env={**os.environ, "NO_COLOR": "1"},
            )
        except OSError as error:
            self._tell(Ended(1, f"it cannot be started: {error.strerror or error}", None))
            return
        self._process = process
        self._tell(Started())
        assert process.stdout is not None
        assert process.stderr is not None
        words = asyncio.create_task(_last_words(process.stderr))
        try:
            await self._listen(process.stdout)
            code = await process.wait()
            said = await words
        except asyncio.CancelledError:
            words.cancel()
            await end_process(process)
            raise
        finally:
            if self._process is process:  # else another was started while this one ended
                self._process = None
        log = log_fault(RuntimeError(f"{MODULE} ended with exit code {code}\n{said}")) if said else None
        self._tell(Ended(code, said.rpartition("\n")[2], log))

    def send(self, request: Request) -> None:
        """Ask it for something; nothing happens where it is not there."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError, RuntimeError):  # it may be ending: `run` says so
                self._process.stdin.write(line_of(request))

    async def end(self) -> None:
        """End it, if it is there, and wait until it has ended."""
        if self._process is not None:
            await end_process(self._process)

    async def _listen(self, lines: asyncio.StreamReader) -> None:
        while True:
            try:
                line = await lines.readline()
            except ValueError:  # longer than any answer of ours
                continue
            if not line:
                return
            try:
                answer = answer_of(line)
            except ValueError as error:
                log_fault(error)  # a library that prints
                continue
            self._tell(answer)


async def _last_words(stream: asyncio.StreamReader) -> str:
    kept = b""
    while part := await stream.read(4096):
        kept = (kept + part)[-_KEPT_WORDS:]
    return kept.decode("utf-8", "replace").strip()
