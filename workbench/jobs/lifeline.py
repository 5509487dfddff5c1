"""The trainer's tie to its supervisor: a pipe that closes when the supervisor dies, however it dies."""

from __future__ import annotations

import os
import signal
import threading


class Lifeline:
    """Held by the trainer of a run in the background.

    A supervisor that was killed can neither free the device in time nor say how the run ended. Its trainer
    therefore takes its death for a SIGTERM: it writes a checkpoint and ends, and leaves no `exit.json`, so
    that the run shows as lost and is resumed by whoever looks after it.
    """

    def __init__(self, descriptor: int, attempt: int) -> None:
        """`descriptor` is the reading end; only the supervisor has the other one."""
        self.attempt = attempt
        self.cut = False
        """Whether the supervisor is gone."""
        self._descriptor = descriptor

    def watch(self) -> None:
        """Wait for the supervisor's death in a thread that holds nothing up."""
        os.set_inheritable(self._descriptor, False)
        threading.Thread(target=self._wait, name="lifeline", daemon=True).start()

    def _wait(self) -> None:
        try:
            while os.read(self._descriptor, 1):
                pass
        except OSError:
            return  # no pipe after all: the trainer was started by hand
        self.cut = True
        os.kill(os.getpid(), signal.SIGTERM)
