"""Commands as a user types them, in this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer
from typer.testing import CliRunner, Result


def run_command(command: Callable[..., Any], *arguments: str) -> Result:
    """What a top-level command did; a user's mistake, which `main` would print, is raised."""
    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result
