"""`petbench run` and `petbench resume`: train to results or to a clear end.

Every run is trained by `petbench run`: in the foreground as the user starts it, in the background as the
run's supervisor does, with the hidden options.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli.arguments import (
    DataDir,
    Device,
    Json,
    OptionalRecipe,
    RunId,
    RunsDir,
    Sets,
    Unsets,
    changes_of,
)
from workbench.cli.console import console, error_console, print_json, print_problem
from workbench.cli.streams import outliving_output
from workbench.recipe.load import lines_named, load_recipe
from workbench.runs.layout import RunDirectory, create_run
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.paths import cache_home, data_home, runs_home
from workbench.support.spans import Part, Recorder, recording, span

if TYPE_CHECKING:
    import torch

    from workbench.train import Places

Profiled = Annotated[
    bool,
    typer.Option("--profile", help="Tell at the end where the time went; a trace is kept with the run."),
]


def run(
    recipe: OptionalRecipe = None,
    sets: Sets = None,
    unsets: Unsets = None,
    profile: Profiled = False,
    device: Device = "auto",
    as_json: Json = False,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
    run_dir: Annotated[Path | None, typer.Option("--run-dir", hidden=True)] = None,
    attempt_number: Annotated[int, typer.Option("--attempt", hidden=True)] = 0,
    lifeline: Annotated[int, typer.Option("--lifeline", hidden=True)] = -1,
    launched_by: Annotated[str, typer.Option("--launched-by", hidden=True)] = "",
) -> None:
    """Train a recipe here and now; ends with its results. Ctrl-C checkpoints, `petbench resume` goes on."""
    from workbench.cli.recipe import check_backbone
    from workbench.jobs import check_launch
    from workbench.recipe.dump import dump_recipe

    if run_dir is not None:
        _train_for_supervisor(RunDirectory(run_dir), device, data_dir, lifeline, attempt_number, launched_by)
        return
    if recipe is None:
        raise UserError("no recipe given", hint="petbench run quickstart")
    recorder = Recorder() if profile else None
    with recording(recorder), outliving_output():
        changes = changes_of(sets, unsets)
        loaded = load_recipe(recipe, changes)
        with lines_named(recipe, changes):
            check_backbone(loaded)
            check_launch(loaded, data_home=data_dir)
        places = _places(device, data_dir)
        directory = create_run(runs_home(runs_dir), loaded.name, dump_recipe(loaded), datetime.now())
        _train(directory, places, recorder, is_new=True, as_json=as_json)


def resume(
    run: RunId,
    background: Annotated[
        bool, typer.Option("--background", "-b", help="In the background, as petbench launch would.")
    ] = False,
    profile: Profiled = False,
    device: Device = "auto",
    as_json: Json = False,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
) -> None:
    """Go on with a run that was stopped, killed or failed, exactly where its last checkpoint stands."""
    from workbench.runs.find import find_run

    directory = find_run(runs_home(runs_dir), run)
    if background:
        if profile:
            raise UserError("--profile tells its story at the end, in the foreground", where="--background")
        from workbench.cli.launch import print_launched, told
        from workbench.jobs import resume_run

        launched = resume_run(
            directory,
            data_home=data_dir,
            device=device,
            command_line=sys.argv,
            told=lambda text: (error_console if as_json else console).print(text, soft_wrap=True),
        )
        if as_json:
            print_launched([launched])
        else:
            console.print(told(launched), soft_wrap=True)
        return
    recorder = Recorder() if profile else None
    with recording(recorder), outliving_output():
        places = _places(device, data_dir)
        _train(directory, places, recorder, is_new=False, as_json=as_json)


def _places(device: str, data_dir: Path | None) -> Places:
    """Resolve the options before any directory is made. Raises: UserError, for a device that is not there."""
    with span(Part.IMPORTS):
        from workbench.train import Places, find_device

    return Places(data_home=data_home(data_dir), cache=cache_home(), device=find_device(device))


def _train(
    directory: RunDirectory, places: Places, recorder: Recorder | None, *, is_new: bool, as_json: bool
) -> None:
    """Train what `directory` holds; raises `typer.Exit` with the attempt's code.

    What `recorder` has recorded since the command began is kept with the run and told at the end.

    A new run is announced once nothing is refused any more; one that is leaves no directory.
    """
    with span(Part.IMPORTS):
        from workbench.cli.display import Display
        from workbench.cli.profile import follow_device, keep_profile, print_profile
        from workbench.cli.report import print_report
        from workbench.runs.page import page_record, read_page
        from workbench.train import attempt

    run_console = error_console if as_json else console  # JSON has standard output to itself
    if not is_new:
        run_console.print(f"resume {clean(directory.id)}", soft_wrap=True)
    recipe = load_recipe(directory.recipe)
    if recorder is not None:
        follow_device(recorder, places.device)
    with _device_lease(directory, places.device), Display(run_console, directory.metrics) as display:
        outcome = attempt(
            directory,
            recipe,
            places,
            display,
            command_line=sys.argv,
            begun=lambda: run_console.print(f"run {clean(directory.id)}", soft_wrap=True) if is_new else None,
        )
        display.finish()
    has_nothing = outcome.code == 2 and not any(directory.checkpoint.iterdir())
    if is_new and has_nothing:
        print_problem(f"{outcome.reason}\n{outcome.advice}")
        shutil.rmtree(directory.path, ignore_errors=True)
        raise typer.Exit(outcome.code)
    profile = None if recorder is None else keep_profile(directory, recorder, str(places.device))
    if as_json:
        print_json("run", page_record(read_page(directory)))
    elif outcome.results is not None:
        print_report(console, directory, outcome.results)
    if outcome.results is None:
        print_problem(f"{outcome.reason}\n{outcome.advice}")
        error_console.print(f"  everything so far is in {clean(directory.path)}", soft_wrap=True)
    if profile is not None and not as_json:
        print_profile(directory, profile)
    if outcome.code:
        raise typer.Exit(outcome.code)


def _train_for_supervisor(
    directory: RunDirectory,
    device: str,
    data_dir: Path | None,
    lifeline: int,
    attempt_number: int,
    launched_by: str,
) -> None:
    """Train in the background: no display, as `run.log` and `metrics.jsonl` tell all. Raises `typer.Exit`."""
    from workbench.jobs.lifeline import Lifeline

    tie = Lifeline(lifeline, attempt_number)
    tie.watch()  # before torch is imported, which takes seconds
    from workbench.runs.events import Silent
    from workbench.train import attempt

    places = _places(device, data_dir)
    recipe = load_recipe(directory.recipe)
    command_line = shlex.split(launched_by)
    outcome = attempt(directory, recipe, places, Silent(), command_line=command_line, lifeline=tie)
    if outcome.code:
        raise typer.Exit(outcome.code)


@contextmanager
def _device_lease(directory: RunDirectory, device: torch.device) -> Iterator[None]:
    """Have the device's lease if it is free; else say who has it, and go on: a person wants this run now."""
    from workbench.jobs.device import devices
    from workbench.jobs.lease import lease_if_free

    name = "cpu" if device.type == "cpu" else f"cuda:{device.index or 0}"
    found = next((one for one in devices() if one.name == name), None)
    if found is None:
        yield
        return
    with lease_if_free(found, directory) as holder:
        if holder is not None:
            who = clean(holder.run.id) or "another petbench run"
            error_console.print(
                f"{name} is in use by {who}: both will be slower; petbench launch would wait for it",
                style="yellow",
                soft_wrap=True,
            )
        yield
