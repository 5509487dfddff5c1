"""The list of lines alone: where the cursor goes by keys, when lines change, and what is in sight."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.segment import Segment
from textual import events, on
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.strip import Strip

from workbench.tui.widgets.line_list import LineList


class Named(LineList):
    """Draws each line's id, those without one as a dash."""

    HEAD = 1

    def __init__(self) -> None:
        super().__init__()
        self.clicked: list[int | None] = []

    def on_click(self, event: events.Click) -> None:
        self.clicked.append(self.row_at(event))

    def show(self, ids: Sequence[str], otherwise: str = "") -> bool:
        self.names = ids
        return self.set_lines(ids, width=5, otherwise=otherwise)

    def draw_row(self, row: int) -> Strip:
        return Strip([Segment((">" if self.names[row] == self.cursor else " ") + (self.names[row] or "-"))])

    def draw_head(self, line: int) -> Strip:
        return Strip([Segment("head")])


class Bench(App[None]):
    """The list, and where its cursor went."""

    def __init__(self) -> None:
        super().__init__()
        self.moves: list[str] = []

    def compose(self) -> ComposeResult:
        yield Named()

    @on(LineList.Moved)
    def _moved(self, message: LineList.Moved) -> None:
        self.moves.append(message.id)


@asynccontextmanager
async def opened(ids: Sequence[str]) -> AsyncIterator[tuple[Pilot[None], Named]]:
    """A list in a window of ten cells by six lines: the head and five."""
    async with Bench().run_test(size=(10, 6)) as pilot:
        lines = pilot.app.query_one(Named)
        lines.show(ids)
        lines.focus()
        await pilot.pause()
        yield pilot, lines


def drawn(lines: Named) -> list[str]:
    """What is on the screen."""
    return [lines.render_line(y).text.strip() for y in range(lines.size.height)]


LETTERS = list("abcdefghijklmnopqrstuvwxyz")


@pytest.mark.parametrize(
    ("keys", "cursor", "top"),
    [
        (["down", "down"], "c", "a"),
        (["down"] * 6, "g", "c"),
        (["pagedown"], "e", "a"),
        (["pagedown", "pagedown"], "i", "e"),
        (["end"], "z", "v"),
        (["end", "up"], "y", "v"),
        (["end", "home"], "a", "a"),
        (["up"], "a", "a"),
        (["end", "down"], "z", "v"),
    ],
)
async def test_keys_move_the_cursor_and_it_stays_in_sight(keys: list[str], cursor: str, top: str) -> None:
    async with opened(LETTERS) as (pilot, lines):
        await pilot.press(*keys)
        await pilot.pause()
        assert lines.cursor == cursor
        assert drawn(lines)[0] == "head"
        assert drawn(lines)[1].strip(">") == top
        assert f">{cursor}" in drawn(lines)


async def test_lines_without_an_id_are_passed_over() -> None:
    async with opened(["a", "", "", "b", "", "c"]) as (pilot, lines):
        await pilot.press("down", "down", "down")
        assert lines.cursor == "c"
        await pilot.press("up")
        assert lines.cursor == "b"
        assert isinstance(pilot.app, Bench)
        assert pilot.app.moves == ["b", "c", "b"]


async def test_where_no_line_can_have_the_cursor_keys_scroll() -> None:
    async with opened([""] * 30) as (pilot, lines):
        await pilot.press("pagedown")
        await pilot.pause(0.5)
        assert lines.cursor == ""
        assert lines.scroll_y > 0
        await pilot.press("end")
        await pilot.pause(0.5)
        assert lines.in_sight == range(25, 30)


async def test_the_cursor_goes_with_its_line_or_stays_in_its_place_when_that_is_gone() -> None:
    async with opened(["a", "b", "c", "d"]) as (pilot, lines):
        await pilot.press("down", "down")
        assert not lines.show(["c", "a", "b", "d"])
        assert lines.cursor == "c"
        await pilot.press("down")
        assert lines.show(["c", "b", "d"])
        assert lines.cursor == "b"
        assert lines.show(["c", "d"], otherwise="c")
        assert lines.cursor == "c"
        assert lines.show([])
        assert lines.cursor == ""


async def test_a_line_that_is_not_there_yet_gets_the_cursor_as_soon_as_it_is() -> None:
    async with opened(["a", "b"]) as (_, lines):
        lines.move_to("z")
        lines.show(["a", "b", "c"])
        assert lines.cursor == "a"
        lines.show(["a", "z", "b"])
        assert lines.cursor == "z"
        lines.show(["b", "a", "z"])
        assert lines.cursor == "z"


async def test_a_click_tells_the_line_under_it() -> None:
    async with opened(LETTERS) as (pilot, lines):
        await pilot.press("end")
        await pilot.pause()
        await pilot.click(lines, offset=(1, 0))
        await pilot.click(lines, offset=(1, 2))
        assert lines.clicked == [None, 22]
        lines.show(["a"])
        await pilot.pause()
        await pilot.click(lines, offset=(1, 4))
        assert lines.clicked[-1] is None


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.sampled_from([*"abcdef", ""]), unique_by=lambda id: id or object()), min_size=1))
async def test_whatever_lines_come_the_cursor_is_on_one_that_can_have_it(histories: list[list[str]]) -> None:
    lines = Named()
    for ids in histories:
        before = lines.cursor
        lines.show(ids)
        assert lines.cursor in ({id for id in ids if id} or {""})
        assert lines.cursor == before or before not in ids or not before
