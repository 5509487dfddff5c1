"""The confusion on the Watch screen: its epoch, its cursor, its order, many classes."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from textual.pilot import Pilot

from tests.runs.making import CLASSES, make_results
from tests.tui.driving import WIDE, coloured, opened, said, screen_text
from tests.tui.watch.driving import press, reread, screen
from tests.tui.watch.runs import made, many_classes, teacher_and_round, write_timed
from workbench.runs.events import ConfusionSeen, StageStarted
from workbench.runs.layout import RunDirectory
from workbench.runs.metrics import MetricsWriter
from workbench.runs.results import write_results
from workbench.tui.app_session import Session
from workbench.tui.places import InspectPlace, Place, WatchPlace
from workbench.tui.screens.watch.confusion_tab import RecallBars
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


async def test_bars_stand_beside_their_classes_from_the_first_drawing_on(home: Path) -> None:
    run = made(home)
    matrix = 100 * np.eye(20, dtype=int)
    for number in range(20):
        matrix[number, number], matrix[number, (number + 1) % 20] = 100 - number, number
    with MetricsWriter(run.metrics) as writer:
        writer.event(StageStarted("fit", 0, 1, 10, 0, False))
        writer.event(ConfusionSeen("fit", 0, 1, matrix.tolist()))
    names = tuple(f"breed_{number:03d}" for number in range(20))
    write_results(run.results, replace(make_results(), classes=names))
    session = Session(None)
    session.keep("watch", {"tab": "confusion"})
    async with opened(home, place=WatchPlace(run.id), size=WIDE, session=session) as pilot:
        # The list of the worst pairs takes its lines from the matrix once it has something to say.
        found = dict(re.findall(r"^ *breed (\d{3}) .*[█▏▎▍▌▋▊▉ ] +(\d+)$", screen_text(pilot), re.MULTILINE))
        assert found == {f"{number:03d}": str(100 - number) for number in range(20)}


async def test_enter_on_a_cell_says_when_its_images_will_be_there(
    run: RunDirectory, places: list[Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.tui.screens.watch.news.class_names", lambda *_: CLASSES)
    async with opened(run.path.parent, place=WatchPlace(run.id)) as pilot:
        await press(pilot, "2", "enter")
        assert "written at the run's end: i shows the pool" in said(pilot)[-1]
        assert places == []


async def test_inspect_of_a_cell_of_a_run_without_predictions_is_no_fault(
    home: Path, clock: list[float]
) -> None:
    run = made(home)
    write_timed(run, list(teacher_and_round())[:6], clock)
    async with opened(home, place=InspectPlace(run.id, "val", "Bengal", "Abyssinian")) as pilot:
        assert "Nothing to look at yet" in screen_text(pilot)


async def test_a_cell_tells_the_kept_models_count_where_it_is_another(
    ended: RunDirectory, places: list[Place]
) -> None:
    async with opened(ended.path.parent, place=WatchPlace(ended.id), size=WIDE) as pilot:
        text = await press(pilot, "2")
        assert "true Bengal → said Abyssinian: 3 of 11  kept r2 ep 3: 1" in text
        assert "r1 epoch 2" in text
        await press(pilot, "right", "right", "enter")
        assert "true Bengal → said beagle: 0 of 11" in screen_text(pilot)
        assert "the kept model (r2 ep 3) says so of no image" in said(pilot)[-1]
        assert places == []
