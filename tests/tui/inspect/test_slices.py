"""Slices on top of Inspect: found by a helper, kept, and the images of one shown by the query."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.tui.driving import NARROW, WIDE, opened, said, screen_text, settle
from tests.tui.inspect.making import TEST, place_of
from tests.tui.inspect.test_choosing import ids, press
from tests.tui.inspect.test_grid import screen_of
from workbench.runs.layout import RunDirectory
from workbench.tui.app_session import Session
from workbench.tui.helper import HelperResult
from workbench.tui.screens.inspect import InspectScreen, image_panel
from workbench.tui.screens.inspect.slice_list import AskSlice

Snapshot = Callable[[Pilot[None], str], None]


@pytest.fixture(autouse=True)
def _same_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_panel, "_SETTLE_SECONDS", 0.0)
    monkeypatch.setattr("secrets.token_hex", lambda size: "a1" * size)


class SlicesHelper:
    """What `petbench slices` prints, and what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.problem = ""

    async def __call__(self, *arguments: str) -> HelperResult:
        """Two slices of facts, or one cluster."""
        self.asked.append(arguments)
        if self.problem:
            return HelperResult(2, "", self.problem)
        worse = _slice("brightness:1", "brightness 12–71", TEST[:2], 1, "worse", 0.0004)
        other = _slice("class:Bengal", "class Bengal", TEST[1:4], 3, None, 1.0)
        better = _slice("folder:b[/i]", "folder b[/i]", TEST[3:5], 2, "better", 0.002)
        cluster = _slice("cluster:1", "cluster 1: Bengal, beagle", TEST[4:], 1, None, 1.0)
        clusters = "cluster" in arguments
        found = [cluster] if clusters else [worse, other, better]
        record = {"run": "x", "of": "y", "images": 6, "accuracy": 4 / 6, "tried": len(found)}
        record |= {"smallest": 10, "by": ["brightness"], "marked": 2, "slices": found}
        return HelperResult(0, json.dumps(record), "")


def _slice(
    key: str, words: str, images: tuple[str, ...], right: int, mark: str | None, p: float
) -> dict[str, object]:
    share = right / len(images)
    numbers = {"images": len(images), "right": right, "accuracy": share, "rest": 0.75, "p": p}
    return {"key": key, "words": words, **numbers, "interval": [0.1, 0.9], "mark": mark, "ids": list(images)}


@pytest.fixture
def helper(monkeypatch: pytest.MonkeyPatch) -> SlicesHelper:
    """In place of the process."""
    fake = SlicesHelper()
    monkeypatch.setattr(InspectScreen, "ask_helper", fake)
    return fake


def dialog(pilot: Pilot[None]) -> AskSlice:
    """The list on top."""
    assert isinstance(pilot.app.screen, AskSlice)
    return pilot.app.screen


async def test_the_worst_slice_comes_first_and_enter_shows_its_images(
    run: RunDirectory, helper: SlicesHelper
) -> None:
    async with opened(run.path.parent, place=place_of(run, "test")) as pilot:
        await press(pilot, "S")
        text = screen_text(pilot)
        assert "slices of the test images" in text
        assert "1 worse (▼) and 1 better" in text
        assert text.index("brightness 12–71") < text.index("class Bengal") < text.index("folder b[/i]")
        command, *rest = helper.asked[0]
        assert command == "slices"
        assert rest[:2] == ["--split", "test"]
        assert "--images" in rest
        await press(pilot, "enter")
        assert sorted(ids(pilot)) == sorted(TEST[:2])
        assert "brightness 12–71" in screen_text(pilot)
        assert screen_of(pilot).twin()[0].endswith("--split test --slice brightness:1")
        await press(pilot, "0")
        assert sorted(ids(pilot)) == sorted(TEST)


async def test_what_was_found_is_kept_and_looked_for_again_when_asked(
    run: RunDirectory, helper: SlicesHelper
) -> None:
    async with opened(run.path.parent, place=place_of(run, "test")) as pilot:
        await press(pilot, "S", "escape", "S")
        assert len(helper.asked) == 1
        await press(pilot, "r")
        assert len(helper.asked) == 2
        await press(pilot, "f")
        assert helper.asked[2][3:5] == ("--by", "cluster")
        assert "cluster 1: Bengal, beagle" in screen_text(pilot)
        await press(pilot, "enter")
        assert sorted(ids(pilot)) == sorted(TEST[4:])
        await press(pilot, "S")
        assert "cluster 1: Bengal, beagle" in screen_text(pilot)
        await press(pilot, "f", "down", "enter")
        assert sorted(ids(pilot)) == sorted(TEST[1:4])
        await press(pilot, "S", "0")
        assert sorted(ids(pilot)) == sorted(TEST)
        assert len(helper.asked) == 3


async def test_from_the_pool_the_validation_images_are_sliced_and_gone_to(
    run: RunDirectory, helper: SlicesHelper
) -> None:
    async with opened(run.path.parent, place=place_of(run, "round:2")) as pilot:
        await press(pilot, "w", "S")
        assert "slices of the validation images" in screen_text(pilot)
        await press(pilot, "enter")
        assert screen_of(pilot).place.source == "val"
        assert sorted(ids(pilot)) == sorted(TEST[:2])
        assert not screen_of(pilot).queue.query.wrong
        await press(pilot, "greater_than_sign")
        assert sorted(ids(pilot)) == sorted(TEST)  # of another split nothing is known


async def test_the_slice_is_there_again_after_the_app_was_closed(
    run: RunDirectory, helper: SlicesHelper, tmp_path: Path
) -> None:
    kept = tmp_path / "session.json"
    async with opened(run.path.parent, place=place_of(run, "test"), session=Session(kept)) as pilot:
        await press(pilot, "S", "enter")
    async with opened(run.path.parent, session=Session(kept)) as pilot:
        await settle(pilot)
        assert sorted(ids(pilot)) == sorted(TEST[:2])
    assert len(helper.asked) == 1


async def test_what_the_process_says_is_shown_and_nothing_is_lost(
    run: RunDirectory, helper: SlicesHelper
) -> None:
    helper.problem = "petbench: [b]/data: no such directory"
    async with opened(run.path.parent, place=place_of(run, "test")) as pilot:
        await press(pilot, "S")
        assert "[b]/data: no such directory" in screen_text(pilot)
        await press(pilot, "enter", "escape")
        assert sorted(ids(pilot)) == sorted(TEST)
        assert not said(pilot)


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_the_list_of_slices_is_shown(
    run: RunDirectory, helper: SlicesHelper, snapshot: Snapshot, size: tuple[int, int]
) -> None:
    async with opened(run.path.parent, place=place_of(run, "test"), size=size) as pilot:
        await press(pilot, "S", "down")
        await settle(pilot)
        assert dialog(pilot)
        snapshot(pilot, "inspect-slices")
        await press(pilot, "up", "enter")
        await settle(pilot)
        snapshot(pilot, "inspect-slice")
