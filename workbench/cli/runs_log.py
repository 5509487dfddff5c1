"""`petbench runs log`: the end of a run's log, made harmless, and on while it grows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated

import typer

from workbench.cli.arguments import Json, RunId, RunsDir
from workbench.cli.console import console, print_json
from workbench.runs.find import find_run
from workbench.runs.layout import RunDirectory
from workbench.runs.log_tail import LogTail
from workbench.runs.status import status_of
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.paths import runs_home
from workbench.support.regular_file import open_regular

_LOOK_SECONDS = 0.5
_AT_ONCE_BYTES = 4 * 2**20


def log(
    run: RunId,
    lines: Annotated[
        int, typer.Option("--lines", "-n", metavar="N", min=1, help="At most so many lines from the end.")
    ] = 50,
    search: Annotated[
        str, typer.Option("--search", metavar="WORDS", help="Only lines with these words, in either case.")
    ] = "",
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what is written, until the run ends or Ctrl-C.")
    ] = False,
    as_json: Json = False,
    runs_dir: RunsDir = None,
) -> None:
    """Print the end of a run's log, at most its last two MiB."""
    directory = find_run(runs_home(runs_dir), run)
    seen = LogTail(directory.log).refresh()
    words = search.casefold()
    fitting = [line for line in seen.lines if words in line.casefold()]
    if as_json:
        if follow:
            raise UserError("--json prints once, --follow goes on", where="--json")
        print_json("runs-log", {"run": directory.id, "lines": fitting[-lines:]})
        return
    for line in fitting[-lines:]:
        console.print(clean(line), soft_wrap=True)
    if follow:
        for line in _growing(directory, seen.size):
            if words in line.casefold():
                console.print(clean(line), soft_wrap=True)


def _growing(directory: RunDirectory, offset: int) -> Iterator[str]:
    """Whole lines written after `offset`, until the run is no longer active."""
    while True:
        active = status_of(directory).is_active  # asked first: what it wrote before it ended is read after
        try:
            with open_regular(directory.log) as stream:
                stream.seek(offset)
                text = stream.read(_AT_ONCE_BYTES)
        except OSError as error:
            raise UserError(error.strerror or str(error), where=clean(directory.log)) from error
        more = len(text) == _AT_ONCE_BYTES
        whole = text[: text.rfind(b"\n") + 1] or (text if more else b"")
        offset += len(whole)
        yield from whole.decode("utf-8", "backslashreplace").splitlines()
        if more:
            continue
        if not active:
            return
        time.sleep(_LOOK_SECONDS)
