"""Driving the Watch screen: keys, and what is shown then."""

from __future__ import annotations

from collections.abc import Callable

from textual.pilot import Pilot

from tests.tui.driving import screen_text, settle, top
from workbench.tui.screens.watch import WatchScreen

Snapshot = Callable[[Pilot[None], str], None]


def screen(pilot: Pilot[None]) -> WatchScreen:
    shown = top(pilot)
    assert isinstance(shown, WatchScreen)
    return shown


async def press(pilot: Pilot[None], *keys: str) -> str:
    await pilot.press(*keys)
    await settle(pilot)
    return screen_text(pilot)


async def ask(pilot: Pilot[None], key: str) -> str:
    """Press a key that asks something: its worker waits for the answer, so nothing settles."""
    await pilot.press(key)
    await pilot.pause()
    await pilot.pause()
    return screen_text(pilot)


async def reread(pilot: Pilot[None]) -> str:
    screen(pilot).read()
    await settle(pilot)
    return screen_text(pilot)
