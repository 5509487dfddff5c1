"""An attempt's hold on its run: it shows that it is there, and learns when another has taken its place."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from workbench.runs import process as processes
from workbench.runs.control import read_request
from workbench.runs.layout import RunDirectory
from workbench.runs.process import ProcessRecord, beat, holds, pulse, read_process
from workbench.support.clean import clean


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
