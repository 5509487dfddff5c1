"""The confusion on the Watch screen: its epoch, its cursor, its order, many classes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.tui.driving import WIDE, coloured, opened, screen_text
from tests.tui.watch.driving import press, reread, screen
from tests.tui.watch.runs import many_classes, teacher_and_round, write_timed
from workbench.runs.layout import RunDirectory
from workbench.tui.places import InspectPlace, Place, WatchPlace
from workbench.tui.screens.watch.recall_bars import RecallBars
from workbench.tui.widgets.heatmap import HeatMap


async def test_the_confusion_follows_every_epoch_until_one_is_chosen(
    run: RunDirectory, clock: list[float]
) -> None:
    async with opened(run.path.parent, place=WatchPlace(run.id)) as pilot:
        assert "r1 epoch 2" in await press(pilot, "2")
        assert "r1 epoch 1" in await press(pilot, "left_square_bracket")
        write_timed(run, list(teacher_and_round())[-5:], clock)
        assert "r1 epoch 1" in await reread(pilot)
        assert "r1 epoch 2" in await press(pilot, "right_square_bracket", "right_square_bracket")


async def test_the_cursor_of_the_confusion_reads_a_pair_and_enter_opens_its_images(
    ended: RunDirectory, places: list[Place]
) -> None:
    async with opened(ended.path.parent, place=WatchPlace(ended.id)) as pilot:
        text = await press(pilot, "2")
        assert "true Bengal → said Abyssinian: 3 of 11" in text
        assert "true Bengal → said Bengal: 8 of 11" in await press(pilot, "right")
        assert "true Bengal → said Abyssinian" in await press(pilot, "left")
        await press(pilot, "enter")
        assert places == [InspectPlace(ended.id, "val", "Bengal", "Abyssinian")]


async def test_the_pair_under_the_cursor_stays_when_classes_are_ordered_anew(ended: RunDirectory) -> None:
    async with opened(ended.path.parent, place=WatchPlace(ended.id)) as pilot:
        await press(pilot, "2")
        for words in ("worst first", "alike together", "by name"):
            text = await press(pilot, "o")
            assert words in text
            assert "true Bengal → said Abyssinian" in text
        assert "true Abyssinian → said Bengal" in await press(pilot, "n")
        assert "true Bengal → said Abyssinian" in await press(pilot, "N")


def bars(pilot: Pilot[None]) -> str:
    """What is drawn of the recall."""
    drawn = screen(pilot).query_one(RecallBars)
    return "".join(drawn.render_line(y).text for y in range(drawn.size.height))


async def test_a_confusion_of_120_classes_is_gone_through(home: Path, clock: list[float]) -> None:
    run = many_classes(home, 120)
    async with opened(home, place=WatchPlace(run.id)) as pilot:
        text = await press(pilot, "2")
        assert "true breed 004 → said breed 007: 6 of 30" in text
        heat = screen(pilot).query_one(HeatMap)
        assert heat.cursor == (4, 7)
        assert "true breed 004 → said breed 008" in await press(pilot, "right")
        await press(pilot, *["shift+down"] * 12)
        assert "true breed 119 → said breed 119: 30 of 30" in await press(pilot, *["shift+right"] * 12)
        assert heat.place.row > 0, "the part of the map that the cursor is in"
        assert "true breed 119" in await press(pilot, "z"), "all of it in blocks"
        assert heat.place.block > 1
        assert bars(pilot).isspace(), "a bar a class has no place beside blocks of classes"
        await press(pilot, "z")
        assert not bars(pilot).isspace()
        assert "true breed 004 → said breed 007" in await press(pilot, "n")
        await press(pilot, "o")
        assert heat.cursor[0] == 0, "the worst class first"


async def test_without_colours_curves_and_confusion_can_still_be_read(
    ended: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(ended.path.parent, place=WatchPlace(ended.id), size=WIDE) as pilot:
        assert coloured(pilot)
    monkeypatch.setenv("NO_COLOR", "1")
    async with opened(ended.path.parent, place=WatchPlace(ended.id), size=WIDE) as pilot:
        text = screen_text(pilot)
        assert "─ val  ┄ train" in text
        assert re.search("[▒▓█]{2}", text), "cells are shades"
        for key in "12345":
            await press(pilot, key)
            assert not coloured(pilot), f"tab {key}"
