"""Which runs the table shows in which order: the query, the listing that answers it, and its maker."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from workbench.runs.filter import compile_filter
from workbench.runs.keys import keys_of, rank_of
from workbench.runs.status import RunStatus
from workbench.runs.summary import RunSummary
from workbench.runs.watching import RunsView
from workbench.support.errors import UserError
from workbench.tui.screens.runs.columns import is_number, value_of

_SUGGESTED, _SHORTEST_SUGGESTED = 4, 2
_ACTIVE_ORDER = {
    status: place
    for place, status in enumerate(
        (RunStatus.LIVE, RunStatus.STALLED, RunStatus.STOPPING, RunStatus.STARTING, RunStatus.QUEUED)
    )
}


@dataclass(frozen=True, slots=True)
class Query:
    """Which runs a person asks for, and in which order."""

    filter: str = ""
    sort: str = ""
    """A key; empty: what goes on first, then the newest."""
    descending: bool = False
    archived: bool = False
    """Whether archived runs are shown too."""
    typing: bool = False
    """Whether the filter is being typed: a last word that fits nothing may yet become a key."""

    def by(self, key: str, rows: Sequence[RunSummary]) -> Query:
        """Sorted by a key, in the direction that one looks for first; `""` for the order without one."""
        return replace(self, sort=key, descending=bool(key) and _starts_descending(key, rows))

    def after_click(self, key: str, rows: Sequence[RunSummary]) -> Query:
        """After a click on the title of the key's column: sorted by it, then turned round, then no more."""
        if key != self.sort:
            return self.by(key, rows)
        if self.descending == _starts_descending(key, rows):
            return self.turned()
        return self.by("", rows)

    def turned(self) -> Query:
        """In the opposite order; the order without a key becomes the oldest first."""
        return replace(self, sort=self.sort or "created", descending=bool(self.sort) and not self.descending)


@dataclass(frozen=True, slots=True)
class Listing:
    """The runs to show."""

    query: Query
    rows: tuple[RunSummary, ...]
    problem: str
    """What is wrong with the filter."""
    is_kept: bool
    """The rows are those of the last filter that was right: this one is wrong, or half typed."""
    suggestions: tuple[str, ...]
    """Keys that hold what is typed last."""
    of: int
    """Runs there are, without those hidden because they are archived."""
    hidden: int
    """Archived runs that are not shown."""


class Lister:
    """Filters and sorts views; may be asked from any thread.

    It remembers what it found out of each run, so that one changed run costs one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._text = ""
        self._known: frozenset[str] = frozenset()
        self._fits: Callable[[RunSummary], bool] = lambda run: True
        self._verdicts: dict[str, tuple[RunSummary, bool]] = {}
        self._key = ""
        self._ranks: dict[str, tuple[RunSummary, tuple[int, float, str] | None]] = {}

    def listing(self, view: RunsView, query: Query) -> Listing:
        """The runs of `view` that `query` asks for."""
        with self._lock:
            shown = [run for run in view.summaries if query.archived or not run.archived]
            text = query.filter.strip()
            problem = self._adopt_filter(query, view, shown) if text != self._text else ""
            rows = [run for run in shown if self._verdict(run)] if self._text else shown
            if query.sort:
                rows = self._sorted(rows, query)
            else:
                going = sorted((run for run in rows if run.status.is_active), key=_activity)
                rows = [*going, *(run for run in rows if not run.status.is_active)]
            return Listing(
                query=query,
                rows=tuple(rows),
                problem=problem,
                is_kept=text != self._text,
                suggestions=_holding(_last_key(text), self._known) if text else (),
                of=len(shown),
                hidden=len(view.summaries) - len(shown),
            )

    def _adopt_filter(self, query: Query, view: RunsView, shown: Sequence[RunSummary]) -> str:
        """Take the filter up if it is one and no key half typed; else say what is wrong with it."""
        text = query.filter.strip()
        if text and (not self._known or not view.complete):
            self._known = keys_of(view.summaries)
        try:
            fits = compile_filter(text, self._known) if text else lambda run: True
        except UserError as error:
            return str(error)
        if query.typing and _last_key(text) and not any(map(fits, shown)):
            return ""
        self._text, self._fits, self._verdicts = text, fits, {}
        return ""

    def _verdict(self, run: RunSummary) -> bool:
        known = self._verdicts.get(run.id)
        if known is None or known[0] is not run:
            known = self._verdicts[run.id] = (run, self._fits(run))
        return known[1]

    def _sorted(self, rows: list[RunSummary], query: Query) -> list[RunSummary]:
        """By a key; runs without a value come last either way, the newest of equals first."""
        if query.sort != self._key:
            self._key, self._ranks = query.sort, {}
        ranked = [(self._rank(run), run) for run in rows]
        held = [(rank, run) for rank, run in ranked if rank is not None]
        held.sort(key=lambda pair: pair[0], reverse=query.descending)
        return [run for _, run in held] + [run for rank, run in ranked if rank is None]

    def _rank(self, run: RunSummary) -> tuple[int, float, str] | None:
        known = self._ranks.get(run.id)
        if known is None or known[0] is not run:
            value = value_of(run, self._key)
            known = self._ranks[run.id] = (run, None if value is None else rank_of(value))
        return known[1]


def _starts_descending(key: str, rows: Sequence[RunSummary]) -> bool:
    """Numbers and dates from the greatest down, text from a to z."""
    if key == "created":
        return True
    return is_number(next((v for v in (value_of(run, key) for run in rows[:50]) if v is not None), None))


def _last_key(text: str) -> str:
    """The word at the end, which may become a key; empty where a value or a blank stands there."""
    match = re.search(r"(?:^|[\s(]|has:)([a-z][\w.]*)$", text, re.IGNORECASE)
    return match[1].casefold() if match else ""


def _holding(word: str, known: frozenset[str]) -> tuple[str, ...]:
    """The keys that hold `word`, those that begin with it first."""
    if len(word) < _SHORTEST_SUGGESTED:
        return ()
    found = sorted((key for key in known if word in key), key=lambda key: (not key.startswith(word), key))
    return tuple(found[:_SUGGESTED])


def _activity(run: RunSummary) -> tuple[int, int]:
    """Running ones, the newest first, then the queue in its order."""
    return _ACTIVE_ORDER[run.status], run.queue_position or 0
