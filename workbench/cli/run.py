"""`petbench run` and `petbench resume`: train in the foreground, to results or to a clear end."""

from __future__ import annotations

import shutil
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli.console import console, error_console, print_problem
from workbench.recipe.load import load_recipe
from workbench.runs.layout import RunDirectory, create_run
from workbench.support.clean import clean
from workbench.support.paths import cache_home, data_home, runs_home

if TYPE_CHECKING:
    from workbench.train import Places

RunsDir = Annotated[
    Path | None, typer.Option("--runs-dir", help="Where runs lie; else $PETBENCH_RUNS, else ./runs.")
]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Where oxford-iiit-pet/ lies; else $PETBENCH_DATA.")
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]


def run(
    recipe: Annotated[Path, typer.Argument(help="The recipe, a TOML file.", show_default=False)],
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Change a key for this run: --set seed=1 --set optimizer.learning_rate=1e-4."
        ),
    ] = None,
    device: Device = "auto",
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
) -> None:
    """Train a recipe here and now; ends with its results. Ctrl-C checkpoints, `petbench resume` goes on."""
    from workbench.recipe.dump import dump_recipe

    loaded = load_recipe(recipe, changes or ())
    places = _places(device, data_dir)
    directory = create_run(runs_home(runs_dir), loaded.name, dump_recipe(loaded), datetime.now())
    console.print(f"run {clean(directory.id)}", soft_wrap=True)
    _train(directory, places, is_new=True)


def resume(
    run: Annotated[
        str, typer.Argument(help="Id of the run, a unique part of it, or a path.", show_default=False)
    ],
    device: Device = "auto",
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
) -> None:
    """Go on with a run that was stopped, killed or failed, exactly where its last checkpoint stands."""
    from workbench.runs.find import find_run

    directory = find_run(runs_home(runs_dir), run)
    places = _places(device, data_dir)
    console.print(f"resume {clean(directory.id)}", soft_wrap=True)
    _train(directory, places, is_new=False)


def _places(device: str, data_dir: Path | None) -> Places:
    """Resolve the options before any directory is made. Raises: UserError, for a device that is not there."""
    from workbench.train import Places, find_device

    return Places(data_home=data_home(data_dir), cache=cache_home(), device=find_device(device))


def _train(directory: RunDirectory, places: Places, *, is_new: bool) -> None:
    """Train what `directory` holds; raises `typer.Exit` with the attempt's code.

    A new run that the user's input stopped before it had anything to keep leaves no directory.
    """
    from workbench.cli.display import Display
    from workbench.cli.report import print_report
    from workbench.train import attempt

    recipe = load_recipe(directory.recipe)
    with Display(console) as display:
        outcome = attempt(directory, recipe, places, display, command_line=sys.argv)
        display.finish()
    if outcome.results is not None:
        print_report(console, directory, outcome.results)
        return
    print_problem(f"{outcome.reason}\n{outcome.advice}")
    if is_new and outcome.code == 2 and not any(directory.checkpoint.iterdir()):
        shutil.rmtree(directory.path, ignore_errors=True)
    else:
        error_console.print(f"  everything so far is in {clean(directory.path)}", soft_wrap=True)
    raise typer.Exit(outcome.code)
