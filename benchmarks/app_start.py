"""How soon the app shows runs, and what it costs while nobody does anything.

    python -m benchmarks.app_start [--runs 1000 10000] [--times 5] [--idle-seconds 20]

Starts the real command in a real pseudo-terminal of 80×24 on generated run directories with a warm index, and
measures from the start of the process: until the app's first bytes, until the newest run's name is on the
screen; then its CPU time while idle (of one core), its memory, and whether torch was loaded.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import select
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.many_runs import make_runs
from workbench.runs.index import list_runs
from workbench.runs.watching import RunsWatch
from workbench.support.units import human_bytes

ROWS, COLUMNS = 24, 80
_PATIENCE_SECONDS = 60.0
_SETTLING_SECONDS = 6.0  # reading the rest of the runs comes before idleness


@dataclass(frozen=True, slots=True)
class Start:
    """One start."""

    first_bytes_seconds: float
    first_run_seconds: float
    cpu_seconds: float
    """What the process had used by then: what the wait would be on a machine with nothing else to do."""


@dataclass(frozen=True, slots=True)
class Idle:
    """The app left alone."""

    cpu_share: float
    """Of one core."""
    memory_bytes: int
    has_torch: bool


class App:
    """The app in a pseudo-terminal."""

    def __init__(self, home: Path, state: Path) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color", "PETBENCH_RUNS": str(home)}
        environment |= {"PETBENCH_STATE": str(state), "COLORTERM": "truecolor"}
        environment.pop("TMUX", None)
        self._began = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "workbench"],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
        )
        os.close(slave)

    def until(self, text: str) -> float:
        """Seconds from the start until `text` was written; raises TimeoutError."""
        seen = b""
        while time.perf_counter() - self._began < _PATIENCE_SECONDS:
            seen += self._read(1.0)
            if seen and text.encode() in seen:
                return time.perf_counter() - self._began
        raise TimeoutError(f"no {text!r} in {len(seen)} bytes")

    def drain(self, seconds: float) -> None:
        """Read what it writes, as a terminal does."""
        end = time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            self._read(left)

    def _read(self, seconds: float) -> bytes:
        ready, _, _ = select.select([self._master], [], [], seconds)
        return os.read(self._master, 65536) if ready else b""

    def close(self) -> None:
        """End it."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self._master)


def measure_start(home: Path, state: Path, name: str) -> Start:
    """One start until the newest run is on the screen."""
    app = App(home, state)
    try:
        first = app.until("")
        seen = app.until(name)
        used = psutil.Process(app.process.pid).cpu_times()
        return Start(first, seen, used.user + used.system)
    finally:
        app.close()


def measure_idle(home: Path, state: Path, name: str, seconds: float) -> Idle:
    """The share of a core that the app takes while nothing happens."""
    app = App(home, state)
    try:
        app.until(name)
        app.drain(_SETTLING_SECONDS)
        process = psutil.Process(app.process.pid)
        before, began = process.cpu_times(), time.perf_counter()
        app.drain(seconds)
        after, passed = process.cpu_times(), time.perf_counter() - began
        used = after.user + after.system - before.user - before.system
        loaded = any("libtorch" in mapped.path for mapped in process.memory_maps())
        return Idle(used / passed, process.memory_info().rss, loaded)
    finally:
        app.close()


def main() -> None:
    """Measure and print."""
    options = _options()
    print("   runs  first bytes  first run  (worst)  its CPU  idle CPU     memory  torch")
    for count in options.runs:
        with tempfile.TemporaryDirectory() as folder:
            home, state = Path(folder) / "runs", Path(folder) / "state"
            newest = make_runs(home, count)[0]
            _warm(home)
            name = next(run.name for run in list_runs(home) if run.id == newest.id)
            starts = [measure_start(home, state, name) for _ in range(options.times)]
            idle = measure_idle(home, state, name, options.idle_seconds)
        _print_row(count, starts, idle)


def _warm(home: Path) -> None:
    """Fill the index as earlier use would have."""
    time.sleep(2.5)  # what changed a moment ago is not cached
    watch = RunsWatch(home)
    while not watch.refresh().complete:
        pass


def _print_row(count: int, starts: Sequence[Start], idle: Idle) -> None:
    first = statistics.median(start.first_bytes_seconds for start in starts)
    shown = [start.first_run_seconds for start in starts]
    used = statistics.median(start.cpu_seconds for start in starts)
    torch = "yes" if idle.has_torch else "no"
    print(
        f"{count:>7,}  {first:>9.2f} s  {statistics.median(shown):>7.2f} s  {max(shown):>5.2f} s"
        f"  {used:>5.2f} s  {100 * idle.cpu_share:>7.1f}%  {human_bytes(idle.memory_bytes):>9}  {torch:>5}"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--idle-seconds", type=float, default=20.0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
