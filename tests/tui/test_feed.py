"""The reader thread: what it posts, and how seldom while thousands of runs are read for the first time."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from textual.message import Message

from tests.runs.making import make_run
from workbench.runs.process import write_exit, write_process
from workbench.runs.status import RunStatus
from workbench.runs.summary import summarise
from workbench.runs.watching import RunsView, RunsWatch
from workbench.tui.feed import RunsChanged, endings, feed


class Slices:
    """Stands for a watch that reads a hundred runs at a time."""

    def __init__(self, home: Path, count: int) -> None:
        self._summary = summarise(make_run(home))
        self._count, self._known = count, 0

    def refresh(self) -> RunsView:
        self._known = min(self._count, self._known + 100)
        return RunsView(
            summaries=(self._summary,) * self._known,
            generation=self._known,
            complete=self.is_complete,
            total=self._count,
            changed=frozenset(),
            gone=frozenset(),
            by_id={},
        )

    @property
    def is_complete(self) -> bool:
        return self._known == self._count

    def wait(self, _seconds: float) -> None:
        """Time passes."""


def posted_by(watch: Slices, looks: int) -> list[int]:
    messages: list[Message] = []
    left = iter(range(looks))
    feed(cast("RunsWatch", watch), messages.append, lambda: next(left, None) is None, read_gpus=False)
    return [len(message.view.summaries) for message in messages if isinstance(message, RunsChanged)]


def test_views_of_a_first_reading_come_as_often_as_the_runs_double(home: Path) -> None:
    assert posted_by(Slices(home, 1000), looks=20) == [100, 200, 400, 800, 1000]


def test_an_unchanged_view_is_posted_once(home: Path) -> None:
    assert posted_by(Slices(home, 100), looks=5) == [100]


def test_only_runs_that_were_active_end(home: Path) -> None:
    run, other = make_run(home, "ends"), make_run(home, "never began")
    write_process(run, "cpu")
    before = {one.id: summarise(one).status for one in (run, other)}
    write_exit(run, code=1, reason="full")
    (ended,) = endings(before, RunsWatch(home).refresh())
    assert (ended.id, ended.status, ended.reason) == (run.id, RunStatus.FAILED, "full")
