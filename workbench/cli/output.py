"""Text for another program: to standard output as it is, or into a file."""

from __future__ import annotations

import sys
from pathlib import Path

from workbench.cli.console import console
from workbench.support.atomic import atomic_write
from workbench.support.clean import clean
from workbench.support.errors import UserError


def write_out(text: str, output: Path | None) -> None:
    """Print `text`, or write it to `output` and say so.

    Raises:
        UserError: the file cannot be written.
    """
    if output is None:
        # Not through rich, which would wrap lines; line ends stay as they are.
        sys.stdout.write(text)
        return
    try:
        atomic_write(output, text)
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror or error}", where=str(output)) from error
    console.print(f"written to {clean(output)}", soft_wrap=True)
