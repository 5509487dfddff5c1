"""`petbench launch`, `stop` and `pause`: runs that go on when the terminal is gone."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.arguments import DataDir, Json, RecipeFiles, RunIds, RunsDir, Sets, Unsets, changes_of
from workbench.cli.console import console, print_json
from workbench.jobs import Launched, check_divisions, check_launch, is_background, launch, pause_run, stop_run
from workbench.jobs.notify import split_command
from workbench.recipe import Recipe, load_recipe
from workbench.recipe.load import lines_named
from workbench.recipe.source import Change
from workbench.runs.control import GRACE_SECONDS
from workbench.runs.find import find_run
from workbench.runs.layout import RunDirectory
from workbench.runs.status import RunStatus, status_of
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
    grid: Annotated[
        list[str] | None,
        typer.Option(
            "--grid",
            metavar="KEY=V1,V2",
            help="A run for each value, and for each combination of several: "
            "--grid seed=0,1,2 --grid optimizer.learning_rate=1e-4,1e-3.",
        ),
    ] = None,
    device: Annotated[
        str, typer.Option("--device", help="auto (a free GPU, else the CPU), cpu, cuda or cuda:N.")
    ] = "auto",
    notify: Annotated[
        str | None,
        typer.Option(
            "--notify",
            metavar="COMMAND",
            help="Run this when a run has ended, with PETBENCH_RUN_ID, _STATUS, _NAME and _RUN_DIR in its "
            "environment; else $PETBENCH_NOTIFY.",
        ),
    ] = None,
    as_json: Json = False,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
) -> None:
    """Train recipes in the background: they go on when this terminal is gone, one after the other a device.

    All recipes are checked before the first one starts.
    """
    from workbench.cli.recipe import check_backbone

    if notify:
        split_command(notify)
    home, data = runs_home(runs_dir), data_home(data_dir)
    changes = changes_of(sets, unsets)
    checked: list[Recipe] = []
    for path in recipes:
        asked = _recipes(path, grid or (), changes)
        with lines_named(path, changes):
            for recipe in asked:
                check_backbone(recipe)
                check_launch(recipe, data_home=data, device=device)
            check_divisions(asked, data_home=data)
        checked += asked
    launched: list[Launched] = []
    for recipe in checked:
        one = launch(recipe, home, data_home=data, device=device, command_line=sys.argv, notify=notify)
        launched.append(one)
        if not as_json:
            console.print(told(one), soft_wrap=True)
    if as_json:
        print_launched(launched)


def print_launched(launched: Sequence[Launched]) -> None:
    """Runs that were launched, as JSON."""
    runs = [{"id": one.run.id, "path": str(one.run.path), "queue_position": one.position} for one in launched]
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
    place = "starts now" if launched.position == 0 else f"waits, {launched.position} in the queue"
    show = f"petbench runs show {as_word(launched.run.handle)}"
    return f"run {clean(launched.run.id)}: {place}; {show} tells how far it is"


def _recipes(path: Path, grid: Sequence[str], changes: Sequence[Change]) -> list[Recipe]:
    """What a recipe file asks for: one run, or one for each point of the grid."""
    if not grid:
        return [load_recipe(path, changes)]
    from workbench.recipe.grid import expand_grid, parse_grid

    return [point.recipe for point in expand_grid(path, parse_grid(grid), changes)]


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
        before, background = status_of(run), is_background(run)
        ask(run, grace_seconds=grace)
        promises.append(_promise(before, background, verb, grace))
        if not as_json:
            console.print(f"{clean(run.id)}: {promises[-1]}", soft_wrap=True)
    for run in runs if wait else ():
        while status_of(run).is_active:
            time.sleep(_LOOK_SECONDS)
        if not as_json:
            console.print(f"{clean(run.id)}: {status_of(run).value}", soft_wrap=True)
    if as_json:
        rows = [
            {"id": run.id, "path": str(run.path), "status": status_of(run).value, "promise": promise}
            for run, promise in zip(runs, promises, strict=True)
        ]
        print_json("stop", {"runs": rows})


def _promise(before: RunStatus, background: bool, verb: str, grace: float) -> str:
    """What will become of a run that was just asked."""
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
