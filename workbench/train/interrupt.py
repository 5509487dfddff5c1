"""Ctrl-C, SIGTERM and their kind: once, a run checkpoints at the end of the batch; twice, it ends at once.

In the background only the first one counts: a machine that shuts down signals trainer and supervisor, which
passes it on, and the supervisor has SIGKILL for a trainer that does not end.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType

from workbench.jobs.control import INSISTENT, is_heard
from workbench.runs.attempt_control import STOP_SIGNALS
from workbench.runs.events import Event, Reporter

BEAT_SECONDS = 1.0
"""Between two beats of work outside the loop."""


class Interrupted(Exception):
    """The run was asked to stop and is safe on disk: exit code 130."""

    def __init__(self, signal_name: str) -> None:
        self.signal_name = signal_name
        super().__init__(signal_name)


class StopRequest:
    """Set by a signal, looked at by the training loop between batches."""

    def __init__(self, *, patient: bool = False) -> None:
        """`patient`: signals after the first change nothing."""
        self.signal_name: str | None = None
        self._patient = patient
        self._insisted = False

    def __bool__(self) -> bool:
        return self.signal_name is not None

    def raise_if_set(self) -> None:
        """Raises: Interrupted, if a signal has come."""
        if self.signal_name is not None:
            raise Interrupted(self.signal_name)

    def ask(self) -> None:
        """As SIGTERM would, from any thread."""
        self.signal_name = self.signal_name or signal.SIGTERM.name

    @contextlib.contextmanager
    def listening(self) -> Iterator[StopRequest]:
        """Take over the signals that ask a run to stop, for the duration. Main thread only."""
        heard = [number for number in STOP_SIGNALS if is_heard(number)]
        previous = {number: signal.signal(number, self._note) for number in heard}
        try:
            yield self
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        insists = number in INSISTENT
        if insists and self._insisted and not self._patient:
            raise KeyboardInterrupt
        self._insisted = self._insisted or insists
        self.signal_name = self.signal_name or signal.Signals(number).name


class Interruptible:
    """A reporter that ends long work outside the loop (decoding, features) at its next sign of progress.

    The heart beats meanwhile: such work may take minutes.
    """

    def __init__(self, reporter: Reporter, stop: StopRequest, heartbeat: Callable[[], None]) -> None:
        self._reporter = reporter
        self._stop = stop
        self._heartbeat = heartbeat
        self._beaten = 0.0

    def event(self, event: Event) -> None:
        """Pass it on."""
        self._reporter.event(event)

    def progress(self, task: str, done: int, total: int) -> None:
        """Pass it on. Raises: Interrupted, if a signal has come."""
        self._reporter.progress(task, done, total)
        self._stop.raise_if_set()
        if time.monotonic() - self._beaten >= BEAT_SECONDS:
            self._heartbeat()
            self._beaten = time.monotonic()


class Unrecorded:
    """A reporter of work that is on record already: its progress is shown, its events are not."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def event(self, event: Event) -> None:
        """Not passed on."""

    def progress(self, task: str, done: int, total: int) -> None:
        """Pass it on."""
        self._reporter.progress(task, done, total)
