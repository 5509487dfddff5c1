"""`petbench launch`, `stop` and `pause`: runs that go on when the terminal is gone."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import sleep
from time import time as epoch_seconds
from typing import Annotated

import typer
from rich.text import Text

from workbench.cli.arguments import (
    DataDir,
    Json,
    RecipeFiles,
    RunId,
    RunIds,
    RunsDir,
    Sets,
    Unsets,
    changes_of,
)
from workbench.cli.console import cell, console, error_console, make_table, print_json
from workbench.cli.devices import HowMany, with_devices
from workbench.cli.engine import (
    Engine,
    EngineName,
    Gpus,
    MaxParallel,
    Partition,
    SbatchLines,
    Time,
    submission_of,
)
from workbench.cli.runs_listing import listed
from workbench.cli.sweep import Grids, data_now
from workbench.jobs import (
    Launched,
    QueueEntry,
    cancel_run,
    check_divisions,
    check_launch,
    devices,
    holders,
    is_background,
    launch,
    move_in_queue,
    pause_run,
    queue_of,
    stop_run,
)
from workbench.jobs.ending import split_command
from workbench.jobs.slurm import SlurmView, with_open_tickets
from workbench.jobs.sweep import queue_sweep, refuse_queue
from workbench.recipe import Recipe, load_recipe
from workbench.recipe.load import lines_named
from workbench.recipe.source import Change, Grid, parse_grid
from workbench.recipe.sweep import Sweep, load_sweep
from workbench.runs.attempt_control import GRACE_SECONDS
from workbench.runs.export import iso_time
from workbench.runs.find import find_run
from workbench.runs.layout import RunDirectory
from workbench.runs.status import RunStatus, status_of
from workbench.runs.summary import RunSummary
from workbench.runs.ticket import read_ticket
from workbench.support.clean import as_word, clean
from workbench.support.paths import data_home, runs_home
from workbench.support.units import human_seconds

_LOOK_SECONDS = 0.2

Grace = Annotated[
    float,
    typer.Option(
        "--grace",
        min=0,
        metavar="SECONDS",
        help="A run in the background that has not ended by then is killed, and loses what followed its last "
        "checkpoint.",
    ),
]
Wait = Annotated[bool, typer.Option("--wait", "-w", help="Come back only when the runs have ended.")]


def launch_(
    recipes: RecipeFiles,
    sets: Sets = None,
    unsets: Unsets = None,
    grid: Grids = None,
    device: Annotated[
        str,
        typer.Option(
            "--device",
            help="auto (a free GPU, else the CPU), cpu, cuda, cuda:N, or several with commas: any of them.",
        ),
    ] = "auto",
    devices_: HowMany = None,
    notify: Annotated[
        str | None,
        typer.Option(
            "--notify",
            metavar="COMMAND",
            help="Run this when a run has ended, with PETBENCH_RUN_ID, _STATUS, _NAME and _RUN_DIR in its "
            "environment; else $PETBENCH_NOTIFY.",
        ),
    ] = None,
    engine: Engine = EngineName.LOCAL,
    partition: Partition = None,
    time: Time = None,
    gpus: Gpus = None,
    sbatch: SbatchLines = None,
    max_parallel: MaxParallel = None,
    as_json: Json = False,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
) -> None:
    """Train recipes in the background: they go on when this terminal is gone, one after the other a device.

    With --engine slurm each is a job of its own, on a cluster whose machines share the runs directory.

    All recipes are checked before the first one starts. With --grid they are a sweep: what is done is not run
    again, what was stopped goes on, and petbench sweep with the same --grid collects it.
    """
    from workbench.cli.recipe import check_backbone

    if notify:
        split_command(notify)
    slurm = submission_of(
        engine,
        partition=partition,
        time=time,
        gpus=gpus,
        lines=sbatch,
        max_parallel=max_parallel,
        data_dir=data_dir,
        device=device,
        notify=notify,
    )
    home, data = runs_home(runs_dir), data_home(data_dir)
    changes = with_devices(changes_of(sets, unsets), devices_)
    checked: list[Recipe | Sweep] = []
    for path in recipes:
        asked = _asked(path, parse_grid(grid or ()), changes)
        each = [run.recipe for run in asked.runs] if isinstance(asked, Sweep) else [asked]
        with lines_named(path, changes):
            for recipe in each:
                check_backbone(recipe)
                check_launch(recipe, home, data_home=data, device=None if slurm else device)
            check_divisions(each, data_home=data)
        checked.append(asked)
    launched: list[Launched] = []

    def tell(one: Launched) -> None:
        launched.append(one)
        if not as_json:
            console.print(told(one), soft_wrap=True)

    for one in checked:
        if isinstance(one, Sweep):
            queued = queue_sweep(
                one,
                home,
                data_now(data_dir),
                data_home=data,
                device=device,
                command_line=sys.argv,
                notify=notify,
                told=tell,
                slurm=slurm,
            )
            if queued.left:
                left = f"{len(queued.left)} of {len(one.runs)} runs are there already: {queued.left_words}"
                error_console.print(left, soft_wrap=True)
        else:
            tell(
                launch(
                    one,
                    home,
                    data_home=data,
                    device=device,
                    command_line=sys.argv,
                    notify=notify,
                    slurm=slurm,
                )
            )
    if as_json:
        print_launched(launched)


def print_launched(launched: Sequence[Launched]) -> None:
    """Runs that were launched, as JSON."""
    runs = [
        {
            "id": one.run.id,
            "path": str(one.run.path),
            "queue_position": one.position,
            "slurm_job": one.job or None,
        }
        for one in launched
    ]
    print_json("launch", {"runs": runs})


def stop(
    runs: RunIds,
    grace: Grace = GRACE_SECONDS,
    wait: Wait = False,
    as_json: Json = False,
    runs_dir: RunsDir = None,
) -> None:
    """Stop runs: each checkpoints at the end of its batch and ends; one that waits leaves the queue."""
    _ask([find_run(runs_home(runs_dir), run) for run in runs], stop_run, "stop", grace, wait, as_json)


def pause(
    runs: RunIds,
    grace: Grace = GRACE_SECONDS,
    wait: Wait = False,
    as_json: Json = False,
    runs_dir: RunsDir = None,
) -> None:
    """Park runs: as stop, to free their device; petbench resume --background queues them again."""
    _ask([find_run(runs_home(runs_dir), run) for run in runs], pause_run, "pause", grace, wait, as_json)


def told(launched: Launched) -> str:
    """Where a run that was launched stands, and how to follow it."""
    show = f"petbench runs show {as_word(launched.run.handle)}"
    return f"run {clean(launched.run.id)} {launched.words}; {show} tells how far it is"


def _asked(path: Path, grids: Sequence[Grid], changes: Sequence[Change]) -> Recipe | Sweep:
    """What a recipe file asks for: one run, or a sweep that can be queued."""
    if not grids:
        return load_recipe(path, changes)
    sweep = load_sweep(path, [*changes, *grids])
    refuse_queue(sweep)
    return sweep


def _ask(
    runs: Sequence[RunDirectory],
    ask: Callable[..., None],
    verb: str,
    grace: float,
    wait: bool,
    as_json: bool,
) -> None:
    promises = []
    for run in runs:
        before, background, ticket = status_of(run), is_background(run), read_ticket(run)
        ask(run, grace_seconds=grace)
        is_slurms = ticket is not None and ticket.is_open
        promises.append(_promise(before, background, verb, grace, is_slurms=is_slurms))
        if not as_json:
            console.print(f"{clean(run.id)}: {promises[-1]}", soft_wrap=True)
    for run in runs if wait else ():
        while status_of(run).is_active:
            sleep(_LOOK_SECONDS)
        if not as_json:
            console.print(f"{clean(run.id)}: {status_of(run).value}", soft_wrap=True)
    if as_json:
        rows = [
            {"id": run.id, "path": str(run.path), "status": status_of(run).value, "promise": promise}
            for run, promise in zip(runs, promises, strict=True)
        ]
        print_json("stop", {"runs": rows})


def _promise(before: RunStatus, background: bool, verb: str, grace: float, *, is_slurms: bool) -> str:
    """What will become of a run that was just asked."""
    if before is RunStatus.QUEUED and is_slurms and verb == "pause":
        return "Slurm holds its job until it is resumed"
    if before is RunStatus.QUEUED:
        return "leaves the queue"
    if before in (RunStatus.SILENT, RunStatus.LOST):
        return f"shows no sign of life on its machine; if it lives, it {verb}s after a checkpoint"
    if before is RunStatus.STARTING:
        return f"{verb}s before it has begun"
    checkpoint = f"{verb}s at the end of its batch, after a checkpoint"
    if background:
        return f"{checkpoint}; killed if that takes longer than {human_seconds(grace)}"
    return f"{checkpoint}; it runs in the foreground, where Ctrl-C twice ends it at once"


queue_app = typer.Typer(
    help="See and change the order of the runs that wait for a device.",
    invoke_without_command=True,
    rich_markup_mode=None,
)


@queue_app.callback()
def _default(context: typer.Context, as_json: Json = False, runs_dir: RunsDir = None) -> None:
    if context.invoked_subcommand is None:
        list_(as_json, runs_dir)


@queue_app.command("ls")
def list_(as_json: Json = False, runs_dir: RunsDir = None) -> None:
    """List devices with the runs that have them, and the runs that wait, of every runs directory; then what
    Slurm has of this one.
    """
    home = runs_home(runs_dir)
    waiting, taken = queue_of(), holders()
    runs, view = listed(home)
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
                "slurm": {
                    "problem": view.problem,
                    "runs": [_slurm_record(run, view) for run in with_open_tickets(runs)],
                },
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
    _print_slurm(with_open_tickets(runs), view)


def _print_slurm(runs: Sequence[RunSummary], view: SlurmView) -> None:
    """The runs that Slurm has, as their directories and Slurm say."""
    if not runs:
        return
    if view.problem:
        error_console.print(f"Slurm: {clean(view.problem)}", style="yellow", soft_wrap=True)
    table = make_table(
        ("run", "name", "job", "status", "Slurm says", "partition", "times requeued"),
        right=("times requeued",),
        whole=("run", "job", "status"),
    )
    for run in runs:
        record = _slurm_record(run, view)
        job = None if run.ticket is None else view.job_of(run.ticket)
        table.add_row(
            cell(run.handle),
            cell(run.name),
            cell(record["job"] or "being submitted"),
            cell("paused" if run.ticket is not None and run.ticket.is_held else run.status.value),
            cell(job.words if job is not None else ""),
            cell(record["partition"]),
            cell(record["requeued"]),
        )
    console.print(table)


def _slurm_record(run: RunSummary, view: SlurmView) -> dict[str, object]:
    ticket = run.ticket
    assert ticket is not None  # only those that have one are shown
    job = view.job_of(ticket)
    return {
        "id": run.id,
        "path": str(run.path),
        "status": run.status.value,
        "job": ticket.job,
        "state": job.state if job else "",
        "reason": job.reason if job else "",
        "partition": job.partition if job else "",
        "nodes": job.nodes if job else "",
        "requeued": ticket.requeued,
    }


@queue_app.command()
def move(
    run: RunId,
    position: Annotated[int, typer.Argument(metavar="POSITION", help="1: the next one to start.", min=1)],
    as_json: Json = False,
    runs_dir: RunsDir = None,
) -> None:
    """Give a waiting run another place."""
    move_in_queue(_waiting_run(run, runs_dir), position)
    list_(as_json, runs_dir)


@queue_app.command()
def cancel(runs: RunIds, as_json: Json = False, runs_dir: RunsDir = None) -> None:
    """Take waiting runs out of the queue; petbench resume RUN --background puts one back, at the end."""
    for run in [_waiting_run(query, runs_dir) for query in runs]:
        cancel_run(run)
        if not as_json:
            console.print(f"{clean(run.id)}: out of the queue", soft_wrap=True)
    if as_json:
        list_(as_json, runs_dir)


def _waiting_run(query: str, runs_dir: Path | None) -> RunDirectory:
    """The run meant: one that waits, of whatever runs directory, before any other."""
    waiting = {entry.path.name: entry.path for entry in queue_of()}
    matches = [path for name, path in waiting.items() if name == query or name.endswith(f"-{query}")]
    return RunDirectory(matches[0]) if len(matches) == 1 else find_run(runs_home(runs_dir), query)


def _row(entry: QueueEntry) -> tuple[str | Text, ...]:
    since = human_seconds(max(0.0, epoch_seconds() - entry.since))
    run = RunDirectory(entry.path)
    return (
        str(entry.position),
        cell(run.handle),
        cell(run.slug),
        cell(entry.words),
        cell(since),
        cell(entry.path.parent),
    )


def _record(entry: QueueEntry) -> dict[str, object]:
    return {
        "position": entry.position,
        "id": entry.run_id,
        "path": str(entry.path),
        "device": entry.device,
        "devices": entry.count,
        "since": iso_time(entry.since),
    }
