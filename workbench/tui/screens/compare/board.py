"""What the screen draws: the runs as read at one moment, and the reader that makes it in a thread."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from textual.message import Message

from workbench.runs.comparison import (
    MOST_RUNS,
    Comparison,
    GroupComparison,
    RunRead,
    compare_groups,
    compare_read,
    read_run,
)
from workbench.runs.comparison_table import ComparisonTable, table_of_groups, table_of_runs
from workbench.runs.curves import Following, RunFollower, follow_to_end
from workbench.runs.seed_groups import seed_of
from workbench.runs.summary import RunSummary
from workbench.support.clean import clean

_WORD_END = re.compile(r".*[_\-/·,: ]")
_LEAST_SHARED = 5  # characters: less is not worth leaving out


@dataclass(frozen=True, eq=False)
class Board:
    """Two to twenty runs, or one where the others are gone; lists follow the order of `runs`."""

    runs: tuple[RunSummary, ...]
    """As the app's view knew them when they were read."""
    names: tuple[str, ...]
    group_names: tuple[str, ...]
    read: tuple[RunRead, ...]
    followings: tuple[Following | None, ...]
    """None where the metrics cannot be read."""
    comparison: Comparison
    groups: GroupComparison

    def table(self, *, seeds: bool) -> ComparisonTable:
        """The runs, or the groups of seeds, beside each other."""
        if seeds:
            return table_of_groups(self.comparison, self.groups, self.group_names)
        return table_of_runs(self.comparison, self.names)

    @property
    def baseline(self) -> int:
        """The place of the run that the others are measured against."""
        return self.comparison.baseline

    def place_of(self, run_id: str) -> int | None:
        """Where the run is in the lists."""
        return next((place for place, run in enumerate(self.runs) if run.id == run_id), None)

    def compared(self, chosen: str) -> int:
        """The run that is held against the baseline: the chosen one, else the first other with results."""
        place = self.place_of(chosen)
        if place is not None and place != self.baseline:
            return place
        others = [place for place in range(len(self.runs)) if place != self.baseline]
        done = [place for place in others if self.read[place].results is not None]
        return next(iter((*done, *others)), self.baseline)

    def colour_of(self, place: int, *, seeds: bool) -> int:
        """The number of the run's colour: runs of one group share theirs when they stand as one."""
        return self.group_of(place) if seeds else place

    def group_of(self, place: int) -> int:
        """The group that holds the run at `place`."""
        return self.groups.group_of(place)


@dataclass
class BoardRead(Message):
    """The runs were read."""

    board: Board

    def can_replace(self, message: Message) -> bool:
        """A newer board makes one that still waits superfluous."""
        return isinstance(message, BoardRead)


class BoardReader:
    """Reads what changed and keeps the rest; one call at a time, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[RunSummary, RunRead]] = {}
        self._followers: dict[str, RunFollower] = {}

    def board(self, runs: Sequence[RunSummary], baseline: str) -> Board:
        """The board of the first twenty `runs`, measured against `baseline`, else against the first."""
        with self._lock:
            runs = tuple(runs[:MOST_RUNS])
            read = tuple(self._read(summary) for summary in runs)
            followings = tuple(self._follow(summary) for summary in runs)
        place = next((at for at, run in enumerate(runs) if run.id == baseline), 0)
        groups = compare_groups(read, place)
        return Board(
            runs=runs,
            names=tuple(short_names(runs)),
            group_names=tuple(without_shared_start([group.name for group in groups.groups])),
            read=read,
            followings=followings,
            comparison=compare_read(read, place),
            groups=groups,
        )

    def _read(self, summary: RunSummary) -> RunRead:
        kept = self._kept.get(summary.id)
        if kept is None or kept[0] != summary:
            kept = (summary, read_run(summary.run))
            self._kept[summary.id] = kept
        return kept[1]

    def _follow(self, summary: RunSummary) -> Following | None:
        follower = self._followers.setdefault(summary.id, RunFollower(summary.run))
        try:
            return follow_to_end(follower)
        except OSError:
            return None


def short_names(summaries: Sequence[RunSummary]) -> list[str]:
    """The runs' names less the words that all begin with; like names get their seed, else their handle.

    >>> # lite_pseudo_iter and lite_pseudo_oneshot become iter and oneshot
    """
    names = without_shared_start([clean(summary.name) for summary in summaries])
    seeds = [seed_of(summary.recipe) for summary in summaries]
    counted = Counter(names)
    seeded = Counter(zip(names, seeds, strict=True))
    return [
        name
        if counted[name] == 1
        else f"{name} s{seed}"
        if seeded[name, seed] == 1
        else f"{name} {summary.handle}"
        for name, seed, summary in zip(names, seeds, summaries, strict=True)
    ]


def without_shared_start(names: Sequence[str]) -> list[str]:
    """The names less the whole words that all of them begin with, where that leaves something of each."""
    if len(set(names)) < 2:
        return list(names)
    start = names[0]
    for name in names:
        while not name.startswith(start):
            start = start[:-1]
    words = _WORD_END.match(start)
    shared = words.group() if words else ""
    if len(shared) < _LEAST_SHARED or any(name == shared for name in names):
        return list(names)
    return [name.removeprefix(shared) for name in names]
