"""The app as a whole: where one can go, what is kept, what happens when something goes wrong."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from textual import events
from textual.widgets import Input

from tests.runs.making import finish, make_results, make_run
from tests.tui.driving import NARROW, WIDE, bench, coloured, opened, reread, said, screen_text, settle, top
from workbench.runs.process import write_exit, write_process
from workbench.support.errors import UserError
from workbench.support.paths import state_home
from workbench.tui import screens
from workbench.tui.actions import SCOPES
from workbench.tui.app_session import Session
from workbench.tui.helper import HelperResult
from workbench.tui.palette import PaletteEntries
from workbench.tui.places import ComparePlace, ComposePlace, InspectPlace, Place, RunsPlace, WatchPlace
from workbench.tui.screens.compose import networks
from workbench.tui.screens.dialogs import HelpScreen, ProblemScreen, TwinScreen
from workbench.tui.themes import DEFAULT_THEME


@pytest.fixture(autouse=True)
def _no_helpers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose asks a process that loads torch about the backbone; here nobody answers."""

    async def refuse(*_: str) -> HelperResult:
        return HelperResult(1, "", "not in this test")

    monkeypatch.setattr(networks, "run_petbench", refuse)


@pytest.fixture
def two_runs(home: Path) -> tuple[str, str]:
    """Two finished runs; their ids, the newer first."""
    older = finish(make_run(home, "older", age_seconds=60), make_results(0.8))
    newer = finish(make_run(home, "newer"), make_results(0.9))
    return newer.id, older.id


def places_of(runs: tuple[str, str]) -> list[Place]:
    return [RunsPlace(), ComposePlace(), WatchPlace(runs[0]), ComparePlace(runs), InspectPlace(runs[0])]


@pytest.mark.parametrize("size", [NARROW, WIDE, (40, 12)], ids=str)
@pytest.mark.parametrize("number", range(5), ids=["runs", "compose", "watch", "compare", "inspect"])
async def test_every_screen_opens_explains_itself_and_tells_its_command(
    home: Path, two_runs: tuple[str, str], number: int, size: tuple[int, int]
) -> None:
    place = places_of(two_runs)[number]
    async with opened(home, place=place, size=size) as pilot:
        screen = top(pilot)
        assert place.kind == screen.SCOPE
        assert screen.twin(), "a screen without a command line"
        assert all(command.startswith("petbench") for command in screen.twin())
        screen.set_focus(None)
        await pilot.press("question_mark")
        assert isinstance(pilot.app.screen, HelpScreen)
        await pilot.press("escape", "y")
        await pilot.pause()
        assert isinstance(pilot.app.screen, TwinScreen)
        await pilot.press("escape")
        assert top(pilot) is screen


async def test_going_somewhere_and_back_and_never_twice_to_the_same_kind(
    home: Path, two_runs: tuple[str, str]
) -> None:
    newer, older = two_runs
    async with opened(home) as pilot:
        app = bench(pilot)
        app.go(WatchPlace(newer))
        app.go(InspectPlace(newer))
        await settle(pilot)
        assert top(pilot).place == InspectPlace(newer)
        app.go(WatchPlace(older))  # replaces the first watch and what lay on it
        await settle(pilot)
        assert top(pilot).place == WatchPlace(older)
        await pilot.press("escape")
        assert top(pilot).place == RunsPlace()
        await pilot.press("escape")
        assert top(pilot).place == RunsPlace()


