"""Driving the app in a test: a fixed clock, a view read once, the screen as plain text."""

from __future__ import annotations

import contextlib
import string
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from textual.pilot import Pilot
from textual.worker import WorkerCancelled

from tests.runs.making import NOW
from workbench.runs.watching import RunsWatch
from workbench.tui.app import PetbenchApp
from workbench.tui.app_session import Session
from workbench.tui.pictures.blocks import picture_characters
from workbench.tui.places import Place, RunsPlace
from workbench.tui.runs_feed import RunsChanged
from workbench.tui.screens.place import PlaceScreen

NARROW = (80, 24)
WIDE = (160, 48)
_LASTING = ("act-", "engine")
"""Groups of workers that may wait for a person, or for as long as the screen is there."""
_LETTERS = string.ascii_letters + string.digits


@contextlib.asynccontextmanager
async def opened(
    runs_home: Path,
    *,
    place: Place | None = None,
    size: tuple[int, int] = NARROW,
    data_home: Path | None = None,
    session: Session | None = None,
) -> AsyncIterator[Pilot[None]]:
    """The app on `runs_home`, with the runs read and `place` on top; a fault in it fails the test.

    The clock stands at `making.NOW`; nothing is read by itself: `reread` does that.
    """
    app = PetbenchApp(
        runs_home,
        data_home or runs_home / "no-data-here",
        session or Session(None),
        now=NOW.timestamp,
        live=False,
    )
    async with app.run_test(size=size) as pilot:
        await reread(pilot)
        if place is not None and not isinstance(place, RunsPlace):
            app.go(place)
            await settle(pilot)
        yield pilot
        assert not app.faults, app.faults


async def reread(pilot: Pilot[None]) -> None:
    """Have the app read its runs directory once more, completely."""
    app = bench(pilot)
    watch = RunsWatch(app.runs_home)
    view = watch.refresh()
    while not view.complete:
        view = watch.refresh()
    app.post_message(RunsChanged(view))
    await settle(pilot)


async def settle(pilot: Pilot[None]) -> None:
    """Wait until what the screen reads, one thing after another, is read and drawn.

    Not for actions: one of them may wait for an answer.
    """
    for _ in range(6):
        await pilot.pause()
        reading = [w for w in pilot.app.workers if not w.is_finished and not w.group.startswith(_LASTING)]
        if not reading:
            break
        # One that a newer of its group replaced is cancelled; the next turn waits for the newer.
        with contextlib.suppress(WorkerCancelled):
            await pilot.app.workers.wait_for_complete(reading)
    await pilot.pause()


def bench(pilot: Pilot[None]) -> PetbenchApp:
    """The app under the pilot."""
    assert isinstance(pilot.app, PetbenchApp)
    return pilot.app


def top(pilot: Pilot[None]) -> PlaceScreen[Any]:
    """The screen on top, which must have a place."""
    assert isinstance(pilot.app.screen, PlaceScreen)
    return pilot.app.screen


def said(pilot: Pilot[None]) -> list[str]:
    """Every notification so far, oldest first."""
    return [notification.message for notification in pilot.app._notifications]


def coloured(pilot: Pilot[None]) -> bool:
    """Whether anything on the screen is neither black, white nor grey."""
    for strip in pilot.app.screen._compositor.render_strips():
        for style in (segment.style for segment in strip if segment.style is not None):
            triplets = (colour.triplet for colour in (style.color, style.bgcolor) if colour is not None)
            if any(t is not None and not t.red == t.green == t.blue for t in triplets):
                return True
    return False


def screen_text(pilot: Pilot[None]) -> str:
    """What the terminal shows, as lines of text without colours.

    Pictures are `▀`: which block stands for a cell of a photograph is the decoder's.
    """
    app = pilot.app
    width, height = app.size
    blocks = picture_characters()
    lines = [
        "".join("▀" if segment.text in blocks else segment.text for segment in strip)[:width].rstrip()
        for strip in app.screen._compositor.render_strips()[:height]
    ]
    return "\n".join(lines) + "\n"


def screen_styles(pilot: Pilot[None]) -> str:
    """How the terminal shows it: a letter for each cell's style, and below what each letter stands for.

    Pictures are dots: their colours are the decoder's.
    """
    app = pilot.app
    width, height = app.size
    letters: dict[str, str] = {}
    lines = []
    for strip in app.screen._compositor.render_strips()[:height]:
        line = ""
        for segment in strip:
            if picture_characters().issuperset(segment.text):
                line += "." * segment.cell_length
                continue
            style = str(segment.style.without_color) if segment.style is not None else ""
            colours = (
                (segment.style.color, segment.style.bgcolor) if segment.style is not None else (None, None)
            )
            front, back = (colour.name if colour is not None else "default" for colour in colours)
            words = " ".join(word for word in (style if style != "none" else "", front, "on", back) if word)
            letter = letters.setdefault(words, _LETTERS[len(letters)])
            line += letter * segment.cell_length
        lines.append(line[:width])
    return "\n".join([*lines, "", *(f"{letter} {words}" for words, letter in letters.items())]) + "\n"
