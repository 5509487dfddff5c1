"""What is done to runs from the Runs screen: their files, processes and places in the queue."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from tests.runs.making import make_run
from tests.tui.driving import bench, opened, reread, said, settle, top
from tests.tui.runs.states import a_few, finished, going, made, queued, sleeper
from workbench.runs.leftovers import trashed_runs
from workbench.runs.notes import read_notes
from workbench.runs.waiting import read_waiting
from workbench.tui.places import ComparePlace, ComposePlace, InspectPlace, Place, WatchPlace
from workbench.tui.screens.dialogs import AskText
from workbench.tui.screens.runs import RunsScreen


def screen(pilot: Pilot[None]) -> RunsScreen:
    """The Runs screen, which must be on top."""
    found = top(pilot)
    assert isinstance(found, RunsScreen)
    return found


async def press(pilot: Pilot[None], *keys: str) -> None:
    """Press keys, then see what came of it."""
    await pilot.press(*keys)
    await settle(pilot)


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> list[Place]:
    """Where the app was asked to go, without the other screens being opened."""
    asked: list[Place] = []
    monkeypatch.setattr("workbench.tui.app.PetbenchApp.go", lambda app, place: asked.append(place))
    return asked


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was copied."""
    texts: list[str] = []
    monkeypatch.setattr("workbench.tui.app.PetbenchApp.copy_text", lambda app, text: texts.append(text))
    return texts


async def test_enter_n_e_and_i_go_to_the_other_screens(home: Path, places: list[Place]) -> None:
    newest, *_ = a_few(home)
    async with opened(home) as pilot:
        await press(pilot, "enter", "n", "e", "i")
    assert places == [
        WatchPlace(run=newest.id),
        ComposePlace(),
        ComposePlace(source=f"run:{newest.id}"),
        InspectPlace(run=newest.id),
    ]


async def test_selected_runs_are_compared_and_one_is_not_enough(home: Path, places: list[Place]) -> None:
    first, second, third = a_few(home)
    async with opened(home) as pilot:
        await press(pilot, "space", "c")
        assert "Select 2 to 20" in said(pilot)[-1]
        await press(pilot, "space", "c")
        assert places == [ComparePlace(runs=(first.id, second.id))]
        await press(pilot, "asterisk", "c")
        assert places[-1] == ComparePlace(runs=(first.id, second.id, third.id))
        await press(pilot, "escape", "c")
        assert len(places) == 2


async def test_archiving_hides_and_undo_brings_back(home: Path) -> None:
    newest, *others = a_few(home)
    async with opened(home) as pilot:
        await press(pilot, "a")
        assert read_notes(newest).archived
        await reread(pilot)
        assert [run.id for run in screen(pilot).table.seen] == [run.id for run in others]
        await press(pilot, "A")
        assert len(screen(pilot).table.seen) == 3
        await press(pilot, "u")
        assert not read_notes(newest).archived
        await press(pilot, "u")
        assert "Nothing has been archived" in said(pilot)[-1]


async def test_archiving_archived_runs_brings_them_back(home: Path) -> None:
    runs = a_few(home)
    async with opened(home) as pilot:
        await press(pilot, "A", "asterisk", "a")
        assert all(read_notes(run).archived for run in runs)
        await reread(pilot)
        await press(pilot, "a")
        assert not any(read_notes(run).archived for run in runs)


async def test_a_deleted_run_is_in_the_trash_until_undo(home: Path) -> None:
    newest, *_ = a_few(home)
    async with opened(home) as pilot:
        await press(pilot, "d")
        assert [run.id for run in trashed_runs(home)] == [newest.id]
        await reread(pilot)
        assert newest.id not in {run.id for run in screen(pilot).table.seen}
        await press(pilot, "u")
        assert newest.path.is_dir()


async def test_a_going_run_is_not_deleted(home: Path) -> None:
    run = made(home, "going", "bbb1")
    with sleeper(run) as process:
        going(run, process)
        async with opened(home) as pilot:
            await press(pilot, "d")
            assert "cannot be deleted" in said(pilot)[-1]
    assert run.path.is_dir()


async def test_tags_are_edited_and_taken_back(home: Path) -> None:
    newest, *_ = a_few(home)
    async with opened(home) as pilot:
        await press(pilot, "t", *"good first", "enter")
        assert read_notes(newest).tags == ("good", "first")
        await reread(pilot)
        await press(pilot, "t", "ctrl+u", *"best", "enter")
        assert read_notes(newest).tags == ("best",)
        await press(pilot, "u")
        assert set(read_notes(newest).tags) == {"good", "first"}
        await press(pilot, "t", "escape")
        assert set(read_notes(newest).tags) == {"good", "first"}


