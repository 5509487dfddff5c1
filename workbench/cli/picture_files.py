"""Picture files that commands write for a person or for the app: numbered names, a directory of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.support.clean import clean
from workbench.support.errors import UserError

OutDir = Annotated[
    Path,
    typer.Option(
        "--out", metavar="DIR", help="Write the pictures there; made where needed.", show_default=False
    ),
]


def make_out(folder: Path) -> Path:
    """The directory, absolute, made where needed.

    Raises:
        UserError: it is a file, or cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot be made: {error.strerror or error}", where=clean(folder)) from error
    return folder.absolute()
