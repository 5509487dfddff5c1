"""What the screen draws: the runs as read at one moment, and the reader that makes it in a thread."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from textual.message import Message

from workbench.runs.compare import MOST_RUNS, Comparison, RunRead, compare_read, read_run
from workbench.runs.compare_seeds import GroupComparison, compare_groups
from workbench.runs.curves import follow_to_end
from workbench.runs.follow import RunFollower
from workbench.runs.following import Following
from workbench.runs.summary import RunSummary
from workbench.tui.screens.compare.naming import short_names, without_shared_start


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

    @property
    def baseline(self) -> int:
        """The place of the run that the others are measured against."""
        return self.comparison.baseline

    def place_of(self, run_id: str) -> int | None:
        """Where the run is in the lists."""
        return next((place for place, run in enumerate(self.runs) if run.id == run_id), None)

    def colour_of(self, place: int, *, seeds: bool) -> int:
        """The number of the run's colour: runs of one group share theirs when they stand as one."""
        return self.group_of(place) if seeds else place

    def group_of(self, place: int) -> int:
        """The group that holds the run at `place`."""
        return next(number for number, group in enumerate(self.groups.groups) if place in group.runs)


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
