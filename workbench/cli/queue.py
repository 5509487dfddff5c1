"""`petbench queue`: which runs wait for which device, in what order."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from workbench.cli.arguments import Json, RunId, RunIds, RunsDir
from workbench.cli.console import cell, console, make_table, print_json
from workbench.jobs import QueueEntry, cancel_run, devices, holders, move_in_queue, queue_of
from workbench.runs.export import iso_time
from workbench.runs.find import find_run
from workbench.runs.layout import RunDirectory
from workbench.support.clean import clean
from workbench.support.paths import runs_home
from workbench.support.units import human_seconds

app = typer.Typer(
    help="See and change the order of the runs that wait for a device.",
    invoke_without_command=True,
    rich_markup_mode=None,
)


@app.callback()
def _default(context: typer.Context, as_json: Json = False) -> None:
    if context.invoked_subcommand is None:
        list_(as_json)


@app.command("ls")
def list_(as_json: Json = False) -> None:
    """List devices with the runs that have them, and the runs that wait; of every runs directory."""
    waiting, taken = queue_of(), holders()
    if as_json:
        print_json(
            "queue",
            {
                "devices": [
                    {
                        "name": device.name,
                        "label": device.label,
                        "run": str(taken[device.key].path) if device.key in taken else None,
                    }
                    for device in devices()
                ],
                "waiting": [_record(entry) for entry in waiting],
            },
        )
        return
    for device in devices():
        holder = taken.get(device.key)
        state = f"has {clean(holder.run.id)}" if holder else "is free"
        console.print(f"{device.name} ({clean(device.label)}) {state}", soft_wrap=True)
    if waiting:
        table = make_table(
            ("", "run", "name", "waits for", "since", "runs directory"),
            right=("",),
            whole=("run", "waits for", "since"),
        )
        for entry in waiting:
            table.add_row(*_row(entry))
        console.print(table)
    else:
        console.print("nothing waits")


@app.command()
def move(
    run: RunId,
    position: Annotated[int, typer.Argument(metavar="POSITION", help="1: the next one to start.", min=1)],
    as_json: Json = False,
    runs_dir: RunsDir = None,
) -> None:
    """Give a waiting run another place."""
    move_in_queue(_waiting_run(run, runs_dir), position)
    list_(as_json)


@app.command()
def cancel(runs: RunIds, as_json: Json = False, runs_dir: RunsDir = None) -> None:
    """Take waiting runs out of the queue; petbench resume RUN --background puts one back, at the end."""
    for run in [_waiting_run(query, runs_dir) for query in runs]:
        cancel_run(run)
        if not as_json:
            console.print(f"{clean(run.id)}: out of the queue", soft_wrap=True)
    if as_json:
        list_(as_json)


def _waiting_run(query: str, runs_dir: Path | None) -> RunDirectory:
    """The run meant: one that waits, of whatever runs directory, before any other."""
    waiting = {entry.path.name: entry.path for entry in queue_of()}
    matches = [path for name, path in waiting.items() if name == query or name.endswith(f"-{query}")]
    return RunDirectory(matches[0]) if len(matches) == 1 else find_run(runs_home(runs_dir), query)


def _row(entry: QueueEntry) -> tuple[str | Text, ...]:
    since = human_seconds(max(0.0, time.time() - entry.since))
    run = RunDirectory(entry.path)
    return (
        str(entry.position),
        cell(run.handle),
        cell(run.slug),
        cell(entry.device),
        cell(since),
        cell(entry.path.parent),
    )


def _record(entry: QueueEntry) -> dict[str, object]:
    return {
        "position": entry.position,
        "id": entry.run_id,
        "path": str(entry.path),
        "device": entry.device,
        "since": iso_time(entry.since),
    }