async def test_the_app_opens_where_it_was_left(home: Path, two_runs: tuple[str, str], tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    async with opened(home, place=WatchPlace(two_runs[1]), session=Session(kept)) as pilot:
        pilot.app.theme = "petbench-light"
        await pilot.pause()
        bench(pilot).session.save()  # as the timer does; a kill may follow
    async with opened(home, session=Session(kept)) as pilot:
        assert top(pilot).place == WatchPlace(two_runs[1])
        assert pilot.app.theme == "petbench-light"
        await pilot.press("escape")
        assert top(pilot).place == RunsPlace()


async def test_a_place_whose_run_is_gone_is_not_opened_again(home: Path, tmp_path: Path) -> None:
    session = Session(tmp_path / "kept.json")
    session.keep("app", {"theme": "no such theme", "places": [{"kind": "watch", "run": "gone"}, 7]})
    async with opened(home, session=session) as pilot:
        assert top(pilot).place == RunsPlace()
        assert pilot.app.theme == DEFAULT_THEME


async def test_the_palette_finds_runs_recipes_and_actions(home: Path, two_runs: tuple[str, str]) -> None:
    async with opened(home, size=WIDE) as pilot:
        top(pilot).set_focus(None)
        await pilot.press("ctrl+p")
        await pilot.press(*"run", "colon", "space", *"older")  # "older" alone is in "folder"
        for _ in range(50):
            await asyncio.sleep(0.05)
            await pilot.pause()
            if f"run: older {two_runs[1]}" in screen_text(pilot):
                break
        await pilot.press("down", "enter")
        await settle(pilot)
        assert top(pilot).place == WatchPlace(two_runs[1])


async def test_before_anything_is_typed_the_palette_offers_the_screens_actions_then_the_newest_runs(
    home: Path,
) -> None:
    for number in range(7):
        make_run(home, f"run{number}")
    async with opened(home) as pilot:
        palette = PaletteEntries(top(pilot))
        found = [str(hit.text) async for hit in palette.discover()]
        offered = [text.partition(":")[0] for text in found]
        assert offered[: len(SCOPES["runs"])] == ["runs"] * len(SCOPES["runs"])
        assert offered.count("run") == 5
        assert offered.index("app") < offered.index("go") < offered.index("run") < offered.index("recipe")


async def test_a_run_that_ends_is_told(home: Path) -> None:
    run = make_run(home, "lively")
    write_process(run, "cpu")
    async with opened(home) as pilot:
        assert said(pilot) == []
        write_exit(run, code=1, reason="the disk is \x1b[31mfull")
        await reread(pilot)
        (message,) = said(pilot)
        assert "lively: failed" in message
        assert r"the disk is \x1b[31mfull" in message
        await reread(pilot)
        assert len(said(pilot)) == 1


async def test_a_fault_is_a_panel_with_the_log_and_the_app_goes_on(home: Path) -> None:
    async with opened(home) as pilot:
        app = bench(pilot)
        app.report_fault(ValueError("a [/b] fault"))
        await pilot.pause()
        assert isinstance(app.screen, ProblemScreen)
        shown = screen_text(pilot)
        assert "a [/b] fault" in shown
        assert "Traceback" not in shown
        assert "ValueError" in (state_home() / "app.log").read_text()
        await pilot.press("escape")
        assert top(pilot).place == RunsPlace()
        assert [str(fault) for fault in app.faults] == ["a [/b] fault"]
        app.faults.clear()


async def test_a_fault_in_a_handler_leaves_the_screen_alive(
    home: Path, two_runs: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(home) as pilot:
        app, screen = bench(pilot), top(pilot)

        def fail(*_: object) -> None:
            raise RuntimeError("in a handler")

        with monkeypatch.context() as patch:
            patch.setattr(type(screen), "runs_changed", fail)
            await reread(pilot)
        assert isinstance(app.screen, ProblemScreen)
        await pilot.press("r")
        await reread(pilot)
        assert top(pilot) is screen
        assert "newer" in screen_text(pilot)
        assert app.faults
        app.faults.clear()


@pytest.mark.usefixtures("two_runs")
async def test_a_screen_that_cannot_be_made_leaves_the_one_below_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_place: Place) -> None:
        raise ImportError("half of a module")

    async with opened(home) as pilot:
        app = bench(pilot)
        with monkeypatch.context() as patch:
            patch.setattr("workbench.tui.app.screen_for", fail)
            await pilot.press("enter")
            await pilot.pause()
        assert isinstance(app.screen, ProblemScreen)
        await pilot.press("escape")
        await pilot.press("escape")
        assert top(pilot).place == RunsPlace()
        await pilot.press("enter")
        assert top(pilot).place.kind == "watch"
        assert app.faults
        app.faults.clear()


def test_threads_that_need_the_screens_at_once_load_them_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loading: list[int] = []
    met: list[bool] = []

    def load(_name: str) -> None:
        loading.append(threading.get_ident())
        time.sleep(0.001)
        met.append(loading[-1] == threading.get_ident() and len(set(loading)) == 1)
        loading.pop()

    monkeypatch.setattr(screens, "import_module", load)
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(screens.load_screens) for _ in range(4)]:
            done.result()
    assert len(met) > 4
    assert all(met)


