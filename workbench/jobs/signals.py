"""A supervisor's ears: it sleeps until a signal comes or a time is over, and misses none."""

from __future__ import annotations

import os
import select
import signal
from types import FrameType

from workbench.runs.control import STOP_SIGNALS

_ASKING = tuple(number for number in STOP_SIGNALS if number != signal.SIGHUP)
"""No terminal is a supervisor's own, so none that goes means it."""
_HEARD = (*_ASKING, signal.SIGCHLD)


class Signals:
    """Main thread only. SIGTERM, SIGINT, SIGUSR1 and SIGUSR2 ask to stop; SIGCHLD only wakes."""

    def __init__(self) -> None:
        self.stop_asked = False
        self._reader, self._writer = os.pipe()
        for end in (self._reader, self._writer):
            os.set_blocking(end, False)
        for number in _HEARD:
            signal.signal(number, self._note)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        # Those that came before the handlers were there are heard now.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD)

    def sleep(self, seconds: float) -> None:
        """Until a signal comes, at most so long."""
        readable, _, _ = select.select([self._reader], [], [], max(0.0, seconds))
        if readable:
            os.read(self._reader, 4096)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGCHLD:
            self.stop_asked = True
