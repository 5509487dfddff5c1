"""What can be done with the run that is watched."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tui.driving import opened, said, screen_text
from tests.tui.runs.states import queued, sleeper
from tests.tui.watch.driving import ask, press, screen
from tests.tui.watch.runs import alive, made
from workbench.runs.layout import RunDirectory
from workbench.runs.process import write_exit
from workbench.tui.places import ComposePlace, InspectPlace, Place, WatchPlace


async def test_a_queued_run_tells_its_place_and_can_leave_the_queue(home: Path) -> None:
    run = made(home)
    with sleeper(run) as process:
        queued(run, process)
        async with opened(home, place=WatchPlace(run.id)) as pilot:
            text = screen_text(pilot)
            assert "◌ queued" in text
            assert "number 1 in the queue" in text
            assert screen(pilot).why_not("watch.pause")
            assert "out of the queue?" in await ask(pilot, "s")
            await press(pilot, "n")


async def test_stopping_asks_first_and_no_leaves_the_run_alone(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[str] = []
    monkeypatch.setattr("workbench.jobs.stop_run", lambda wanted: stopped.append(wanted.id))
    with sleeper(run) as process:
        alive(run, process)
        async with opened(run.path.parent, place=WatchPlace(run.id)) as pilot:
            assert "Stop lite_iter-aaa1?" in await ask(pilot, "s")
            await press(pilot, "n")
            assert stopped == []
            await ask(pilot, "s")
            await press(pilot, "y")
            assert stopped == [run.id]
            assert said(pilot)[-1] == "lite_iter-aaa1 is asked to stop"


async def test_pausing_asks_first(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    parked: list[str] = []
    monkeypatch.setattr("workbench.jobs.pause_run", lambda wanted: parked.append(wanted.id))
    with sleeper(run) as process:
        alive(run, process)
        async with opened(run.path.parent, place=WatchPlace(run.id)) as pilot:
            assert "Pause lite_iter-aaa1?" in await ask(pilot, "p")
            await press(pilot, "y")
            assert parked == [run.id]


async def test_a_stopped_run_is_resumed_by_the_same_key(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.jobs import Launched

    resumed: list[str] = []

    def resume(wanted: RunDirectory, **_: object) -> Launched:
        resumed.append(wanted.id)
        return Launched(wanted, 2)

    monkeypatch.setattr("workbench.jobs.resume_run", resume)
    write_exit(run, code=130, reason="paused")
    async with opened(run.path.parent, place=WatchPlace(run.id)) as pilot:
        assert "paused; p goes on from the checkpoint" in screen_text(pilot)
        await press(pilot, "p")
        assert resumed == [run.id]
        assert said(pilot)[-1] == "lite_iter-aaa1 goes on as number 2 in the queue"


async def test_what_cannot_be_done_says_why(ended: RunDirectory) -> None:
    async with opened(ended.path.parent, place=WatchPlace(ended.id)) as pilot:
        await press(pilot, "s", "p")
        assert said(pilot)[-2:] == ["it is not running", "it has finished"]


async def test_i_inspects_and_e_starts_a_recipe_from_the_run(
    ended: RunDirectory, places: list[Place]
) -> None:
    async with opened(ended.path.parent, place=WatchPlace(ended.id)) as pilot:
        await press(pilot, "i", "e")
        assert places == [InspectPlace(run=ended.id), ComposePlace(source=f"run:{ended.id}")]


async def test_the_command_lines_fit_the_tab(ended: RunDirectory) -> None:
    async with opened(ended.path.parent, place=WatchPlace(ended.id)) as pilot:
        assert screen(pilot).twin()[0] == "petbench runs show aaa1"
        await press(pilot, "2")
        assert screen(pilot).twin()[0] == "petbench inspect aaa1 --confused"
        await press(pilot, "3")
        assert screen(pilot).twin()[0] == "petbench inspect aaa1 --round 1"
        await press(pilot, "4")
        assert screen(pilot).twin()[0].startswith("petbench runs log ")
