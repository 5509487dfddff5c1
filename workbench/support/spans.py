"""Where the time goes: named spans, nested, on any thread; next to nothing while nobody records.

A span's own time is what no span inside it claims, so that a thread's parts add up to the time that it was
recorded for, whatever is nested in what.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

MOST_KEPT = 50_000
"""Spans kept for the trace: about 6 MB of JSON. Beyond, the shortest go; the sums count every span."""


class Part(StrEnum):
    """What a run spends its time on, in the order of a table."""

    IMPORTS = "imports"
    OPENING = "opening"
    STORE = "store"
    TRIAL = "trials"
    FEATURES = "features"
    DATA = "data"
    AUGMENTATION = "augmentation"
    FORWARD = "forward"
    BACKWARD = "backward"
    OPTIMISER = "optimiser"
    WAITING = "waiting"
    EVALUATION = "evaluation"
    LABELLING = "labelling"
    CHECKPOINT = "checkpoint"
    RESULTS = "results"
    OTHER = "other"


OF_A_STEP = frozenset(
    {Part.DATA, Part.AUGMENTATION, Part.FORWARD, Part.BACKWARD, Part.OPTIMISER, Part.WAITING}
)
"""Parts of a training step. Inside an evaluation (or anything else but OTHER) they count as evaluation."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A span as the trace shows it."""

    part: Part
    label: str
    thread: int
    """0 for the recording thread, then 1, 2, … as they turned up."""
    start: float
    """Seconds since the recording began."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Sums:
    """Seconds and spans by part."""

    seconds: dict[Part, float] = field(default_factory=dict)
    waited: dict[Part, float] = field(default_factory=dict)
    """Seconds of those in `Recorder.settle`."""
    times: dict[Part, int] = field(default_factory=dict)
    """How many spans; one within another that counts as the same part is not among them."""

    def add(self, part: Part, seconds: float, waited: float, times: int) -> None:
        """Count so much more."""
        self.seconds[part] = self.seconds.get(part, 0.0) + seconds
        self.waited[part] = self.waited.get(part, 0.0) + waited
        self.times[part] = self.times.get(part, 0) + times


@dataclass(frozen=True, slots=True)
class _Thread:
    number: int
    sums: Sums = field(default_factory=Sums)
    open: list[_Span] = field(default_factory=list)


class Recorder:
    """Adds up the spans of all threads from now on; those of the thread that makes it add up to all the time.

    Args:
        clock: seconds, from any start.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self.settle: Callable[[], None] | None = None
        """Called at the end of a step's spans: waits for a device that works on behind the host's back."""
        self.kept: list[Kept] = []
        self.shortest_kept = 0.0
        """Spans of up to so many seconds are missing in `kept`, because there were too many; 0: none are."""
        self._began = clock()
        self._lock = threading.Lock()
        self._own = _Thread(0)
        self._threads = {threading.get_ident(): self._own}

    def span(self, part: Part, label: str = "") -> _Span:
        """A context manager: the time in it counts as `part`."""
        return _Span(self, part, label or part)

    def finish(self) -> tuple[float, Sums, Sums]:
        """(seconds recorded, the recording thread's sums, which add up to them, all other threads')."""
        seconds = self.clock() - self._began
        own, beside = Sums(), Sums()
        for thread in self._threads.values():
            sums = own if thread is self._own else beside
            for part, spent in thread.sums.seconds.items():
                sums.add(part, spent, thread.sums.waited[part], thread.sums.times[part])
        claimed = sum(own.seconds.values()) - own.seconds.get(Part.OTHER, 0.0)
        own.add(Part.OTHER, seconds - claimed - own.seconds.get(Part.OTHER, 0.0), 0.0, 0)
        return seconds, own, beside

    def thread(self) -> _Thread:
        """The calling thread's sums and open spans."""
        ident = threading.get_ident()
        found = self._threads.get(ident)
        if found is None:
            with self._lock:
                found = self._threads[ident] = _Thread(len(self._threads))
        return found

    def keep(self, part: Part, label: str, thread: int, start: float, end: float) -> None:
        """Keep a span for the trace, or if there are too many only if it is a long one."""
        if self.shortest_kept and end - start <= self.shortest_kept:
            return
        with self._lock:
            self.kept.append(Kept(part, label, thread, start - self._began, end - start))
            if len(self.kept) > MOST_KEPT:
                lengths = sorted(kept.seconds for kept in self.kept)
                self.shortest_kept = lengths[MOST_KEPT // 2]
                self.kept = [kept for kept in self.kept if kept.seconds > self.shortest_kept]


class _Span:
    """A span under way."""

    __slots__ = ("counts_as", "inside", "is_first", "label", "part", "recorder", "start", "thread")

    def __init__(self, recorder: Recorder, part: Part, label: str) -> None:
        self.recorder, self.part, self.label = recorder, part, label
        self.inside = 0.0  # seconds of the spans directly within
        self.counts_as = part
        self.is_first = True  # of its part, not within another that counts as the same
        self.start = 0.0

    def __enter__(self) -> None:
        self.thread = self.recorder.thread()
        if self.thread.open:
            around = self.thread.open[-1].counts_as
            if self.part in OF_A_STEP and around is not Part.OTHER and around not in OF_A_STEP:
                self.counts_as = around
            self.is_first = all(span.counts_as is not self.counts_as for span in self.thread.open)
        self.thread.open.append(self)
        self.start = self.recorder.clock()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        waited = self._settle() if kind is None else 0.0
        end = self.recorder.clock()
        thread, seconds = self.thread, end - self.start
        thread.open.pop()
        thread.sums.add(self.counts_as, seconds - self.inside, waited, int(self.is_first))
        if thread.open:
            thread.open[-1].inside += seconds
        self.recorder.keep(self.part, self.label, thread.number, self.start, end)

    def _settle(self) -> float:
        """Seconds that it took."""
        if self.recorder.settle is None or self.part not in OF_A_STEP or self.thread.number:
            return 0.0
        before = self.recorder.clock()
        self.recorder.settle()
        return self.recorder.clock() - before


_NOTHING = contextlib.nullcontext()
_recorder: Recorder | None = None


def span(part: Part, label: str = "") -> contextlib.AbstractContextManager[None]:
    """A context manager: the time in it counts as `part`. While nobody records it does nothing."""
    return _NOTHING if _recorder is None else _recorder.span(part, label)


def spanned(part: Part, label: str = "") -> Callable[[Callable[P, T]], Callable[P, T]]:
    """The time in the decorated function counts as `part`."""

    def wrap(function: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(function)
        def timed(*args: P.args, **kwargs: P.kwargs) -> T:
            with span(part, label):
                return function(*args, **kwargs)

        return timed

    return wrap


def each(part: Part, items: Iterable[T]) -> Iterator[T]:
    """The items as they come; the time until each of them counts as `part`."""
    iterator = iter(items)
    while True:
        with span(part):
            try:
                item = next(iterator)
            except StopIteration:
                return
        yield item


@contextlib.contextmanager
def recording(recorder: Recorder | None) -> Iterator[None]:
    """Record every span of this process meanwhile; None records nothing. One recorder at a time."""
    global _recorder
    if _recorder is not None and recorder is not None:
        raise RuntimeError("spans are being recorded already")
    before, _recorder = _recorder, recorder or _recorder
    try:
        yield
    finally:
        _recorder = before
