"""What is done to a selection is done to what the table shows, and to nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.tui.driving import opened, reread, said, settle, top
from tests.tui.runs.states import a_few
from tests.tui.runs.test_actions_on_runs import press, screen
from workbench.runs.layout import run_directories
from workbench.runs.leftovers import trashed_runs
from workbench.runs.notes import change_notes, read_notes
from workbench.tui.screens.dialogs import AskText, AskYesNo
from workbench.tui.screens.runs.filter_bar import FilterBar


def shown(pilot: Pilot[None]) -> list[str]:
    """Ids of the runs in the table."""
    return [run.id for run in screen(pilot).rows]


async def narrow(pilot: Pilot[None], text: str) -> None:
    """Filter the table."""
    screen(pilot).query_one(FilterBar).write(text)
    await settle(pilot)


@pytest.mark.parametrize("key", ["d", "a", "t", "s", "p", "r", "c"])
async def test_no_action_reaches_a_selected_run_that_a_filter_hides(home: Path, key: str) -> None:
    newest, failed, oldest = a_few(home)
    async with opened(home) as pilot:
        await press(pilot, "asterisk")
        await narrow(pilot, "name=lite_full")
        assert shown(pilot) == [oldest.id]
        assert top(pilot).title_text() == "3 selected, 2 not shown"
        assert [run.id for run in screen(pilot).targets] == [oldest.id]
        await pilot.press(key)
        await pilot.pause()
        if isinstance(pilot.app.screen, AskText):
            await pilot.press(*"good", "enter")
        await settle(pilot)
    assert not read_notes(newest).tags
    assert not read_notes(failed).archived
    assert {run.id for run in run_directories(home)} >= {newest.id, failed.id}


async def test_selected_runs_are_acted_on_again_once_they_are_shown_again(home: Path) -> None:
    runs = a_few(home)
    async with opened(home) as pilot:
        await press(pilot, "asterisk")
        await narrow(pilot, "name=lite_full")
        await narrow(pilot, "")
        assert top(pilot).title_text() == "3 selected"
        await press(pilot, "a")
    assert all(read_notes(run).archived for run in runs)


async def test_runs_selected_among_archived_ones_are_left_alone_once_those_are_hidden(home: Path) -> None:
    newest, failed, oldest = a_few(home)
    change_notes(failed, archived=True)
    async with opened(home) as pilot:
        await press(pilot, "A", "down", "space", "A")
        assert shown(pilot) == [newest.id, oldest.id]
        assert top(pilot).title_text() == "1 selected, 1 not shown"
        await press(pilot, "home", "d")
    assert [run.id for run in trashed_runs(home)] == [newest.id]
    assert failed.path.is_dir()


async def test_what_was_archived_or_thrown_away_is_not_selected_any_more(home: Path) -> None:
    newest, failed, oldest = a_few(home)
    async with opened(home) as pilot:
        await press(pilot, "space", "a")
        assert top(pilot).title_text() == ""
        await reread(pilot)
        await press(pilot, "u")
        await reread(pilot)
        assert newest.id in shown(pilot)
        assert top(pilot).title_text() == ""
        await press(pilot, "home", "space", "space", "d")
        assert isinstance(pilot.app.screen, AskYesNo)
        await press(pilot, "y")
        assert top(pilot).title_text() == ""
        assert {run.id for run in trashed_runs(home)} == {newest.id, failed.id}
        await reread(pilot)
        assert [run.id for run in screen(pilot).targets] == [oldest.id]


async def test_bringing_back_and_its_undo_keep_the_selection_true(home: Path) -> None:
    runs = a_few(home)
    change_notes(runs[0], archived=True)
    async with opened(home) as pilot:
        await press(pilot, "A", "home", "space", "a")
        await reread(pilot)
        assert not read_notes(runs[0]).archived
        assert top(pilot).title_text() == "1 selected"
        await press(pilot, "A", "u")
        assert read_notes(runs[0]).archived
        assert top(pilot).title_text() == ""


async def test_more_than_one_run_goes_to_the_trash_only_after_asking(home: Path) -> None:
    a_few(home)
    async with opened(home) as pilot:
        await press(pilot, "asterisk", "d", "n")
        assert not trashed_runs(home)
        assert top(pilot).title_text() == "3 selected"
        await press(pilot, "d", "y")
        assert len(trashed_runs(home)) == 3
        await press(pilot, "u")
        assert not trashed_runs(home)


async def test_a_run_that_others_remove_is_neither_counted_nor_made_anew(home: Path) -> None:
    newest, failed, oldest = a_few(home)
    async with opened(home) as pilot:
        await press(pilot, "asterisk")
        shutil.rmtree(failed.path)
        await press(pilot, "a")  # before the screen knows
        assert not failed.path.exists()
        assert "not there any more" in said(pilot)[0]
        assert read_notes(newest).archived
        assert read_notes(oldest).archived
        await reread(pilot)
        assert top(pilot).title_text() == ""
        await press(pilot, "u")
        assert not read_notes(newest).archived
        assert not failed.path.exists()


async def test_what_cannot_be_taken_back_for_one_run_is_taken_back_for_the_others(home: Path) -> None:
    newest, failed, _ = a_few(home)
    async with opened(home) as pilot:
        await press(pilot, "space", "space", "a")
        shutil.rmtree(newest.path)
        await press(pilot, "u")
        assert not read_notes(failed).archived
        assert not newest.path.exists()
        assert "not there any more" in said(pilot)[-1]


async def test_sorting_and_reading_again_keep_the_selection(home: Path) -> None:
    newest, failed, _ = a_few(home)
    async with opened(home) as pilot:
        await press(pilot, "space", "space", "O")
        await reread(pilot)
        assert {run.id for run in screen(pilot).targets} == {newest.id, failed.id}
        assert top(pilot).title_text() == "2 selected"
