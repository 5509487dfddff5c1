"""The log on the Watch screen: followed, searched, and never obeyed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tui.driving import NARROW, WIDE, opened, top
from tests.tui.watch.driving import Snapshot, press, reread, screen
from tests.tui.watch.runs import made
from workbench.runs.layout import RunDirectory
from workbench.runs.process import write_exit
from workbench.tui.places import WatchPlace
from workbench.tui.screens.watch import WatchScreen
from workbench.tui.screens.watch.log_tab import LogPanel


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_a_search_of_the_log_as_it_is_kept(
    ended: RunDirectory, size: tuple[int, int], snapshot: Snapshot
) -> None:
    async with opened(ended.path.parent, place=WatchPlace(ended.id), size=size) as pilot:
        await press(pilot, "slash", *"epoch 1")  # from the curves: every letter goes into the search
        snapshot(pilot, "watch-log-search")


async def test_the_log_is_searched(run: RunDirectory) -> None:
    async with opened(run.path.parent, place=WatchPlace(run.id)) as pilot:
        assert "following" in await press(pilot, "4")
        await press(pilot, "slash")
        text = await press(pilot, *"GiB left")
        assert "1 of 1 found" in text
        assert "the device has 2 GiB left" in text
        await press(pilot, "enter")
        assert not screen(pilot).query_one(LogPanel).is_searching
        await press(pilot, "slash", "ctrl+u", *"epoch 1", "enter")
        view = screen(pilot).query_one(LogPanel).view
        first = view.current
        await press(pilot, "n")
        assert view.current != first
        await press(pilot, "N")
        assert view.current == first
        await press(pilot, "escape")
        assert view.words == ""
        assert isinstance(top(pilot), WatchScreen)


async def test_the_log_follows_unless_one_goes_up(run: RunDirectory) -> None:
    async with opened(run.path.parent, place=WatchPlace(run.id)) as pilot:
        await press(pilot, "4")
        view = screen(pilot).query_one(LogPanel).view
        assert view.following
        await press(pilot, "home")
        assert not view.following
        with run.log.open("a") as stream:
            stream.write("2026-11-22 12:02:00 the newest line\n")
        assert "the newest line" not in await reread(pilot)
        assert "the newest line" in await press(pilot, "f")
        assert view.following


async def test_hostile_text_of_a_run_shows_as_text(home: Path, clock: list[float]) -> None:
    run = made(home)
    evil = "\x1b]52;c;ZXZpbA==\x07[bold]\u202eevil"
    run.log.write_text(f"2026-11-22 12:00:00 {evil}\n[/b] {evil}\n")
    run.recipe.write_text(run.recipe.read_text() + f"\n# {evil}\n[/b]\n")
    write_exit(run, code=1, reason=evil)
    async with opened(home, place=WatchPlace(run.id)) as pilot:
        for key in "12345":
            text = await press(pilot, key)
            assert "\x1b" not in text
            assert "\u202e" not in text
        assert "[bold]" in await press(pilot, "4")
