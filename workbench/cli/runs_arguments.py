"""Arguments that the commands about runs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RunsDir = Annotated[
    Path | None,
    typer.Option("--runs-dir", metavar="DIR", help="Where the runs are; else PETBENCH_RUNS, else ./runs."),
]
RunName = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="An id or any unique part of one (the last four digits do), a name, latest, @2 (second newest), "
        "or a path.",
    ),
]
RunNames = Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs, each named as for runs show.")]
