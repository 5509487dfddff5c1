"""Real petbench processes that start in a moment: forked from this one, which has torch loaded already.

The process that forks never computes with torch, so that a child finds no thread of its parent's missing.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

PATIENCE_SECONDS = 60.0
"""A tiny run takes a second; one that takes this long hangs, also on a busy machine."""
MEMORY_BYTES = 4 * 2**30
"""What a child may map beyond its parent: an endless file ends in MemoryError, not in a dead machine."""
_LOOK_SECONDS = 0.002
_PIPE_BYTES = 2**20  # what a process may write before anybody reads


class Fault(Protocol):
    """Something that goes wrong inside a process."""

    def arm(self) -> None:
        """Called in the process, just before petbench starts."""


@dataclass(frozen=True, slots=True)
class Place:
    """The directories of one petbench user."""

    home: Path
    own_cache: Path | None = None
    """Where its cache is, if not below its home."""

    @property
    def runs(self) -> Path:
        """The runs home."""
        return self.home / "runs"

    @property
    def cache(self) -> Path:
        """Decoded stores and features."""
        return self.own_cache or self.home / "cache"

    def environment(self) -> dict[str, str]:
        """The variables that lead petbench there; wide lines, so that a message is never torn."""
        return {
            "PETBENCH_RUNS": str(self.runs),
            "PETBENCH_CACHE": str(self.cache),
            "PETBENCH_DATA": str(self.home / "data"),
            "PETBENCH_STATE": str(self.home / "state"),
            "COLUMNS": "400",
            "NO_COLOR": "1",
        }


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int | None
    """Below zero the signal that killed it; None if it hung and was killed for that."""
    out: str
    error: str

    @property
    def said(self) -> str:
        """All that it wrote, on one line."""
        return " ".join((self.out + " " + self.error).split())


class Petbench:
    """`petbench ARGUMENTS` in a process of its own, at a place.

    Args:
        fault: what goes wrong in it.
        memory: bytes it may map beyond what this process has.
    """

    def __init__(
        self, place: Place, *arguments: str, fault: Fault | None = None, memory: int | None = None
    ) -> None:
        place.home.mkdir(parents=True, exist_ok=True)
        self._written = (bytearray(), bytearray())
        self._pipes, ends = _pipes()
        self._code: int | None = None
        self._over = False
        self.seconds = 0.0
        """From its start to the end that was waited for."""
        self._started = time.monotonic()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if not self.pid:
            _become(place, arguments, ends, fault, memory)
        for end in ends:
            os.close(end)

    def is_over(self) -> bool:
        """Whether it has ended; does not wait."""
        if not self._over:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._over = bool(pid)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
        return self._over

    def is_stopped(self) -> bool:
        """Whether it stands still by SIGSTOP."""
        if self.is_over():
            return False
        stat = Path(f"/proc/{self.pid}/stat").read_text()
        return stat[stat.rindex(")") + 2] == "T"

    def signal(self, number: signal.Signals) -> None:
        """Send it, unless the process has ended."""
        if not self.is_over():
            os.kill(self.pid, number)

    def wait_until(self, happened: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> bool:
        """Wait until something happens or the process ends; whether it happened."""
        end = time.monotonic() + seconds
        while not (there := happened()) and not self.is_over() and time.monotonic() < end:
            time.sleep(_LOOK_SECONDS)
        return there

    def wait(self, seconds: float = PATIENCE_SECONDS) -> Ended:
        """Wait for the end; a process that is not over by then is killed, and its code is None."""
        end, pause = time.monotonic() + seconds, _LOOK_SECONDS
        while not self.is_over() and time.monotonic() < end:
            self._drain()
            time.sleep(pause)
            pause = min(2 * pause, 0.02)
        hung = not self._over
        if hung:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self._over = True
        self.seconds = time.monotonic() - self._started
        self._drain()
        for pipe in self._pipes:
            os.close(pipe)
        return Ended(None if hung else self._code, *(text.decode(errors="replace") for text in self._written))

    def _drain(self) -> None:
        for pipe, written in zip(self._pipes, self._written, strict=True):
            with contextlib.suppress(BlockingIOError):
                while more := os.read(pipe, _PIPE_BYTES):
                    written += more


def _pipes() -> tuple[tuple[int, int], tuple[int, int]]:
    """(where to read, where to write) of two pipes: a file would be held by what limits files."""
    out, error = os.pipe(), os.pipe()
    for reading, writing in (out, error):
        os.set_blocking(reading, False)
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return (out[0], error[0]), (out[1], error[1])


def petbench(place: Place, *arguments: str, fault: Fault | None = None, memory: int | None = None) -> Ended:
    """Run a command to its end."""
    return Petbench(place, *arguments, fault=fault, memory=memory).wait()


def prepare() -> None:
    """Load in this process all that petbench loads, once, so that its children need not."""
    os.environ |= {"OMP_NUM_THREADS": "1"}
    import plotext  # noqa: F401
    import timm.models.byobnet  # noqa: F401
    import torch
    import torch._dynamo
    import torchvision.models  # noqa: F401

    import workbench.train  # noqa: F401
    from workbench.cli import display, main, profile, report  # noqa: F401

    torch.set_num_threads(1)
    main.register()
    gc.collect()
    gc.freeze()


def _become(
    place: Place, arguments: Sequence[str], ends: tuple[int, int], fault: Fault | None, memory: int | None
) -> None:
    """Turn this fresh child into petbench; never returns."""
    code = 70
    try:
        for end, descriptor in zip((os.open(os.devnull, os.O_RDONLY), *ends), range(3), strict=True):
            os.dup2(end, descriptor)
        # New ones: those of the parent may stand on files, and seek.
        sys.stdout, sys.stderr = (open(end, "w", buffering=1, closefd=False) for end in (1, 2))  # noqa: SIM115
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.environ |= place.environment()
        os.chdir(place.home)
        sys.argv = ["petbench", *arguments]
        from workbench.cli.main import main

        if memory is not None:
            mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (mapped + memory, resource.RLIM_INFINITY))
        if fault is not None:
            fault.arm()
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            traceback.print_exc()
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)
