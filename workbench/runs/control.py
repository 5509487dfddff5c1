"""`control.json`: what a front end wants of a run's attempt. A later attempt is not bound by it."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from typing import Literal

from workbench.runs.layout import RunDirectory
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

    @property
    def reason(self) -> str:
        """What `exit.json` says of a run that ended because of it."""
        return _REASONS.get(self.wanted, "")

    @property
    def deadline(self) -> float:
        """When the grace is over, in seconds since the epoch."""
        return self.asked + self.grace_seconds


def write_control(run: RunDirectory, wanted: Wanted, attempt: int, *, grace_seconds: float) -> Control:
    """Say what is wanted of an attempt. Raises: OSError."""
    control = Control(wanted, attempt, max(0.0, grace_seconds), time.time())
    write_record(run.control, control)
    return control


def read_request(run: RunDirectory, attempt: int) -> Control | None:
    """The wish to stop or pause this very attempt; None where there is none or the file is damaged."""
    control = read_record(run.control, Control)
    asked = control is not None and control.attempt == attempt and control.wanted != "run"
    return control if asked else None
