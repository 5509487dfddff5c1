"""Opens the app on a terminal and leaves the terminal as it was."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from workbench.support.errors import UserError
from workbench.tui.app import PetbenchApp
from workbench.tui.pictures import choose_protocol
from workbench.tui.session import Session, session_path


def start(runs_home: Path, data_home: Path, *, fresh: bool = False, images: str = "auto") -> int:
    """Run the app until the user quits.

    Args:
        fresh: forget what was kept of earlier times.
        images: how pictures are drawn, one of `pictures.OPTIONS`.

    Returns:
        the exit code: 0, or 1 when the app itself failed (its log was named on the screen).

    Raises:
        UserError: standard input or output is no terminal, or there is no such way to draw.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UserError(
            "the app needs a terminal, and standard input or output is none",
            hint="petbench --help lists the commands that work without one, such as petbench runs ls",
        )
    choose_protocol(images)  # asks the terminal where it must, which only works before the app has it
    session = Session(session_path(runs_home))
    session.claim()
    if fresh:
        session.forget()
    app = PetbenchApp(runs_home, data_home, session)
    with _hang_up_keeps(session):
        app.run()
    return app.return_code or 0


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
