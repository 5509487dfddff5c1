"""What is drawn can be read in terminals of 16 colours, and of 8."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from rich.color import ColorType
from rich.palette import Palette
from textual.color import Color
from textual.pilot import Pilot

from tests.runs.making import NOW
from tests.tui.compare.making import live_run, two_recipes
from tests.tui.driving import WIDE, reread, settle
from tests.tui.runs.states import a_few
from workbench.tui.app import PetbenchApp
from workbench.tui.app_session import Session
from workbench.tui.pictures.blocks import Blocks, draw, picture_characters, shrink
from workbench.tui.places import ComparePlace, ComposePlace, InspectPlace, Place, WatchPlace
from workbench.tui.terminal import LEAST_CONTRAST, VGA, FewColours, contrast, has_few_colours
from workbench.tui.themes import themes
from workbench.tui.widgets.heatmap import HeatMap

_HALVES = picture_characters() | {" "}
"""Where both colours are a picture's."""


@pytest.mark.parametrize("term", ["xterm", "linux", "screen", "vt220", "tmux", "ansi"])
def test_terminals_of_few_colours_are_known(term: str) -> None:
    assert has_few_colours({"TERM": term})
    assert not has_few_colours({"TERM": f"{term}-256color"})
    assert not has_few_colours({"TERM": term, "COLORTERM": "truecolor"})


def unreadable(pilot: Pilot[None]) -> list[str]:
    """What is on the screen in colours that are too near to each other, in 16 or in 8 colours."""
    found = []
    for strip in pilot.app.screen._compositor.render_strips():
        for text, style, _ in strip:
            if style is None or not text.strip() or set(text) <= _HALVES:
                continue
            colours = [colour for colour in (style.color, style.bgcolor) if colour is not None]
            assert all(colour.type in (ColorType.STANDARD, ColorType.DEFAULT) for colour in colours), text
            if style.color is None or style.bgcolor is None:
                continue
            word, ground = style.color.number, style.bgcolor.number
            assert word is not None
            assert ground is not None
            assert ground < 8, "eight colours have no bright ground"
            # Eight colours show a bright word as the dark one.
            worst = min(contrast(word, ground), contrast(word % 8, ground))
            if worst < LEAST_CONTRAST:
                found.append(f"{text!r} {word} on {ground}: {worst:.1f}")
    return found


async def looked_at(home: Path, theme: str, places: list[Place], *keys: str) -> list[str]:
    """Every screen of the app in this theme, then what the keys show."""
    session = Session(None)
    session.keep("app", {"theme": theme})
    app = PetbenchApp(home, home, session, now=NOW.timestamp, few_colours=True, live=False)
    found = []
    async with app.run_test(size=WIDE) as pilot:
        await reread(pilot)
        found += unreadable(pilot)
        for place in places:
            app.go(place)
            await settle(pilot)
            found += unreadable(pilot)
            for key in keys:
                await pilot.press(key)
                await pilot.pause(0.05)
                found += unreadable(pilot)
        assert not app.faults
    return found


@pytest.mark.parametrize("theme", [theme.name for theme in themes()])
async def test_every_word_on_every_screen_is_told_from_its_ground(home: Path, theme: str) -> None:
    runs = [*two_recipes(home), live_run(home, "going")]
    a_few(home)
    places: list[Place] = [
        WatchPlace(runs[0].id),
        ComparePlace(tuple(run.id for run in runs)),
        InspectPlace(runs[0].id),
        ComposePlace(),
    ]
    assert await looked_at(home, theme, places, "2", "down", "question_mark", "escape") == []


async def test_a_heat_map_is_drawn_in_shades(home: Path) -> None:
    app = PetbenchApp(home, home, Session(None), now=NOW.timestamp, few_colours=True, live=False)
    runs = two_recipes(home)
    async with app.run_test(size=WIDE) as pilot:
        await reread(pilot)
        app.go(WatchPlace(runs[0].id))
        await settle(pilot)
        assert app.screen.query_one(HeatMap).shades


@pytest.mark.parametrize("blocks", list(Blocks))
def test_pictures_of_any_blocks_keep_their_shapes_in_16_colours(blocks: Blocks) -> None:
    image = Image.radial_gradient("L").resize((64, 64)).convert("RGB")
    image.paste((250, 60, 20), (0, 0, 20, 64))
    for line in draw(shrink(image, 12, 6, blocks)):
        shown = FewColours().apply(line, Color(10, 20, 30))
        assert [cell.text for cell in shown] == [cell.text for cell in line]
        for cell, before in zip(shown, line, strict=True):
            assert cell.style is not None
            assert before.style is not None
            assert cell.style.color is not None
            assert cell.style.bgcolor is not None
            assert cell.style.bgcolor.number in range(8)
            assert cell.style.color.type is ColorType.STANDARD
            assert before.style.color is not None
            # The nearest of 16, though it may be near to what is behind: both are the picture.
            assert cell.style.color.number == Palette(VGA).match(before.style.color.get_truecolor())
