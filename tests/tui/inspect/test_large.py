"""One image large, and what the helper processes add to it."""

from __future__ import annotations

import pytest

from tests.tui.driving import NARROW, WIDE, opened, said, screen_text, settle
from tests.tui.inspect.making import POOL, FakeHelper, place_of
from tests.tui.inspect.test_choosing import press
from tests.tui.inspect.test_grid import screen_of
from workbench.runs.layout import RunDirectory
from workbench.tui.screens.inspect import image_panel
from workbench.tui.widgets.picture import Picture
from workbench.tui.widgets.tiles import TileGrid


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_panel, "_SETTLE_SECONDS", 0.0)


async def test_enter_shows_one_image_with_its_classes_and_facts(run: RunDirectory) -> None:
    async with opened(run.path.parent, place=place_of(run)) as pilot:
        await press(pilot, "enter")
        text = screen_text(pilot)
        assert not screen_of(pilot).grid.display
        assert POOL[0] in text
        assert "Bengal" in text
        assert "█" in text
        assert "48 × 36" in text
        assert "flips 1" in text
        assert "● taught" in text
        assert "1 of 24" in text
        await press(pilot, "enter")
        assert screen_of(pilot).grid.display


async def test_left_and_right_go_through_the_images_and_escape_goes_back_to_the_grid(
    run: RunDirectory,
) -> None:
    async with opened(run.path.parent, place=place_of(run)) as pilot:
        await press(pilot, "enter", "right", "l", "down", "left")
        assert "3 of 24" in screen_text(pilot)
        assert POOL[2] in screen_text(pilot)
        await press(pilot, "escape")
        assert screen_of(pilot).grid.has_focus
        assert screen_of(pilot).grid.cursor == 2
        await press(pilot, "escape")
        assert len(pilot.app.screen_stack) == 2  # Textual's own and the runs


async def test_a_wide_screen_shows_the_image_beside_the_grid(run: RunDirectory, helper: FakeHelper) -> None:
    async with opened(run.path.parent, place=place_of(run), size=WIDE) as pilot:
        await press(pilot, "right")
        shown = screen_of(pilot)
        assert shown.grid.display
        assert shown.query_one(Picture).display
        assert "n  nearest labelled images" in screen_text(pilot)
        assert helper.asked == []  # going through the grid starts no process
        await press(pilot, "n")
        assert "nearest labelled images" in screen_text(pilot)
        assert "Bengal_00.png" in screen_text(pilot)
        assert len(helper.asked) == 1


async def test_neighbours_are_found_for_the_images_ahead_too_and_asked_for_once(
    run: RunDirectory, helper: FakeHelper
) -> None:
    async with opened(run.path.parent, place=place_of(run)) as pilot:
        await press(pilot, "enter", "n")
        assert "nearest labelled images" in screen_text(pilot)
        assert ".88" in screen_text(pilot)
        assert screen_of(pilot).query_one("#near", TileGrid).display
        await press(pilot, "right", "right", "n", "n")
        assert len(helper.asked) == 1
        command = helper.asked[0]
        assert command[0] == "neighbours"
        assert command[command.index("--") + 1 :] == (str(run.path), *POOL[:8])
    async with opened(run.path.parent, place=place_of(run)) as pilot:
        await press(pilot, "n")
        assert ".88" in screen_text(pilot)  # remembered on disk
    assert len(helper.asked) == 1


async def test_grad_cam_is_laid_over_the_image_and_taken_off_again(
    run: RunDirectory, helper: FakeHelper
) -> None:
    async with opened(run.path.parent, place=place_of(run), size=WIDE) as pilot:
        await press(pilot, "enter", "g")
        await settle(pilot)
        assert "where it sees Bengal" in screen_text(pilot)
        assert "the final model" in screen_text(pilot)
        asked = [command for command in helper.asked if command[0] == "saliency"]
        assert len(asked) == 1
        assert "--teacher" not in asked[0]
        await press(pilot, "g")
        assert "where it sees" not in screen_text(pilot)


async def test_a_transformers_map_says_that_it_is_its_attention(
    run: RunDirectory, helper: FakeHelper
) -> None:
    helper.method = "attention-rollout"
    async with opened(run.path.parent, place=place_of(run), size=WIDE) as pilot:
        await press(pilot, "enter", "g")
        await settle(pilot)
        assert "where its attention lies (roll-out)" in screen_text(pilot)
        assert "where it sees Bengal" not in screen_text(pilot)


async def test_the_first_rounds_grad_cam_is_the_teachers(run: RunDirectory, helper: FakeHelper) -> None:
    async with opened(run.path.parent, place=place_of(run, "round:1")) as pilot:
        await press(pilot, "g")
        await settle(pilot)
        assert screen_of(pilot).large
        assert "what the teacher sees" in screen_text(pilot)
        assert "--teacher" in helper.asked[0]


@pytest.mark.parametrize(
    ("key", "words"), [("g", "no saliency map: out of luck"), ("n", "no neighbours: out of")]
)
async def test_a_helper_that_fails_says_why_in_place_and_is_asked_again_by_the_key(
    run: RunDirectory, helper: FakeHelper, key: str, words: str
) -> None:
    helper.problem = "reading images\npetbench: out of luck"
    async with opened(run.path.parent, place=place_of(run), size=NARROW) as pilot:
        await press(pilot, "enter", key)
        await settle(pilot)
        assert words in screen_text(pilot)
        before = len(helper.asked)
        await press(pilot, "right", "left")
        assert words in screen_text(pilot)
        helper.problem = ""
        await press(pilot, key, key)
        await settle(pilot)
        assert words not in screen_text(pilot)
        assert len(helper.asked) > before
    assert said(pilot) == []
