"""Filter, order, columns, cursor and selection of the Runs screen, by key and by mouse."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from tests.runs.making import make_run
from tests.tui.driving import WIDE, opened, reread, screen_text, settle
from tests.tui.runs.states import a_few, finished
from tests.tui.runs.test_actions_on_runs import press, screen
from workbench.runs.leftovers import move_to_trash
from workbench.runs.notes import change_notes
from workbench.tui.app_session import Session
from workbench.tui.places import Place, WatchPlace
from workbench.tui.screens.runs.columns import place
from workbench.tui.screens.runs.filter_bar import FilterBar, FilterInput
from workbench.tui.screens.runs.run_table import RunsTable

HOSTILE = "a[/b].jpg \x1b]52;c;aGk=\x07 \u202egnp"


def names(pilot: Pilot[None]) -> list[str]:
    """The names of the runs in sight."""
    return [run.name for run in screen(pilot).table.seen]


async def click(pilot: Pilot[None], x: int, y: int, times: int = 1) -> None:
    """Click in the table."""
    await pilot.click(RunsTable, offset=(x, y), times=times)
    await settle(pilot)


def column_x(pilot: Pilot[None], id_: str) -> int:
    """Where a column's title stands."""
    placed = next(p for p in screen(pilot).table._columns if p.column.id == id_)
    return placed.start + 3


async def test_a_filter_works_as_it_is_typed_and_stays_after_enter(home: Path) -> None:
    a_few(home)
    async with opened(home) as pilot:
        await press(pilot, "slash", *"test.accuracy>0.9")
        assert names(pilot) == ["lite_full"]
        assert "1 of 3" in screen_text(pilot)
        await press(pilot, "enter")
        assert isinstance(screen(pilot).focused, RunsTable)
        assert names(pilot) == ["lite_full"]
        assert screen(pilot).twin()[0] == "petbench runs ls --filter 'test.accuracy>0.9'"
        await press(pilot, "escape")
        assert len(names(pilot)) == 3


async def test_a_wrong_filter_says_what_is_allowed_and_keeps_the_last_result(home: Path) -> None:
    a_few(home)
    async with opened(home) as pilot:
        await press(pilot, "slash", *"test.accuracy>0.9")
        await press(pilot, *" and status=bad")
        problem = str(screen(pilot).query_one("#problem", Static).render())
        assert "no status 'bad'" in problem
        assert "finished" in problem
        assert names(pilot) == ["lite_full"]


async def test_a_key_half_typed_keeps_the_rows_and_is_suggested(home: Path) -> None:
    a_few(home)
    async with opened(home) as pilot:
        await press(pilot, "slash", *"macro")
        assert len(names(pilot)) == 3
        assert "test.macro_f1" in screen_text(pilot)
        await press(pilot, "enter")
        assert "No run fits the filter" in screen_text(pilot)
        await press(pilot, "escape")
        assert len(names(pilot)) == 3


async def test_escape_in_the_line_gives_the_filter_up(home: Path) -> None:
    a_few(home)
    async with opened(home) as pilot:
        await press(pilot, "slash", *"iter", "escape")
        assert screen(pilot).query_one(FilterBar).text == ""
        assert len(names(pilot)) == 3
        assert not isinstance(screen(pilot).focused, FilterInput)


async def test_letters_are_typed_into_the_filter_and_are_no_commands(home: Path) -> None:
    runs = a_few(home)
    async with opened(home) as pilot:
        await press(pilot, "slash", *"adspxu")
        assert screen(pilot).query_one(FilterBar).text == "adspxu"
    assert all(run.path.is_dir() and not run.notes.exists() for run in runs)


async def test_a_title_clicked_sorts_then_reverses_then_gives_up(home: Path) -> None:
    a_few(home)
    async with opened(home) as pilot:
        x = column_x(pilot, "test")
        await click(pilot, x, 0)
        assert names(pilot) == ["lite_full", "lite_iter", "r152_final"]
        assert "test↓" in screen_text(pilot)
        await click(pilot, x, 0)
        assert names(pilot) == ["lite_iter", "lite_full", "r152_final"]
        assert "test↑" in screen_text(pilot)
        await click(pilot, x, 0)
        assert names(pilot) == ["lite_iter", "r152_final", "lite_full"]


async def test_the_order_is_chosen_and_turned_round_by_key(home: Path) -> None:
    a_few(home)
    async with opened(home) as pilot:
        await press(pilot, "o", *"name", "enter")
        assert names(pilot) == ["lite_full", "lite_iter", "r152_final"]
        await press(pilot, "O")
        assert names(pilot) == ["r152_final", "lite_iter", "lite_full"]
        assert screen(pilot).twin()[0] == "petbench runs ls --sort=-name"
        await press(pilot, "o", *"newest", "enter", "O")
        assert names(pilot) == ["lite_full", "r152_final", "lite_iter"]


async def test_any_key_becomes_a_column(home: Path) -> None:
    a_few(home)
    async with opened(home) as pilot:
        await press(pilot, "C", *"test.macro", "enter", "escape")
        assert [column.id for column in screen(pilot).table.columns][-1] == "test.macro_f1"
        await press(pilot, *["right"] * 12)
        assert ".790" in screen_text(pilot)
        assert "--columns" in screen(pilot).twin()[0]
        await press(pilot, "C", "ctrl+r", "escape")
        assert "test.macro_f1" not in [column.id for column in screen(pilot).table.columns]


