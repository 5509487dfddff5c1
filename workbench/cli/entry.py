"""Where `petbench` begins: bare, it opens the app without loading the command line; else the command runs."""

from __future__ import annotations

import sys


def main() -> None:
    """Open the app, or do what the arguments say; exit codes as `cli.main.main`."""
    if len(sys.argv) > 1 or not all(stream and stream.isatty() for stream in (sys.stdin, sys.stdout)):
        from workbench.cli.main import main as run_command

        run_command()
        return
    from workbench.support.paths import data_home, runs_home
    from workbench.tui.start import start

    sys.exit(start(runs_home(), data_home()))
