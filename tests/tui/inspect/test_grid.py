"""The grid of Inspect: what is in it, moving through it, and what happens when something is not there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.runs.making import CLASSES
from tests.tui.driving import NARROW, WIDE, bench, opened, reread, said, screen_text, settle, top
from tests.tui.hostile import FORBIDDEN, make_hostile_run
from tests.tui.inspect.making import POOL, TEST, add_round, make_inspectable, place_of
from workbench.runs.layout import RunDirectory
from workbench.tui.app_session import Session
from workbench.tui.places import InspectPlace, Place, WatchPlace
from workbench.tui.screens.inspect import InspectScreen


def screen_of(pilot: Pilot[None]) -> InspectScreen:
    """The screen under test."""
    shown = top(pilot)
    assert isinstance(shown, InspectScreen)
    return shown


async def test_the_last_rounds_least_sure_images_come_first(run: RunDirectory) -> None:
    async with opened(run.path.parent, place=place_of(run)) as pilot:
        shown = screen_of(pilot)
        assert [opinion.id for opinion in shown.queue.shown] == list(POOL)
        text = screen_text(pilot)
        assert "pool, round 2 of 2" in text
        assert "least sure first by confidence" in text
        assert "1–6 of 24" in text
        assert "✗ Abyssinian" in text  # the first is wrong
        assert ".44" in text
        assert "▀" in text  # pictures, not names


@pytest.mark.parametrize(("keys", "index"), [
    (["right", "right"], 2),
    (["l", "j"], 4),
    (["down", "down", "up"], 3),
    (["j", "j", "k", "h"], 2),
    (["pagedown"], 6),
    (["pagedown", "pageup"], 0),
    (["end"], 23),
    (["end", "home"], 0),
    (["left"], 0),
    (["up"], 0),
    (["end", "right", "down"], 23),
])  # fmt: skip
async def test_keys_move_by_tiles_rows_and_pages(run: RunDirectory, keys: list[str], index: int) -> None:
    async with opened(run.path.parent, place=place_of(run)) as pilot:
        await pilot.press(*keys)
        await settle(pilot)
        current = screen_of(pilot).current
        assert current is not None
        assert current.id == POOL[index]
        assert current.id in screen_text(pilot)


async def test_a_click_moves_and_a_second_one_opens(run: RunDirectory) -> None:
    async with opened(run.path.parent, place=place_of(run)) as pilot:
        shown = screen_of(pilot)
        await pilot.click("#grid", offset=(30, 3))
        await settle(pilot)
        assert shown.grid.cursor == 1
        assert not shown.large
        await pilot.click("#grid", offset=(30, 3))
        await settle(pilot)
        assert shown.large


async def test_the_grid_fits_itself_to_the_window_around_the_same_image(run: RunDirectory) -> None:
    async with opened(run.path.parent, place=place_of(run)) as pilot:
        await pilot.press("end", "left")
        await pilot.resize_terminal(60, 20)
        await settle(pilot)
        shown = screen_of(pilot)
        assert shown.current is not None
        assert shown.current.id == POOL[22]
        assert shown.grid.tiling.columns == 2
        assert "23–24 of 24" in screen_text(pilot)
        await pilot.resize_terminal(*WIDE)
        await settle(pilot)
        assert shown.grid.tiling.per_page > 12
        assert POOL[22] in screen_text(pilot)


async def test_z_shows_larger_pictures_twice_then_six_again_and_the_app_remembers(run: RunDirectory) -> None:
    session = Session(None)
    async with opened(run.path.parent, place=place_of(run), session=session) as pilot:
        grid = screen_of(pilot).grid
        await pilot.press("end", "left")
        seen = [(grid.tiling.per_page, grid.tiling.picture_rows)]
        for _ in range(3):
            await pilot.press("z")
            await settle(pilot)
            seen.append((grid.tiling.per_page, grid.tiling.picture_rows))
            current = screen_of(pilot).current
            assert current is not None
            assert current.id == POOL[22]  # the cursor stays
        assert seen == [(6, 7), (2, 16), (1, 16), (6, 7)]
        await pilot.press("z", "enter", "z")
        assert "enter goes back to the grid" in " ".join(said(pilot))
    async with opened(run.path.parent, place=place_of(run), session=session) as pilot:
        assert screen_of(pilot).grid.zoom == 1


async def test_images_that_are_not_on_this_machine_leave_their_names_and_a_message(
    home: Path, data: Path
) -> None:
    run = make_inspectable(home, data)
    shutil.rmtree(data)
    async with opened(home, place=place_of(run)) as pilot:
        text = screen_text(pilot)
        assert "no such directory" in " ".join(text.split())
        assert "ssinian_00.png" in text
        await pilot.press("right", "enter")
        await settle(pilot)
        assert "the images are not on this machine" in screen_text(pilot)
        await pilot.press("g")
        assert "the images are not on this machine" in said(pilot)


async def test_one_missing_or_broken_file_says_so_in_its_place(run: RunDirectory, data: Path) -> None:
    (data / POOL[0]).write_bytes(b"no image at all")
    (data / POOL[1]).unlink()
    async with opened(run.path.parent, place=place_of(run)) as pilot:
        text = screen_text(pilot)
        assert "ssinian_00.png" in text
        assert "Bengal_00.png" in text
        assert "▀" in text


async def test_a_run_that_has_said_nothing_yet_tells_when_it_will(home: Path, data: Path) -> None:
    run = make_inspectable(home, data, finished=False, rounds=0)
    async with opened(home, place=place_of(run)) as pilot:
        assert "Nothing to look at yet" in screen_text(pilot)
        await pilot.press("enter", "a", "w")
        assert "this run has nothing to inspect yet" in said(pilot)
        add_round(run, 1)
        await reread(pilot)
        text = screen_text(pilot)
        assert "Nothing to look at yet" not in text
        assert "pool, round 1 of 1" in text


async def test_one_can_leave_before_anything_was_read(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(InspectScreen, "_load", lambda *_: None)
    async with opened(run.path.parent, place=place_of(run)) as pilot:
        assert screen_of(pilot).queue.material is None
        await pilot.press("a")
        assert said(pilot) == ["this run has nothing to inspect yet"]
        await pilot.press("escape")
        await settle(pilot)
        assert not isinstance(top(pilot), InspectScreen)


async def test_a_broken_ledger_is_told_and_the_other_sources_stay_open(run: RunDirectory) -> None:
    run.ledger(2).write_text("not,a,ledger\n")
    async with opened(run.path.parent, place=place_of(run)) as pilot:
        assert "not a pseudo-label ledger" in screen_text(pilot)
        await pilot.press("less_than_sign")
        await settle(pilot)
        assert "not a pseudo-label ledger" in screen_text(pilot)  # flips are counted over all rounds
        await pilot.press("full_stop", "full_stop", "full_stop")
        await settle(pilot)
        assert "test images" in screen_text(pilot)
        assert [opinion.id for opinion in screen_of(pilot).queue.shown] == list(TEST)


async def test_where_one_was_is_there_again_after_a_restart(run: RunDirectory, tmp_path: Path) -> None:
    session = Session(tmp_path / "session.json")
    async with opened(run.path.parent, place=place_of(run, "round:1"), session=session) as pilot:
        await pilot.press("O", "t", "right", "right", "enter")
        await settle(pilot)
        session.save()
        before = screen_of(pilot)
        assert before.current is not None
        image = before.current.id
    async with opened(run.path.parent, session=Session(tmp_path / "session.json")) as pilot:
        await settle(pilot)
        after = screen_of(pilot)
        assert after.current is not None
        assert (after.current.id, after.queue.query, after.large) == (image, before.queue.query, True)
        assert "pool, round 1 of 2" in screen_text(pilot)


async def test_a_cell_of_the_confusion_matrix_opens_on_its_images(run: RunDirectory) -> None:
    place = InspectPlace(run=run.id, source="test", true=CLASSES[0], said=CLASSES[1])
    async with opened(run.path.parent, place=place) as pilot:
        assert [opinion.id for opinion in screen_of(pilot).queue.shown] == [TEST[0], TEST[3]]
        assert f"{CLASSES[0]} → {CLASSES[1]}" in screen_text(pilot)
        await pilot.press("0")
        await settle(pilot)
        assert len(screen_of(pilot).queue.shown) == len(TEST)
        assert screen_of(pilot).place == InspectPlace(run=run.id, source="test")


async def test_the_command_lines_give_what_is_shown(run: RunDirectory) -> None:
    async with opened(run.path.parent, place=place_of(run, "round:1")) as pilot:
        await pilot.press("w", "t", "O")
        await settle(pilot)
        lines = screen_of(pilot).twin()
        assert lines[0] == f"petbench inspect {run.handle} --round 1 --surest --wrong --selected"
        await pilot.press("0", "O", "r", "enter")
        await settle(pilot)
        await pilot.press("home")
        assert f"petbench review {run.handle} --relabel {POOL[0]} Abyssinian" in screen_of(pilot).twin()
        await pilot.press("y")
        await settle(pilot)
        assert f"petbench inspect {run.handle} --round 1" in screen_text(pilot)


async def test_the_curves_are_a_key_away(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(run.path.parent, place=place_of(run)) as pilot:
        gone: list[Place] = []
        monkeypatch.setattr(bench(pilot), "go", gone.append)
        await pilot.press("W")
        assert gone == [WatchPlace(run=run.id)]


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_hostile_names_are_shown_harmlessly_everywhere(home: Path, size: tuple[int, int]) -> None:
    run = make_hostile_run(home)
    async with opened(home, place=place_of(run, "round:1"), size=size) as pilot:
        for keys in (["right"], ["enter"], ["r"], ["escape"], ["a"], ["escape"], ["c"], ["escape"], ["y"]):
            await pilot.press(*keys)
            await settle(pilot)
            shown = screen_text(pilot).encode()
            assert not [poison for poison in FORBIDDEN if poison in shown]
            assert b"EVIL" in shown
