"""Two windows compose at once: each has its draft, and each finds the other's."""

from __future__ import annotations

import os
from pathlib import Path

from textual.pilot import Pilot

from tests.tui.driving import opened, said, screen_text, settle, top
from workbench.tui.app_session import Session
from workbench.tui.places import ComposePlace
from workbench.tui.screens.compose import ComposeScreen

MINE = ComposePlace("recipes/mine.toml")


def window(path: Path) -> Session:
    session = Session(path)
    session.claim()
    return session


def close(session: Session) -> None:
    """What the end of its process does."""
    session.save()
    assert session._claim is not None
    os.close(session._claim)


def compose(pilot: Pilot[None]) -> ComposeScreen:
    found = top(pilot)
    assert isinstance(found, ComposeScreen)
    return found


async def test_each_window_has_a_draft_of_its_own_and_finds_the_others(desk: Path, tmp_path: Path) -> None:
    home, path = tmp_path / "runs", tmp_path / "state" / "app.json"
    home.mkdir()
    first, second = window(path), window(path)
    async with opened(home, session=first, place=MINE) as pilot:
        compose(pilot).set_field("seed", "11")
        first.save()
    async with opened(home, session=second) as pilot:
        assert "window 2" in screen_text(pilot)
        assert "open on these runs already" in said(pilot)[0]
        await pilot.press("n")
        await settle(pilot)
        assert compose(pilot).draft.look()["seed"] == 0
        compose(pilot).set_field("seed", "22")
        second.save()
        assert [draft.look()["seed"] for draft in compose(pilot).drafts_elsewhere()] == [11]
        await pilot.press("o")
        await pilot.pause()
        assert "set aside  mine  from recipes/mine.toml" in screen_text(pilot)
        await pilot.press("escape")
    async with opened(home, session=first) as pilot:
        assert compose(pilot).draft.look()["seed"] == 11
        assert [draft.look()["seed"] for draft in compose(pilot).drafts_elsewhere()] == [22]
    close(first)
    close(second)
    async with opened(home, session=window(path)) as pilot:
        assert compose(pilot).draft.look()["seed"] == 11
        assert [draft.look()["seed"] for draft in compose(pilot).model.shelf] == [22]
