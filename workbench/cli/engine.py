"""Who starts runs in the background: the options of the commands that ask, and what follows from them."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from workbench.jobs.submission import Submission, submission_asked
from workbench.support.errors import UserError


class EngineName(StrEnum):
    """As `jobs.start.Engine`."""

    LOCAL = "local"
    SLURM = "slurm"


Engine = Annotated[
    EngineName,
    typer.Option("--engine", help="Who starts the runs: this machine's queue (local), or a cluster's Slurm."),
]
Partition = Annotated[
    str | None,
    typer.Option("--partition", metavar="NAME", help="Slurm's partition; else [cluster] of the user's file."),
]
Time = Annotated[
    str | None,
    typer.Option(
        "--time",
        metavar="TIME",
        help="A job's time, as sbatch has it: 90 (minutes), 12:00:00. A run that needs longer checkpoints "
        "before its end and goes on in the same job, requeued.",
    ),
]
Gpus = Annotated[
    str | None, typer.Option("--gpus", metavar="N", help="GPUs a run: 1, or with a kind: a100:1.")
]
SbatchLines = Annotated[
    list[str] | None,
    typer.Option("--sbatch", metavar="OPTION", help="One more option for sbatch: --sbatch=--account=lab."),
]
MaxParallel = Annotated[
    int | None,
    typer.Option(
        "--max-parallel", min=1, metavar="N", help="So many runs of a sweep at a time, at most, on Slurm."
    ),
]


def submission_of(
    engine: EngineName,
    *,
    partition: str | None,
    time: str | None,
    gpus: str | None,
    lines: list[str] | None,
    max_parallel: int | None,
    data_dir: Path | None,
    device: str = "auto",
    notify: str | None = None,
) -> Submission | None:
    """How runs are given to Slurm; None where this machine's own queue has them.

    Raises:
        UserError: options that the engine has no use for, or a cluster's settings are wrong.
    """
    given = {
        "--partition": partition,
        "--time": time,
        "--gpus": gpus,
        "--sbatch": lines,
        "--max-parallel": max_parallel,
    }
    if engine is EngineName.LOCAL:
        said = next((name for name, value in given.items() if value is not None), None)
        if said is not None:
            raise UserError(
                "it is Slurm's, and this machine starts the runs", where=said, hint="add --engine slurm"
            )
        return None
    if device != "auto":
        raise UserError(
            f"Slurm gives each run its device, and {device!r} would be another",
            where="--device",
            hint="--gpus N asks for so many a run",
        )
    typed = {
        "partition": partition,
        "time": time,
        "gpus": gpus,
        "lines": lines,
        "max_parallel": max_parallel,
    }
    return submission_asked(typed, data_home=data_dir, command_line=sys.argv, notify=notify)
