"""Arguments that commands of several files share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RunId = Annotated[str, typer.Argument(metavar="RUN", help="Id of the run, a unique part of it, or a path.")]
ImageIds = Annotated[
    list[str],
    typer.Argument(metavar="IMAGE_ID...", help="Ids of images of the run's data.", show_default=False),
]
Teacher = Annotated[bool, typer.Option("--teacher", help="Ask the run's teacher, not its final model.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
RunsDir = Annotated[
    Path | None, typer.Option("--runs-dir", help="Where runs lie; else $PETBENCH_RUNS, else ./runs.")
]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Where oxford-iiit-pet/ lies; else $PETBENCH_DATA.")
]
