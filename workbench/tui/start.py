"""Opens the app on a terminal and leaves the terminal as it was."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from workbench.runs.status import INTERRUPTED
from workbench.support.errors import UserError
from workbench.support.plugins import broken_to
from workbench.tui.app import PetbenchApp
from workbench.tui.app_session import Session, session_path
from workbench.tui.pictures import choose_drawing
from workbench.tui.places import ComposePlace, LabelPlace
from workbench.tui.terminal import has_few_colours

_TYPEWRITERS = ("", "dumb", "unknown")
"""Values of TERM for what can only add to its last line."""


def start(
    runs_home: Path,
    data_home: Path,
    *,
    fresh: bool = False,
    images: str | None = None,
    recipe: Path | None = None,
    label: LabelPlace | None = None,
) -> int:
    """Run the app until the user quits.

    Args:
        fresh: forget what was kept of earlier times.
        images: how pictures are drawn, one of `protocol.OPTIONS`; None: as `PETBENCH_IMAGES` says.
        recipe: a file to open in Compose, on top of what was open the last time.
        label: a folder to open in Label, likewise.

    Returns:
        the exit code: 0, or 1 when the app itself failed (its log was named on the screen).

    Raises:
        UserError: standard input or output is no terminal or one that cannot place its cursor, or there is no
            such way to draw.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UserError(
            "the app needs a terminal, and standard input or output is none",
            hint="petbench --help lists the commands that work without one, such as petbench runs ls",
        )
    kind = os.environ.get("TERM", "")
    if kind in _TYPEWRITERS:
        raise UserError(
            "the app draws on the whole screen, and this terminal says that it cannot",
            where=f"TERM={kind}",
            hint="petbench runs ls, petbench runs show RUN and petbench run RECIPE work here; "
            "or set TERM to what the terminal is, such as TERM=xterm-256color",
        )
    choose_drawing(images)  # asks the terminal where it must, which only works before the app has it
    session = Session(session_path(runs_home))
    session.claim()
    if fresh:
        session.forget()
    first = label if recipe is None else ComposePlace(source=str(recipe))
    app = PetbenchApp(runs_home, data_home, session, few_colours=has_few_colours(), first=first)
    with _hang_up_keeps(session), broken_to(app.show_broken_plugin):
        asyncio.run(_with_interrupts(app))
    return app.return_code or 0


async def _with_interrupts(app: PetbenchApp) -> None:
    """Run the app; SIGINT closes it as q does, and once the terminal is as it was ends what is left at once.

    While the app has the terminal ^C is a key like others, so the signal comes before, after, or by `kill`.
    """
    has_terminal, loop = True, asyncio.get_running_loop()

    def close(_number: int, _frame: object) -> None:
        if not has_terminal:
            os._exit(app.return_code or INTERRUPTED)
        # In the app's queue from before it runs: it closes once it does. A loop that waits is woken.
        loop.call_soon_threadsafe(app.call_later, app.exit)

    signal.signal(signal.SIGINT, close)  # to the process's end: nothing after this has more to put away
    try:
        await app.run_async()
    finally:
        has_terminal = False


@contextlib.contextmanager
def _hang_up_keeps(session: Session) -> Iterator[None]:
    """The terminal is gone (SIGHUP): there is nothing to restore on it, so save and leave at once."""

    def leave(_number: int, _frame: object) -> None:
        session.save()
        os._exit(128 + signal.SIGHUP)

    previous = signal.signal(signal.SIGHUP, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, previous)
