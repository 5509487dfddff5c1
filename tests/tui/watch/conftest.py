"""Runs to watch, and the clock that they were written by."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tui.watch.runs import START, finish, made, teacher_and_round, write_log, write_timed
from workbench.runs.layout import RunDirectory
from workbench.tui.app import PetbenchApp
from workbench.tui.places import Place, WatchPlace


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, for all that asks for it; it stands still unless it is moved."""
    now = [START]
    monkeypatch.setattr("time.time", lambda: now[0])
    return now


@pytest.fixture
def run(home: Path, clock: list[float]) -> RunDirectory:
    """A run that was stopped in its first round; whoever needs another state adds it."""
    made_run = made(home)
    write_timed(made_run, teacher_and_round(), clock)
    write_log(made_run)
    return made_run


@pytest.fixture
def ended(run: RunDirectory) -> RunDirectory:
    """The run, finished."""
    return finish(run)


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> list[Place]:
    """Where the screen wanted to go."""
    went: list[Place] = []
    really = PetbenchApp.go

    def go(app: PetbenchApp, place: Place) -> None:
        if isinstance(place, WatchPlace):
            really(app, place)
        else:
            went.append(place)

    monkeypatch.setattr(PetbenchApp, "go", go)
    return went
