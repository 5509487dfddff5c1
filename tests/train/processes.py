"""Real petbench processes that start in a moment: forked from a server that has torch loaded already."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from workbench.runs.layout import RunDirectory, run_directories

SERVER = multiprocessing.get_context("forkserver")
"""Starts processes that have loaded everything; another signal, thread or file of this one they have not."""
SERVER.set_forkserver_preload(["tests.train.preload"])
PATIENCE_SECONDS = 120


@dataclass(frozen=True)
class Moment:
    """When and how a process ends itself: as it is about to put a file into its place.

    Every file that matters is renamed into its place, so these are the moments between which the disk's state
    differs. The audit hook that watches for them changes nothing in the program.
    """

    name: str
    """Pattern of the file's name, such as `results.toml`."""
    occurrence: int = 1
    signals: tuple[signal.Signals, ...] = (signal.SIGKILL,)

    def arm(self) -> None:
        """Watch this process."""
        seen = 0

        def watch(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal seen
            if event == "os.rename" and fnmatch(Path(os.fsdecode(arguments[1])).name, self.name):  # type: ignore[arg-type]
                seen += 1
                if seen == self.occurrence:
                    for number in self.signals:
                        os.kill(os.getpid(), number)

        sys.addaudithook(watch)


@dataclass(frozen=True)
class Ended:
    """How a process ended, and all that it wrote to its terminal."""

    code: int
    output: str


class Petbench:
    """`petbench ARGUMENTS` with its runs and cache under `home`, on one thread of the CPU."""

    def __init__(
        self, *arguments: str, home: Path, moment: Moment | None = None, file_limit: int | None = None
    ) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self._output = home / f"output-{time.monotonic_ns()}.txt"
        job = (arguments, home, self._output, moment, file_limit)
        self._process: ForkServerProcess = SERVER.Process(target=_petbench, args=job)
        self._process.start()

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal, unless the process has ended."""
        if self._process.is_alive() and self._process.pid is not None:
            os.kill(self._process.pid, number)

    def wait(self) -> Ended:
        """Wait for the end; a code below zero is the signal that killed it."""
        self._process.join(PATIENCE_SECONDS)
        if self._process.exitcode is None:
            self.kill()
            raise TimeoutError(self._output.read_text())
        return Ended(self._process.exitcode, self._output.read_text())

    def wait_until(self, happened: Callable[[], bool]) -> None:
        """Wait for something to happen, at most until the process ends."""
        while not happened() and self._process.is_alive():
            time.sleep(0.002)


def petbench(
    *arguments: str, home: Path, moment: Moment | None = None, file_limit: int | None = None
) -> Ended:
    """Run to the end."""
    return Petbench(*arguments, home=home, moment=moment, file_limit=file_limit).wait()


def forked(work: Callable[..., int], *given: object, output: Path) -> Ended:
    """What `work(*given)`, a function of a module, comes to as a program of its own, on one thread.

    Args:
        output: the file for all that it prints.
    """
    process = SERVER.Process(target=_work, args=(work, given, output))
    process.start()
    process.join(PATIENCE_SECONDS)
    if process.exitcode is None:
        process.kill()
        raise TimeoutError(output.read_text())
    return Ended(process.exitcode, output.read_text())


def only_run(home: Path) -> RunDirectory:
    """The one run under `home`."""
    (run,) = run_directories(home / "runs")
    return run


def _speak_to(output: Path) -> None:
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)


def _work(work: Callable[..., int], given: Sequence[object], output: Path) -> None:
    import torch

    _speak_to(output)
    torch.set_num_threads(1)
    sys.exit(work(*given))


def _petbench(
    arguments: Sequence[str], home: Path, output: Path, moment: Moment | None, file_limit: int | None
) -> None:
    _speak_to(output)
    os.environ |= {
        "PETBENCH_RUNS": str(home / "runs"),
        "PETBENCH_DATA": str(home / "data"),
        "PETBENCH_CACHE": str(home / "cache"),
        "COLUMNS": "80",
    }
    import torch

    from workbench.cli.main import main

    torch.set_num_threads(1)
    sys.argv = ["petbench", *arguments]
    if file_limit is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, resource.RLIM_INFINITY))
    if moment is not None:
        moment.arm()
    main()