async def test_columns_are_moved(home: Path) -> None:
    a_few(home)
    async with opened(home) as pilot:
        before = [column.id for column in screen(pilot).table.columns]
        await press(pilot, "C", "down", "shift+up", "escape")
        after = [column.id for column in screen(pilot).table.columns]
        assert after[:2] == [before[1], before[0]]


async def test_the_cursor_stays_on_its_run_when_others_come_and_go(home: Path) -> None:
    runs = a_few(home)
    async with opened(home) as pilot:
        await press(pilot, "down")
        make_run(home, "new", age_seconds=-60)
        await reread(pilot)
        assert screen(pilot).table.cursor == runs[1].id
        move_to_trash([runs[0]])
        await reread(pilot)
        assert screen(pilot).table.cursor == runs[1].id
        move_to_trash([runs[1]])
        await reread(pilot)
        assert screen(pilot).table.cursor == runs[2].id


async def test_only_lines_that_changed_are_drawn_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = a_few(home)
    drawn: list[int] = []
    async with opened(home) as pilot:
        monkeypatch.setattr(RunsTable, "redraw_row", lambda table, row: drawn.append(row))
        await reread(pilot)
        drawn.clear()
        change_notes(runs[2], note="new")
        view = pilot.app.view  # type: ignore[attr-defined]
        await reread(pilot)
        assert view is not pilot.app.view  # type: ignore[attr-defined]
    assert set(drawn) <= {0, 1, 2}


async def test_a_click_moves_a_double_click_opens_and_the_margin_selects(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Place] = []
    monkeypatch.setattr("workbench.tui.app.PetbenchApp.go", lambda app, place: asked.append(place))
    runs = a_few(home)
    async with opened(home) as pilot:
        await click(pilot, 10, 2)
        assert screen(pilot).table.cursor == runs[1].id
        assert asked == []
        await click(pilot, 10, 3, times=2)
        assert asked == [WatchPlace(run=runs[2].id)]
        await click(pilot, 0, 1)
        assert "1 selected" in screen_text(pilot)


async def test_paging_and_jumping_reach_every_run(home: Path) -> None:
    for number in range(40):
        make_run(home, f"run{number}", age_seconds=number)
    async with opened(home) as pilot:
        await press(pilot, "G")
        assert names(pilot)[-1] == "run39"
        await press(pilot, "g", "pagedown", "down")
        here = screen(pilot).here
        assert here is not None
        assert here in screen(pilot).table.seen
        await pilot.resize_terminal(100, 12)
        await settle(pilot)
        assert here in screen(pilot).table.seen


async def test_what_was_chosen_is_there_again_the_next_time(home: Path) -> None:
    runs = a_few(home)
    session = Session(None)
    async with opened(home, session=session) as pilot:
        await press(pilot, "slash", *"lite", "enter")
        await press(pilot, "o", *"test", "enter", "down", "space", "C", *"seed", "enter", "escape")
        before = screen_text(pilot)
    async with opened(home, session=session) as pilot:
        assert screen_text(pilot) == before
        assert screen(pilot).query_one(FilterBar).text == "lite"
        assert [run.id for run in screen(pilot).targets] == [runs[0].id]


@pytest.mark.parametrize(
    "values", [{"filter": 3, "columns": "x", "cursor": None}, {"columns": [1, "no.such"]}]
)
async def test_a_session_of_another_making_does_no_harm(home: Path, values: dict[str, object]) -> None:
    a_few(home)
    session = Session(None)
    session.keep("runs", values)
    async with opened(home, session=session) as pilot:
        assert len(names(pilot)) == 3


@pytest.mark.parametrize("size", [(80, 24), WIDE])
async def test_hostile_names_show_as_harmless_text(home: Path, size: tuple[int, int]) -> None:
    run = finished(home, HOSTILE, "aaa1", tags=[HOSTILE], description=HOSTILE)
    change_notes(run, note=HOSTILE, add=["\x1b[31m"])
    async with opened(home, size=size) as pilot:
        await press(pilot, "slash", *"a[/b]", "enter")
        shown = screen_text(pilot)
        assert r"a[/b].jpg \x1b]52" in shown
        assert not any(char in shown for char in "\x1b\x07\u202e")


def test_columns_fit_every_usual_width() -> None:
    for width in range(75, 200):
        for going in (True, False):
            placed = place((), width, name=25, going=going)
            assert placed[-1].start + placed[-1].width <= width
            assert all(a.start + a.width < b.start for a, b in itertools.pairwise(placed))


@pytest.mark.parametrize("text", ["name = [", "", 'name = "x"\npseudo_label = 3\n'])
async def test_a_recipe_that_does_not_tell_is_neither_supervised_nor_fully_labelled(
    home: Path, text: str
) -> None:
    run = finished(home, "lite", "aaa1")
    run.recipe.write_text(text)
    async with opened(home, size=WIDE) as pilot:
        shown = screen_text(pilot)
        assert "100%" not in shown
        assert "supervised" not in shown


async def test_damaged_metrics_are_said_in_the_preview(home: Path) -> None:
    run = finished(home, "lite", "aaa1")
    with run.metrics.open("ab") as stream:
        stream.write(b'{"t": 1, "kind": "epoch", "round": }\n')
    async with opened(home, size=WIDE) as pilot:
        assert "metrics.jsonl: 1 line cannot be read" in screen_text(pilot)
