"""`petbench doctor`: is this machine ready, and if not, what to do."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from functools import partial
from pathlib import Path

import typer
from rich.table import Table
from rich.text import Text

from workbench.cli.arguments import DataDir, Json, RunsDir
from workbench.cli.console import console, print_json
from workbench.cli.health import Check, Finding, Level, run_checks
from workbench.cli.health.gpu import look_at_gpus
from workbench.cli.health.machine import (
    look_at_bf16,
    look_at_memory,
    look_at_processor,
    look_at_python,
    look_at_torch,
)
from workbench.cli.health.places import look_at_cache, look_at_data, look_at_runs, look_at_weights
from workbench.cli.health.terminal import look_at_terminal
from workbench.support.clean import clean
from workbench.support.paths import cache_home, data_home, runs_home

_STYLES = {Level.OK: "green", Level.WARNING: "bold yellow", Level.ERROR: "bold red"}


def doctor(
    as_json: Json = False,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
) -> None:
    """Look this machine over: torch, GPUs, bf16, memory, data, weights, disks, terminal.

    Every line is ok, a warning or an error, and says what to do. Exits with 1 on an error: no run can train.
    """
    findings: list[Finding] = []
    for finding in run_checks(_checks(runs_home(runs_dir), data_home(data_dir), cache_home())):
        findings.append(finding)
        if not as_json:
            console.print(_line(finding))
    counts = Counter(finding.level for finding in findings)
    if as_json:
        told = [asdict(finding) for finding in findings]
        print_json("doctor", {"errors": counts[Level.ERROR], "findings": told})
    else:
        console.print(_verdict(counts))
    if counts[Level.ERROR]:
        raise typer.Exit(1)


def _checks(runs: Path, data: Path, cache: Path) -> list[Check]:
    return [
        Check("petbench", look_at_python),
        Check("torch", look_at_torch),
        Check("GPU", look_at_gpus),
        Check("bf16", look_at_bf16),
        Check("CPU", look_at_processor),
        Check("memory", look_at_memory),
        Check("data", partial(look_at_data, data)),
        Check("weights", look_at_weights),
        Check("runs", partial(look_at_runs, runs)),
        Check("cache", partial(look_at_cache, cache)),
        Check("terminal", look_at_terminal),
    ]


def _line(finding: Finding) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=7)
    grid.add_column(width=13)
    grid.add_column(overflow="fold")
    grid.add_row(
        Text(finding.level.value, style=_STYLES[finding.level]), Text(finding.name), Text(clean(finding.text))
    )
    if finding.advice:
        grid.add_row("", "", Text(f"→ {clean(finding.advice)}", style=_STYLES[finding.level]))
    return grid


def _verdict(counts: Counter[Level]) -> Text:
    errors, warnings = counts[Level.ERROR], counts[Level.WARNING]
    if errors:
        text = f"\n{_counted(errors, 'error')}, {_counted(warnings, 'warning')}: no run can train here yet"
        return Text(text, style=_STYLES[Level.ERROR])
    return Text("\nready to train" + (f", {_counted(warnings, 'warning')}" if warnings else ""))


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}" + ("" if count == 1 else "s")
