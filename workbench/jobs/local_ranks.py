"""The other ranks of a run on this machine: rank 0 starts them, hears what they say, and ends them.

They are what torchrun would start, in its environment; docs/many-gpus.md says what is different. Rank 0 is
the run's own process: its terminal, its signals and its end are theirs. A rank ends at once when rank 0 is
gone, however that died.
"""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from workbench.jobs.ending import death_words, memory_kills
from workbench.jobs.start import child_environment, signals_held_back
from workbench.runs.attempt_control import STOP_SIGNALS
from workbench.runs.status import INTERRUPTED
from workbench.support.clean import clean
from workbench.support.ranks import Rank

LEFT_ALONE = 75
"""The exit code of a rank that ends because another is gone (EX_TEMPFAIL of sysexits.h)."""
LAST_WORDS = "petbench: "
"""What the line begins with in which a rank says why it ends."""
_HERE = "127.0.0.1"
_HOSTED = "TORCHELASTIC_USE_AGENT_STORE"
"""As torchrun says that it serves the store on MASTER_PORT itself (torch.distributed.rendezvous)."""
_LAST_SECONDS = 30.0
"""How long ranks may take to end by themselves once rank 0 has come to its own end."""
_WORDS_LIMIT = 300


@dataclass(frozen=True, slots=True)
class Fallen:
    """A rank that ended before its time."""

    rank: int
    code: int
    """As `subprocess` gives it, a signal's number below zero."""
    last_words: str
    """The last line that it said; empty where it said nothing."""
    kernel_killed: bool
    """Whether the kernel has killed some process for want of memory meanwhile."""

    @property
    def reason(self) -> str:
        """In words, for people."""
        who = f"rank {self.rank}"
        how = (
            f"{who} ended with code {self.code}"
            if self.code >= 0
            else death_words(-self.code, kernel_killed=self.kernel_killed, who=who)
        )
        return f"{how}{f': {self.last_words}' if self.last_words else ''}"


class LocalRanks:
    """Ranks 1 to `size` - 1; a context, in whose body this process is rank 0. In the main thread only.

    Args:
        command: of a rank; its lifeline's number comes last.
        threads: that each computes with.
        hear: called with (rank, line) for what ranks print, by threads.
    """

    def __init__(
        self, size: int, command: Sequence[str], *, threads: int, hear: Callable[[int, str], None]
    ) -> None:
        self._size = size
        self._command = list(command)
        self._threads = threads
        self._hear = hear
        self._processes: list[subprocess.Popen[bytes]] = []
        self._hearing: list[threading.Thread] = []
        self._memory_kills = memory_kills()
        self._fallen: list[Fallen] = []
        self._fell = threading.Event()
        self._is_over = False
        self._before: dict[str, str | None] = {}

    def __enter__(self) -> Self:
        """Start them. Raises: OSError."""
        # Bound here and listened on by rank 0's store: no port that another program may take meanwhile.
        self._listener = socket.create_server((_HERE, 0))
        port = self._listener.getsockname()[1]
        reading, self._lifeline = os.pipe()
        try:
            for number in range(1, self._size):
                self._start(Rank(number, self._size, number), port, reading)
        except OSError:
            self._end(at_once=True)
            raise
        finally:
            os.close(reading)
        # The store is there already, and rank 0 a client of it like the others.
        own = {**Rank(0, self._size, 0).variables(_HERE, port), _HOSTED: "True"}
        self._before = {name: os.environ.get(name) for name in own}
        os.environ.update(own)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """They end by themselves where all has gone well, else they are killed."""
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._end(at_once=error is not None)

    @property
    def listener(self) -> int:
        """The descriptor of a socket that listens on MASTER_PORT; whoever takes it closes it."""
        return self._listener.detach()

    def fallen(self, patience_seconds: float = 0.0) -> Fallen | None:
        """The rank that ended before its time, and so ended all; None where none has."""
        self._fell.wait(patience_seconds)
        # Those that only missed another are no cause, whichever is heard of first.
        return min(self._fallen, key=lambda one: one.code == LEFT_ALONE, default=None)

    def _start(self, rank: Rank, port: int, lifeline: int) -> None:
        variables = {**rank.variables(_HERE, port), _HOSTED: "True", "OMP_NUM_THREADS": str(self._threads)}
        environment = child_environment(**variables)
        with signals_held_back(STOP_SIGNALS):  # for good: rank 0 hears them, and all stop at one step
            process = subprocess.Popen(
                [*self._command, str(lifeline)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment,
                pass_fds=(lifeline,),
            )
        self._processes.append(process)
        name = f"rank-{rank.number}"
        thread = threading.Thread(target=self._listen, args=(rank.number, process), name=name, daemon=True)
        self._hearing.append(thread)
        thread.start()

    def _listen(self, rank: int, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        last = ""
        with process.stdout as said:
            for line in said:
                text = clean(line.decode("utf-8", "replace").rstrip())
                last = text.strip() or last
                with suppress(OSError):  # a full disk costs the line
                    self._hear(rank, text)
        code = process.wait()
        if code in (0, INTERRUPTED) or self._is_over:
            return
        killed = memory_kills() > self._memory_kills
        self._fallen.append(Fallen(rank, code, last.removeprefix(LAST_WORDS)[:_WORDS_LIMIT], killed))
        if code != LEFT_ALONE or len(self._fallen) == self._size - 1:
            self._fell.set()

    def _end(self, *, at_once: bool) -> None:
        end = time.monotonic() + (0.0 if at_once else _LAST_SECONDS)
        for process in self._processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, end - time.monotonic()))
        self._is_over = True
        for process in self._processes:
            process.kill()
        for thread in self._hearing:
            thread.join()
        with suppress(OSError):
            os.close(self._lifeline)
        self._listener.close()
