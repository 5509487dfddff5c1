"""Every run of a directory, followed: newest first at once, the rest in slices, then only what may change.

A look at a settled run is one `stat` of its directory, which every atomic write in it changes; runs that may
change by themselves are looked at each time, settled ones in turns. A thousand settled runs cost a few
milliseconds a look, ten thousand no more.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from workbench.runs.index import (
    Entry,
    Stamp,
    entry_of,
    folder_stamp,
    load_entries,
    recall,
    stamp_of,
    store_entries,
)
from workbench.runs.layout import RunDirectory, holds_recipe, newest_first, visible_directories
from workbench.runs.run_history import HistoryReader
from workbench.runs.status import RunStatus, derive_status
from workbench.runs.summary import Awaited, RunSummary, queue_position, summarise, unasked, with_awaited
from workbench.support.digests import SETTLED_NS

_FIRST_PAGE = 200
"""Runs shown from the cache before any file is looked at: more than a screen holds."""
_FIRST_SECONDS, _SLICE_SECONDS = 0.1, 0.5
"""How long a look may read runs that are new to it; the first is short: something is there at once."""
_TURN = 500
"""Settled runs looked at each time: 10,000 are round in twenty seconds, at 2 ms a second."""
_STORED_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class RunsView:
    """All runs as they were at one moment."""

    summaries: tuple[RunSummary, ...]
    """Newest first."""
    generation: int
    """Differs from that of the view before when anything else does."""
    complete: bool
    """False while some runs have yet to be read, or were taken from the cache unseen."""
    total: int
    """Run directories there are, read or not."""
    changed: frozenset[str]
    """Ids of runs that are new or different since the view before."""
    gone: frozenset[str]
    """Ids of runs that went since."""
    by_id: Mapping[str, RunSummary]
    problem: str = ""
    """Why the directory cannot be read just now; the runs are then those of the last time."""


@dataclass(slots=True)
class _Held:
    """A run and what its files looked like when it was read; no stamp: taken from the cache unseen."""

    summary: RunSummary
    stamp: Stamp | None


class RunsWatch:
    """Follows one runs directory. `refresh` belongs to one thread; `look_again` and `wait` to any."""

    awaited: Awaited
    """What Slurm says of a job that it keeps waiting; asked at each look, so it answers at once."""

    def __init__(self, runs_home: Path) -> None:
        self._home = runs_home
        self.awaited = unasked
        self._names: list[str] = []
        self._held: dict[str, _Held] = {}
        self._restless: dict[str, None] = {}  # a set with an order
        self._pending: deque[str] = deque()
        self._recipeless: set[str] = set()
        self._cached: dict[str, Entry] | None = None
        self._fresh: dict[str, Entry] = {}
        self._forgotten: set[str] = set()
        self._readers: dict[str, HistoryReader] = {}
        self._turn = 0
        self._home_stamp: tuple[int, int] | None = None
        self._asked: deque[str] = deque()
        self._wake = threading.Event()
        self._changed: set[str] = set()
        self._gone: set[str] = set()
        self._problem = ""
        self._view: RunsView | None = None

    def refresh(self) -> RunsView:
        """The runs now. Call it again at once while the view is not complete, then about once a second."""
        first = self._view is None
        began = time.monotonic()
        try:
            self._list_home()
            self._problem = ""
        except OSError as error:
            self._problem = f"cannot be read: {error.strerror or error}"
        self._look_where_asked()
        if first:
            self._take_first_page(began + _FIRST_SECONDS)
        elif self._pending:
            self._read_pending(began + _SLICE_SECONDS)
        else:
            self._look_at_restless()
            self._look_at_settled()
        self._store()
        return self._as_view()

    def look_again(self, run_ids: Iterable[str]) -> None:
        """Have the next `refresh` look at these runs, and end a `wait`: something was done to them."""
        self._asked.extend(run_ids)
        self._wake.set()

    def wait(self, seconds: float) -> None:
        """Sleep, or until `look_again`."""
        self._wake.wait(seconds)
        self._wake.clear()

    # Which runs there are

    def _list_home(self) -> None:
        """Read the directory's names if it has changed; new runs are pending, newest first."""
        try:
            found = self._home.stat()
        except FileNotFoundError:
            self._adopt([])
            self._home_stamp = None
            return
        stamp = (found.st_ino, found.st_mtime_ns)
        # A directory changed a moment ago may change again without its coarse time doing so.
        if stamp != self._home_stamp or time.time_ns() - found.st_mtime_ns < SETTLED_NS:
            self._adopt(newest_first(self._home, visible_directories(self._home)))
            self._home_stamp = stamp
        hopeful = _turn_of(list(self._recipeless), self._turn, _TURN)
        for name in [name for name in hopeful if holds_recipe(self._home, name)]:
            self._recipeless.discard(name)
            self._names = newest_first(self._home, {*self._names, name})
            self._pending.appendleft(name)

    def _adopt(self, names: list[str]) -> None:
        if names == self._names and not self._recipeless:
            return
        here = set(names)
        for name in self._held.keys() - here:
            self._drop(name)
        known = set(self._names) | self._recipeless
        new = [name for name in names if name not in known]
        self._recipeless = {name for name in self._recipeless & here if name not in self._held}
        self._names = [name for name in names if name not in self._recipeless]
        self._pending = deque([*new, *(name for name in self._pending if name in here)])

    def _take_first_page(self, deadline: float) -> None:
        """The newest runs as they were the last time anybody listed them, and what has come since.

        The former stay pending: the next look makes sure of them.
        """
        here = set(self._names)
        for name, entry in load_entries(self._home, newest=_FIRST_PAGE).items():
            run = RunDirectory(self._home / name)
            summary = recall(run, entry, None) if name in here else None
            if summary is not None:
                self._hold(name, summary, None)
        for name in self._names[:_FIRST_PAGE]:
            if name not in self._held and time.monotonic() < deadline:
                self._pending.remove(name)
                self._read(name, {})

    # Reading

    def _read_pending(self, deadline: float) -> None:
        if self._cached is None:
            self._cached = load_entries(self._home)
            self._forgotten |= self._cached.keys() - set(self._names)
        while self._pending:
            self._read(self._pending.popleft(), self._cached)
            if time.monotonic() > deadline:
                return
        self._cached = {}

    def _read(self, name: str, cached: Mapping[str, Entry]) -> None:
        """Take a run up, or its newest state; one without a recipe is none yet."""
        run = RunDirectory(self._home / name)
        stamp = stamp_of(run)
        summary = recall(run, cached.get(name), stamp)
        if summary is None:
            try:
                if not holds_recipe(self._home, name):
                    raise FileNotFoundError(name)
                summary = summarise(run, self._readers.setdefault(name, HistoryReader(run.metrics)))
            except FileNotFoundError:
                self._lack(name)
                return
        if not summary.status.is_active:
            self._readers.pop(name, None)
        self._hold(name, summary, stamp)

    def _hold(self, name: str, summary: RunSummary, stamp: Stamp | None) -> None:
        """Keep what was read; what has settled goes into the cache."""
        summary = with_awaited(summary, self.awaited)
        old = self._held.get(name)
        if old is None or old.summary != summary:
            self._changed.add(name)
        else:
            summary = old.summary
        self._held[name] = _Held(summary, stamp)
        unended = summary.status.is_active or summary.status in (RunStatus.SILENT, RunStatus.LOST)
        if unended or stamp is None or not stamp.settled:
            self._restless[name] = None
        else:
            self._restless.pop(name, None)
        if stamp is None or not stamp.settled or summary.status.is_active:
            return
        entry = (self._cached or {}).get(name)
        kept = entry.stamp if entry is not None else _kept_stamp(old)
        if kept != stamp.text:
            self._fresh[name] = entry_of(summary, stamp)

    def _drop(self, name: str) -> None:
        self._held.pop(name, None)
        self._restless.pop(name, None)
        self._readers.pop(name, None)
        self._fresh.pop(name, None)
        self._forgotten.add(name)
        self._gone.add(name)

    def _lack(self, name: str) -> None:
        self._names.remove(name)
        self._recipeless.add(name)
        if name in self._held:
            self._drop(name)

    # Looking again

    def _look_where_asked(self) -> None:
        while self._asked:
            name = self._asked.popleft()
            if name in self._held:
                self._read(name, {})

    def _look_at_restless(self) -> None:
        """Runs that have no end, and those whose files changed a moment ago."""
        for name in _turn_of(list(self._restless), self._turn, _TURN):
            held = self._held[name]
            stamp = stamp_of(held.summary.run)
            if held.stamp is None or stamp.text != held.stamp.text:
                self._read(name, {})
            else:
                self._hold(name, _as_of_now(held.summary), stamp)

    def _look_at_settled(self) -> None:
        """A part of the others: whether a person tagged, archived or resumed one elsewhere."""
        for name in _turn_of(self._names, self._turn, _TURN):
            held = self._held.get(name)
            if held is None or held.stamp is None:
                continue
            if name not in self._restless and folder_stamp(held.summary.run) != held.stamp.folder:
                self._read(name, {})
        self._turn += _TURN

    # What comes of it

    def _store(self) -> None:
        if len(self._fresh) >= _STORED_AT_ONCE or not self._pending:
            store_entries(self._home, self._fresh, self._forgotten)
            self._fresh, self._forgotten = {}, set()

    def _as_view(self) -> RunsView:
        old, complete = self._view, not self._pending
        same = old is not None and old.complete == complete and old.problem == self._problem
        if old is None or not same or self._changed or self._gone or old.total != len(self._names):
            by_id = {name: self._held[name].summary for name in self._names if name in self._held}
            self._view = RunsView(
                summaries=tuple(by_id.values()),
                generation=0 if old is None else old.generation + 1,
                complete=complete,
                total=len(self._names),
                changed=frozenset(self._changed),
                gone=frozenset(self._gone),
                by_id=by_id,
                problem=self._problem,
            )
        self._changed, self._gone = set(), set()
        assert self._view is not None
        return self._view


def _kept_stamp(held: _Held | None) -> str:
    """The stamp that the cache has of a run; empty where it has none."""
    if held is None or held.stamp is None or not held.stamp.settled or held.summary.status.is_active:
        return ""
    return held.stamp.text


def _as_of_now(summary: RunSummary) -> RunSummary:
    """The same files in the light of the process table."""
    status = derive_status(summary.run, summary.process, summary.ended, summary.ticket)
    position = queue_position(summary.run, status)
    if (status, position) == (summary.status, summary.queue_position):
        return summary
    return replace(summary, status=status, queue_position=position)


def _turn_of(names: list[str], start: int, length: int) -> list[str]:
    """`length` of the names from `start` on, going round."""
    if len(names) <= length:
        return names
    start %= len(names)
    return [*names[start : start + length], *names[: max(0, start + length - len(names))]]
