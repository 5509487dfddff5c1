"""Where `petbench` begins: bare, it opens the app without loading the command line; else the command runs."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator


def main() -> None:
    """Open the app, or do what the arguments say; exit codes as `cli.main.main`."""
    _quiet_interrupts()
    if len(sys.argv) > 1 or not all(stream and stream.isatty() for stream in (sys.stdin, sys.stdout)):
        from workbench.cli.main import main as run_command

        try:
            with _handled_interrupts():
                run_command()
        except KeyboardInterrupt:  # between two lines that answer for it
            sys.exit(_INTERRUPTED)
        return
    sys.exit(_open_app())


def _open_app() -> int:
    from workbench.support.errors import UserError
    from workbench.support.paths import data_home, runs_home
    from workbench.tui.start import start

    try:
        return start(runs_home(), data_home())
    except UserError as error:
        from workbench.cli.console import print_problem

        print_problem(str(error))
        return 2


def _quiet_interrupts() -> None:
    """From here to the process's end ^C ends it without a word wherever nothing else answers for it.

    In the middle of an import, or while Python waits for threads at its end, it would print a traceback.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it was asked to be ignored
        signal.signal(signal.SIGINT, lambda _number, _frame: os._exit(_INTERRUPTED))


@contextlib.contextmanager
def _handled_interrupts() -> Iterator[None]:
    """A command answers for ^C itself: it may have something to put away. While it is loaded it has not."""
    quiet = signal.getsignal(signal.SIGINT)
    try:
        if quiet is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    finally:
        signal.signal(signal.SIGINT, quiet)


_INTERRUPTED = 130
