"""The reader thread: what it posts, and how seldom while thousands of runs are read for the first time."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import cast

import pytest
from textual.message import Message

from tests.jobs.played_slurm import Played
from tests.runs.making import make_run
from workbench.runs.process import write_exit, write_process
from workbench.runs.status import RunStatus
from workbench.runs.summary import summarise
from workbench.runs.ticket import Ticket, write_ticket
from workbench.runs.watching import RunsView, RunsWatch
from workbench.tui.runs_feed import RunsChanged, endings, feed


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


def test_a_run_that_waits_for_slurm_shows_its_reason_and_slurm_is_asked_once(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    slurm = Played(tmp_path / "bin")
    slurm.says("squeue", "echo '12|N/A|PENDING|a-job|low||Priority'")
    ticket = Ticket("a-job", -1, cluster="played", user="me", submitted=1.0, after=0, job="12")
    write_ticket(make_run(home, "waits"), ticket)
    seen: list[str] = []

    def post(message: Message) -> None:
        if isinstance(message, RunsChanged):
            seen.extend(run.awaited for run in message.view.summaries)

    end = time.monotonic() + 60
    watch = RunsWatch(home)
    feed(watch, post, lambda: "Priority" in seen or time.monotonic() > end, read_gpus=False)
    assert (seen[0], seen[-1]) == ("", "Priority")
    assert len(slurm.asked("squeue")) == 1
