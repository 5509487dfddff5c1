"""Ctrl-C and SIGTERM: once, a run checkpoints at the end of the batch; twice, it ends at once.

In the background only the first one counts: a machine that shuts down signals trainer and supervisor, which
passes it on, and the supervisor has SIGKILL for a trainer that does not end.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

from workbench.runs.events import Event, Reporter


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

    def __bool__(self) -> bool:
        return self.signal_name is not None

    def raise_if_set(self) -> None:
        """Raises: Interrupted, if a signal has come."""
        if self.signal_name is not None:
            raise Interrupted(self.signal_name)

    @contextlib.contextmanager
    def listening(self) -> Iterator[StopRequest]:
        """Take over SIGINT and SIGTERM for the duration. Main thread only."""
        previous = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.signal_name is not None:
            if self._patient:
                return
            raise KeyboardInterrupt
        self.signal_name = signal.Signals(number).name


class Interruptible:
    """A reporter that ends long work outside the loop (decoding, features) at its next sign of progress."""

    def __init__(self, reporter: Reporter, stop: StopRequest) -> None:
        self._reporter = reporter
        self._stop = stop

    def event(self, event: Event) -> None:
        """Pass it on."""
        self._reporter.event(event)

    def progress(self, task: str, done: int, total: int) -> None:
        """Pass it on. Raises: Interrupted, if a signal has come."""
        self._reporter.progress(task, done, total)
        self._stop.raise_if_set()