async def test_a_mistake_of_the_users_is_told_as_one(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(home) as pilot:
        screen = top(pilot)
        action = SCOPES["runs"][0]

        def refuse(*_: object) -> None:
            raise UserError("no [such] thing", where="here", hint="do that")

        monkeypatch.setattr(screen, f"do_{action.name}", refuse)
        monkeypatch.setattr(screen, "why_not", lambda _action: None)
        screen.perform(action)
        await pilot.pause()
        assert said(pilot) == ["here: no [such] thing\ndo that"]


async def test_an_action_that_cannot_be_done_says_why(home: Path) -> None:
    async with opened(home) as pilot:
        screen = top(pilot)
        refused = {action.id: screen.why_not(action.id) for action in SCOPES["runs"]}
        assert any(refused.values()), "an empty table refuses what needs a run"
        action = next(action for action in SCOPES["runs"] if refused[action.id])
        screen.perform(action)
        await pilot.pause()
        assert said(pilot) == [refused[action.id]]


async def test_a_picture_of_the_screen_is_saved_as_svg(
    home: Path, two_runs: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with opened(home) as pilot:
        await pilot.press("f12")
        await pilot.pause()
        (picture,) = tmp_path.glob("*.svg")
        assert "newer" in picture.read_text()
        assert picture.name in said(pilot)[0]


@pytest.mark.parametrize("theme", ["petbench-dark", "petbench-light", "petbench-contrast", "nord"])
async def test_every_screen_draws_in_every_theme(home: Path, two_runs: tuple[str, str], theme: str) -> None:
    async with opened(home) as pilot:
        pilot.app.theme = theme
        for place in places_of(two_runs):
            bench(pilot).go(place)
            await settle(pilot)
            assert place.kind == top(pilot).SCOPE


async def test_no_colour_is_used_where_the_user_wants_none(
    home: Path, two_runs: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with opened(home) as pilot:
        for place in places_of(two_runs):
            bench(pilot).go(place)
            await settle(pilot)
            assert not coloured(pilot)


async def test_resizing_live_keeps_what_was_there(home: Path, two_runs: tuple[str, str]) -> None:
    async with opened(home, size=WIDE) as pilot:
        for place in places_of(two_runs):
            bench(pilot).go(place)
            await settle(pilot)
            for size in (NARROW, (40, 12), WIDE):
                await pilot.resize_terminal(*size)
                await settle(pilot)
                assert top(pilot).place.kind == place.kind


async def test_keys_typed_at_once_reach_what_the_first_of_them_opens(
    home: Path, two_runs: tuple[str, str]
) -> None:
    async with opened(home) as pilot:
        for key, character in (("slash", "/"), *((letter, letter) for letter in "newer")):
            pilot.app.post_message(events.Key(key, character))
        await settle(pilot)
        for _ in range(20):
            await pilot.pause()
        assert isinstance(pilot.app.focused, Input)
        assert pilot.app.focused.value == "newer"


async def test_a_key_whose_widget_goes_does_not_hold_up_the_others(
    home: Path, two_runs: tuple[str, str]
) -> None:
    async with opened(home, place=WatchPlace(two_runs[0])) as pilot:
        for key in ("escape", "slash"):  # the first takes the screen away that it goes through
            pilot.app.post_message(events.Key(key, None))
        await settle(pilot)
        for _ in range(20):
            await pilot.pause(0.05)
        assert top(pilot).place == RunsPlace()
        assert isinstance(pilot.app.focused, Input)


async def test_letters_move_only_where_nothing_is_typed(home: Path, two_runs: tuple[str, str]) -> None:
    async with opened(home) as pilot:
        await pilot.press("slash")
        await pilot.pause()
        assert isinstance(pilot.app.focused, Input)
        await pilot.press(*"hjkl?q")
        assert pilot.app.focused.value == "hjkl?q"


async def test_control_c_says_in_plain_words_which_keys_leave(home: Path) -> None:
    async with opened(home) as pilot:
        await pilot.press("ctrl+c")
        await settle(pilot)
        (told,) = said(pilot)
        assert "q quits" in told
        assert "[b]" not in told
        await pilot.press("ctrl+q")
        await settle(pilot)
        assert not pilot.app.is_running