async def test_tags_of_several_runs_keep_what_each_has_of_its_own(home: Path) -> None:
    first, second, _ = a_few(home)
    async with opened(home) as pilot:
        await press(pilot, "t", *"own", "enter")
        await reread(pilot)
        await press(pilot, "space", "space", "t", *"both", "enter")
    assert set(read_notes(first).tags) == {"own", "both"}
    assert set(read_notes(second).tags) == {"both"}


async def test_a_long_tag_is_refused_where_it_is_typed(home: Path) -> None:
    newest, *_ = a_few(home)
    async with opened(home) as pilot:
        await pilot.press("t")  # not `press`: the action waits for the answer
        pilot.app.screen.query_one(Input).value = "x" * 61
        await pilot.press("enter")
        assert isinstance(pilot.app.screen, AskText)
        await press(pilot, "backspace", "enter")
    assert read_notes(newest).tags == ("x" * 60,)


async def test_a_note_is_written_and_taken_back(home: Path) -> None:
    newest, *_ = a_few(home)
    async with opened(home) as pilot:
        await press(pilot, "N", *"looks odd", "enter")
        assert read_notes(newest).note == "looks odd"
        await press(pilot, "u")
        assert read_notes(newest).note == ""
        await press(pilot, "space", "space", "N")
        assert "one run at a time" in said(pilot)[-1]


async def test_id_and_path_are_copied(home: Path, copied: list[str]) -> None:
    newest, *_ = a_few(home)
    async with opened(home) as pilot:
        await press(pilot, "Y", "P")
    assert copied == [newest.id, str(newest.path)]


@pytest.mark.parametrize(("key", "wanted"), [("s", "stop"), ("p", "pause")])
async def test_a_going_run_is_asked_to_stop_or_pause(home: Path, key: str, wanted: str) -> None:
    run = made(home, "going", "bbb1")
    with sleeper(run) as process:
        going(run, process)
        async with opened(home) as pilot:
            await press(pilot, key)
            assert "is asked to" in said(pilot)[-1]
        assert json.loads(run.control.read_text())["wanted"] == wanted
        process.wait(timeout=60)


async def test_several_runs_are_stopped_only_after_asking(home: Path) -> None:
    runs = [made(home, "a", "bbb1"), made(home, "b", "bbb2")]
    with sleeper(runs[0]) as one, sleeper(runs[1]) as other:
        for run, process in zip(runs, (one, other), strict=True):
            going(run, process)
        async with opened(home) as pilot:
            await press(pilot, "asterisk", "s", "n")
            assert not any(run.control.exists() for run in runs)
            await press(pilot, "s", "y")
            assert all(run.control.exists() for run in runs)


async def test_what_does_not_go_is_not_stopped_paused_or_cancelled(home: Path) -> None:
    a_few(home)
    async with opened(home) as pilot:
        for key in "spx":
            await press(pilot, key)
            assert "this one is finished" in said(pilot)[-1]
        await press(pilot, "r")
        assert "can go on; this one is finished" in said(pilot)[-1]
        await press(pilot, "left_square_bracket")
        assert "Only a queued run" in said(pilot)[-1]


async def test_queued_runs_change_places_and_leave_the_queue(home: Path) -> None:
    first, second = made(home, "first", "bbb1", age_seconds=9), made(home, "second", "bbb2")
    with sleeper(first) as one, sleeper(second) as other:
        queued(first, one)
        queued(second, other)
        async with opened(home) as pilot:
            assert screen(pilot).here is not None
            await press(pilot, "left_square_bracket")
            assert "next one already" in said(pilot)[-1]
            await press(pilot, "right_square_bracket")
            assert [entry.run.id for entry in read_waiting()] == [second.id, first.id]
            await reread(pilot)
            assert [run.id for run in screen(pilot).table.seen] == [second.id, first.id]
            await press(pilot, "left_square_bracket")
            assert [entry.run.id for entry in read_waiting()] == [first.id, second.id]
            await reread(pilot)
            await press(pilot, "x")
        assert json.loads(first.control.read_text())["wanted"] == "stop"


async def test_a_stopped_run_goes_on_in_the_background(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resumed: list[str] = []
    monkeypatch.setattr("workbench.jobs.resume_run", lambda run, **_: resumed.append(run.id))
    run = make_run(home, "never started")
    finished(home, "done", "aaa1", age_seconds=99)
    async with opened(home) as pilot:
        await press(pilot, "r")
    assert resumed == [run.id]


async def test_a_screen_without_runs_says_what_to_press(home: Path, places: list[Place]) -> None:
    async with opened(home) as pilot:
        await press(pilot, "enter")
        assert said(pilot)[-1] == "There is no run here; n composes one."
        await press(pilot, "n")
        assert places == [ComposePlace()]
        assert bench(pilot).faults == []
