"""`control.json`: what a front end wants of a run's attempt. A later attempt is not bound by it."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from workbench.runs import process as processes
from workbench.runs.layout import RunDirectory
from workbench.runs.process import ProcessRecord, beat, holds, pulse, read_process
from workbench.support.clean import clean
from workbench.support.records import read_record, write_record

Wanted = Literal["run", "pause", "stop"]
GRACE_SECONDS = 120.0
"""How long a trainer may take to end its batch and checkpoint before its supervisor kills it."""
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""What asks a run to stop: a person, a machine that shuts down, a terminal that goes, a cluster's warning."""
_REASONS = {"pause": "paused", "stop": "stopped on request"}


@dataclass(frozen=True, slots=True)
class Control:
    """What is wanted, of which attempt, and how long it may take."""

    wanted: Wanted
    attempt: int
    grace_seconds: float
    asked: float
    """Seconds since the epoch."""
    why: str = ""
    """What else it is wanted for than that a person asked."""

    @property
    def reason(self) -> str:
        """What `exit.json` says of a run that ended because of it."""
        return self.why or _REASONS.get(self.wanted, "")

    @property
    def deadline(self) -> float:
        """When the grace is over, in seconds since the epoch."""
        return self.asked + self.grace_seconds


def write_control(
    run: RunDirectory, wanted: Wanted, attempt: int, *, grace_seconds: float, why: str = ""
) -> Control:
    """Say what is wanted of an attempt. Raises: OSError."""
    control = Control(wanted, attempt, max(0.0, grace_seconds), time.time(), why)
    write_record(run.control, control)
    return control


def read_request(run: RunDirectory, attempt: int) -> Control | None:
    """The wish to stop or pause this very attempt; None where there is none or the file is damaged."""
    control = read_record(run.control, Control)
    asked = control is not None and control.attempt == attempt and control.wanted != "run"
    return control if asked else None


class TakenOver(Exception):
    """Another attempt has claimed the run; whatever this one would write now would spoil that one's."""


class Tenure:
    """The hold of the attempt that `record` claimed.

    Args:
        asked: called from another thread, at most once, when somebody wants the attempt to stop and cannot
            signal it, as from another machine.
    """

    def __init__(
        self, run: RunDirectory, record: ProcessRecord, asked: Callable[[], None] = lambda: None
    ) -> None:
        self._run = run
        self._record = record
        self._asked = asked
        self._ended = threading.Event()

    @property
    def attempt(self) -> int:
        """Its number, from 1."""
        return self._record.attempt

    @property
    def holds(self) -> bool:
        """Whether the run is still this attempt's."""
        return holds(self._run, self._record)

    def check(self) -> None:
        """Before anything is written. Raises: TakenOver."""
        if not self.holds:
            raise TakenOver

    def beat(self) -> None:
        """Touch the heartbeat. Raises: TakenOver."""
        self.check()
        beat(self._run)

    @property
    def successor(self) -> str:
        """Who has the run now, in words."""
        found = read_process(self._run)
        return f"attempt {found.attempt}, on {clean(found.host, 60)}," if found else "another attempt"

    @contextmanager
    def kept(self) -> Iterator[Tenure]:
        """Show every few seconds that this process is there, whatever it is busy with."""
        thread = threading.Thread(target=self._pulse, name="pulse", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            thread.join()

    def _pulse(self) -> None:
        told = False
        while not self._ended.wait(processes.PULSE_SECONDS) and pulse(self._run, self._record):
            if not told and read_request(self._run, self._record.attempt) is not None:
                told = True
                self._asked()
