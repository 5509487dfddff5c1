"""Commands as a user types them, in this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from workbench.cli.console import console


def run_command(command: Callable[..., Any], *arguments: str) -> Result:
    """What a top-level command did; a user's mistake, which `main` would print, is raised."""
    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def on_screen(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    """Have the console print as for a person at a screen so wide, without colours."""
    monkeypatch.setattr(console, "_force_terminal", True)
    monkeypatch.setattr(console, "_width", columns)
    monkeypatch.setenv("TERM", "xterm")
