"""`petbench run` and `petbench resume`: train in the foreground, to results or to a clear end."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.console import console, error_console
from workbench.recipe.load import load_recipe
from workbench.runs.layout import RunDirectory, create_run
from workbench.support.clean import clean
from workbench.support.paths import cache_home, data_home, runs_home

RunsDir = Annotated[Path | None, typer.Option("--runs-dir", help="Where runs lie; else $PETBENCH_RUNS, else ./runs.")]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Where oxford-iiit-pet/ lies; else $PETBENCH_DATA.")
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]


def run(
    recipe: Annotated[Path, typer.Argument(help="The recipe, a TOML file.", show_default=False)],
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a key for this run: --set seed=1 --set optimizer.learning_rate=1e-4."),
    ] = None,
    device: Device = "auto",
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
) -> None:
    """Train a recipe here and now; ends with its results. Ctrl-C checkpoints, `petbench resume` goes on."""
    from workbench.recipe.dump import dump_recipe

    loaded = load_recipe(recipe, changes or ())
    directory = create_run(runs_home(runs_dir), loaded.name, dump_recipe(loaded), datetime.now())
    console.print(f"run {directory.id}")
    _train(directory, device, data_dir)


def resume(
    run: Annotated[str, typer.Argument(help="Id of the run, a unique part of it, or a path.", show_default=False)],
    device: Device = "auto",
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
) -> None:
    """Go on with a run that was stopped, killed or failed, exactly where its last checkpoint stands."""
    from workbench.runs.find import find_run

    directory = find_run(runs_home(runs_dir), run)
    console.print(f"resume {directory.id}")
    _train(directory, device, data_dir)


def _train(directory: RunDirectory, device: str, data_dir: Path | None) -> None:
    """Train what `directory` holds; raises `typer.Exit` with the attempt's code."""
    from workbench.cli.display import Display
    from workbench.cli.report import print_report
    from workbench.train import Places, attempt, find_device

    recipe = load_recipe(directory.recipe)
    places = Places(data_home=data_home(data_dir), cache=cache_home(), device=find_device(device))
    with Display(console) as display:
        outcome = attempt(directory, recipe, places, display, command_line=sys.argv)
        display.finish()
    if outcome.results is not None:
        print_report(console, directory, outcome.results)
        return
    for number, line in enumerate(outcome.reason.splitlines()):
        error_console.print(f"{'petbench: ' if number == 0 else '  '}{clean(line)}", style="bold red" if number == 0 else "", soft_wrap=True)
    if outcome.advice:
        error_console.print(f"  {clean(outcome.advice)}", soft_wrap=True)
    error_console.print(f"  everything so far is in {clean(directory.path)}", soft_wrap=True)
    raise typer.Exit(outcome.code)
