"""The queues of a device that is not there: what each has been given, and races between them.

Each queue has a vector clock (Mattern 1989): how far into every queue it is known to come after. A tensor is
told apart by its storage.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from torch import Tensor

STEPS, LANE = "steps", "lane"
Clock = dict[str, int]


class Race(Exception):
    """Two queues use the same memory, and neither waits for the other."""


@dataclass
class _Memory:
    home: str
    """The queue that it came from, and goes back to."""
    written: tuple[str, int]
    uses: Clock = field(default_factory=dict)
    """The last of each queue."""
    held: set[str] = field(default_factory=set)
    """Queues that the allocator waits for by itself."""


class Queues:
    """Two queues, fed from any thread."""

    def __init__(self) -> None:
        self._clocks: dict[str, Clock] = {STEPS: {STEPS: 0}, LANE: {LANE: 0}}
        self._memory: dict[int, _Memory] = {}
        self._here = threading.local()
        self._lock = threading.RLock()
        self._faults: list[str] = []

    @property
    def current(self) -> str:
        """This thread's."""
        return getattr(self._here, "queue", STEPS)

    def given(self, queue: str) -> int:
        """How many operations so far."""
        return self._clocks[queue][queue]

    def run(self, name: str, reads: Sequence[Tensor], writes: Sequence[Tensor]) -> None:
        """An operation is queued by this thread.

        Raises:
            Race: it does not come after what it needs; or memory went back to its queue too early before.
        """
        with self._lock:
            own = self._clocks[self.current]
            own[self.current] += 1
            for tensor in (*reads, *writes):
                memory = self._of(tensor)
                self._after(name, "what another makes", *memory.written)
                memory.uses[self.current] = own[self.current]
            for tensor in writes:
                memory = self._of(tensor)
                for queue, number in memory.uses.items():
                    self._after(name, "what another still reads", queue, number)
                memory.written = self.current, own[self.current]
            if self._faults:
                raise Race(self._faults[0])

    def made(self, tensor: Tensor) -> None:
        """An operation of this thread's returned it: its memory is new, where nobody knows it."""
        with self._lock:
            self._of(tensor)

    def hold(self, tensor: Tensor) -> None:
        """The allocator waits for this thread's queue before it gives the memory to others."""
        with self._lock:
            self._of(tensor).held.add(self.current)

    def _after(self, name: str, what: str, queue: str, number: int) -> None:
        if self._clocks[self.current].get(queue, 0) < number:
            raise Race(f"{name} in the {self.current} uses {what} in the {queue}, and does not wait for it")

    def _of(self, tensor: Tensor) -> _Memory:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._memory:
            self._memory[key] = _Memory(
                self.current, (self.current, self._clocks[self.current][self.current])
            )
            weakref.finalize(storage, self._let_go, key).atexit = False
        return self._memory[key]

    def _let_go(self, key: int) -> None:
        with self._lock:
            memory = self._memory.pop(key)
            home = self._clocks[memory.home]
            for queue, number in memory.uses.items():
                if queue != memory.home and queue not in memory.held and home.get(queue, 0) < number:
                    self._faults.append(
                        f"memory goes back to the {memory.home} before the {queue} has done with it"
                    )

    def merge(self, into: str, clock: Clock) -> None:
        """From now on the queue comes after that, too."""
        with self._lock:
            own = self._clocks[into]
            for queue, number in clock.items():
                own[queue] = max(own.get(queue, 0), number)

    def clock(self, queue: str) -> Clock:
        """Where it stands."""
        with self._lock:
            return dict(self._clocks[queue])

    @contextlib.contextmanager
    def within(self, queue: str) -> Iterator[None]:
        """This thread's is that one."""
        before, self._here.queue = self.current, queue
        try:
            yield
        finally:
            self._here.queue = before


@dataclass
class PosingLane:
    """As `workbench.compute.lanes.CudaLane`."""

    queues: Queues

    def within(self) -> contextlib.AbstractContextManager[None]:
        """It is this thread's queue."""
        return self.queues.within(LANE)

    def mark(self) -> Clock:
        """Where it stands."""
        return self.queues.clock(LANE)

    def join(self, mark: Clock) -> None:
        """This thread's queue comes after."""
        self.queues.merge(self.queues.current, mark)

    def follow(self) -> None:
        """It comes after this thread's queue."""
        self.queues.merge(LANE, self.queues.clock(self.queues.current))
