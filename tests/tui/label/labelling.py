"""Driving the Label screen: opened with its engine's first offer on the screen, and the file as it stands."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from textual.pilot import Pilot

from tests.tui.driving import NARROW, opened, settle, top
from tests.tui.terminals import PATIENCE_SECONDS
from workbench.labels.journal import NAME, Journal, read
from workbench.tui.app_session import Session
from workbench.tui.places import LabelPlace
from workbench.tui.screens.label import LabelScreen


@contextlib.asynccontextmanager
async def labelling(
    photos: Path,
    *,
    size: tuple[int, int] = NARROW,
    by: str = "ann",
    session: Session | None = None,
    to_offer: bool = True,
) -> AsyncIterator[Pilot[None]]:
    """The screen on a folder; with the first offer that the engine chose, unless `to_offer` is off."""
    home = photos.parent / "runs"
    home.mkdir(exist_ok=True)
    place = LabelPlace(str(photos), by=by)
    async with opened(home, place=place, size=size, session=session) as pilot:
        await until(pilot, lambda: screen_of(pilot).sheet is not None or screen_of(pilot).desk.is_done)
        if to_offer:
            await until(pilot, lambda: screen_of(pilot).desk.ahead is not None)
            await pilot.press("s")  # what chance drew, before the engine had started
            await settled(pilot)
        yield pilot


def screen_of(pilot: Pilot[None]) -> LabelScreen:
    """The screen under test."""
    shown = top(pilot)
    assert isinstance(shown, LabelScreen)
    return shown


async def until(pilot: Pilot[None], happened: Callable[[], bool]) -> None:
    """Wait for something that is bound to happen; a process answers in its own time."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        assert time.monotonic() < end, "waited in vain"
        await asyncio.sleep(0.02)
        await pilot.pause()


async def settled(pilot: Pilot[None]) -> None:
    """Wait until every stroke is on the disk, and the engine has answered."""
    desk = screen_of(pilot).desk
    await settle(pilot)
    await until(
        pilot, lambda: not desk.pending and (desk.asked is None or not screen_of(pilot).chooser.is_there)
    )
    await settle(pilot)


async def press(pilot: Pilot[None], *keys: str) -> None:
    """Press keys, and wait until all that follows from it has happened."""
    for key in keys:
        await pilot.press(key)
        await settle(pilot)
    await settled(pilot)


async def typed(pilot: Pilot[None], text: str) -> None:
    """Type into a line, and enter."""
    await pilot.press(*text, "enter")
    await settle(pilot)


def shown(pilot: Pilot[None]) -> list[str]:
    """The images on the sheet."""
    sheet = screen_of(pilot).sheet
    return [] if sheet is None else [image.path for image in sheet.images]


def journal(photos: Path) -> Journal:
    """The file."""
    return read(photos / NAME)


def labels(photos: Path) -> dict[str, str]:
    """Class by image, as the file says."""
    return journal(photos).labels
