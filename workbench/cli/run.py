"""`petbench run` and `petbench resume`: train to results or to a clear end.

Every run is trained by `petbench run`: in the foreground as the user starts it, in the background as the
run's supervisor does, with the hidden options.
"""

from __future__ import annotations

import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
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
from workbench.cli.devices import (
    HowMany,
    foreground_devices,
    how_many,
    rank_device,
    torch_device,
    with_devices,
)
from workbench.cli.engine import EngineName
from workbench.cli.streams import outliving_output
from workbench.jobs.device import Demand, DevicesAsked
from workbench.recipe.load import lines_named, load_recipe
from workbench.runs.layout import RunDirectory, create_run
from workbench.runs.status import RunStatus, status_of
from workbench.runs.ticket import read_ticket
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.paths import cache_home, data_home, runs_home
from workbench.support.ranks import Rank, rank_here
from workbench.support.spans import Part, Recorder, recording, span

if TYPE_CHECKING:
    from workbench.recipe import Recipe
    from workbench.runs.summary import RunSummary
    from workbench.train import Places

_PATIENCE_SECONDS, _LOOK_SECONDS = 180.0, 2.0
"""How long one that seems to be at work elsewhere is waited for: a machine that died shows life a minute."""
Profiled = Annotated[
    bool,
    typer.Option("--profile", help="Tell at the end where the time went; a trace is kept with the run."),
]


def run(
    recipe: OptionalRecipe = None,
    sets: Sets = None,
    unsets: Unsets = None,
    profile: Profiled = False,
    or_resume: Annotated[
        bool,
        typer.Option(
            "--or-resume",
            help="Go on with the run of this recipe and these images if there is one, and do nothing if it "
            "is finished: for whatever starts a command again when it ends with 130.",
        ),
    ] = False,
    device: Device = "auto",
    devices: HowMany = None,
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
    from workbench.runs.export import page_record, read_page

    rank = rank_here()
    if rank is not None and not rank.is_first:
        _attend(rank, device, data_dir, lifeline)
        return
    if run_dir is not None:
        processes = how_many(devices)
        assert isinstance(processes, int)  # the supervisor has counted them
        _train_for_supervisor(
            RunDirectory(run_dir), device, processes, data_dir, lifeline, attempt_number, launched_by
        )
        return
    if recipe is None:
        raise UserError("no recipe given", hint="petbench run quickstart")
    recorder = Recorder() if profile else None
    with recording(recorder), outliving_output():
        changes = with_devices(changes_of(sets, unsets), devices)
        loaded = load_recipe(recipe, changes)
        with lines_named(recipe, changes):
            check_backbone(loaded)
            check_launch(loaded, runs_home(runs_dir), data_home=data_dir, device=None)
            places, demand = _places(device, loaded.training.devices, data_dir)
        home = runs_home(runs_dir)
        with ExitStack() as looking:
            there = _there_already(loaded, home, data_dir, looking) if or_resume else None
            if there is not None and there.status is RunStatus.FINISHED:
                if rank is not None:
                    from workbench.train.process_group import dismiss

                    dismiss(rank)
                (error_console if as_json else console).print(f"{clean(there.id)}: finished", soft_wrap=True)
                if as_json:
                    print_json("run", page_record(read_page(there.run)))
                return
            directory = (
                create_run(home, loaded.name, dump_recipe(loaded), datetime.now())
                if there is None
                else there.run
            )
            _train(
                directory,
                places,
                demand,
                recorder,
                is_new=there is None,
                as_json=as_json,
                claimed=looking.close,
            )


def _there_already(
    recipe: Recipe, home: Path, data_dir: Path | None, looking: ExitStack
) -> RunSummary | None:
    """The run of this recipe and these images, if there is one; a machine that died is waited for.

    Args:
        looking: held until the run is claimed, so that of two who look the second sees the first one's.

    Raises:
        UserError: it is at work elsewhere, and stays so.
    """
    from workbench.cli.sweep import data_now
    from workbench.recipe import recipe_fingerprint
    from workbench.runs.sweeps import find_trained, starting

    data, end = data_now(data_dir), time.monotonic() + _PATIENCE_SECONDS
    while True:
        looking.enter_context(starting(home))
        there = find_trained(home, [recipe], data).get(recipe_fingerprint(recipe))
        if there is None or not there.status.is_active:
            return there
        looking.close()
        if there.status is RunStatus.QUEUED or time.monotonic() > end:
            raise UserError(
                f"it is {there.status.value} already",
                where=there.id,
                hint=f"petbench stop {there.handle} ends that",
            )
        time.sleep(_LOOK_SECONDS)


def resume(
    run: RunId,
    background: Annotated[
        bool, typer.Option("--background", "-b", help="In the background, as petbench launch would.")
    ] = False,
    engine: Annotated[
        EngineName | None,
        typer.Option(
            "--engine",
            help="Who starts it in the background; unless given whoever had it last: local, or slurm, as it "
            "was asked then.",
            show_default=False,
        ),
    ] = None,
    profile: Profiled = False,
    device: Device = "auto",
    devices: HowMany = None,
    as_json: Json = False,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
) -> None:
    """Go on with a run that was stopped, killed or failed, exactly where its last checkpoint stands."""
    from workbench.runs.find import find_run

    rank, asked = rank_here(), how_many(devices)
    if rank is not None and not rank.is_first:
        _attend(rank, device, data_dir, -1)
        return
    directory = find_run(runs_home(runs_dir), run)
    if background or engine is not None:
        if profile:
            raise UserError("--profile tells its story at the end, in the foreground", where="--background")
        from workbench.cli.launch import print_launched, told
        from workbench.jobs import resume_run

        launched = resume_run(
            directory,
            data_home=data_dir,
            device=device,
            devices=asked,
            command_line=sys.argv,
            told=lambda text: (error_console if as_json else console).print(text, soft_wrap=True),
            engine=None if engine is None else engine.value,
        )
        if as_json:
            print_launched([launched])
        else:
            console.print(told(launched), soft_wrap=True)
        return
    ticket = read_ticket(directory)
    if ticket is not None and status_of(directory) is RunStatus.QUEUED:
        raise UserError(
            f"Slurm has it as {ticket.words}, and starts it",
            where=directory.id,
            hint=f"petbench stop {directory.handle} takes it from there; then resume it here",
        )
    recorder = Recorder() if profile else None
    with recording(recorder), outliving_output():
        places, demand = _places(device, asked or load_recipe(directory.recipe).training.devices, data_dir)
        if ticket is not None and ticket.is_held and ticket.is_open:
            from workbench.jobs.slurm import withdraw

            withdraw(directory, ticket)
            error_console.print(
                f"{clean(ticket.words)}, which Slurm held, is cancelled: the run goes on here"
            )
        _train(directory, places, demand, recorder, is_new=False, as_json=as_json)


def _places(device: str, asked: DevicesAsked, data_dir: Path | None) -> tuple[Places, Demand]:
    """Resolve the options before any directory is made.

    Args:
        asked: how many devices shall train the run; torchrun has decided that already for those it starts.

    Raises:
        UserError: a device that is not there, or not so many.
    """
    with span(Part.IMPORTS):
        from workbench.jobs.device import listed_device
        from workbench.train import Places

    rank = rank_here()
    if rank is None:
        demand = foreground_devices(device, asked)
        own = torch_device(demand, device)
    else:
        own = rank_device(device, rank)
        listed = listed_device(str(own))
        demand = Demand(() if listed is None else (listed,))
    return Places(data_home=data_home(data_dir), cache=cache_home(), device=own), demand


def _train(
    directory: RunDirectory,
    places: Places,
    demand: Demand,
    recorder: Recorder | None,
    *,
    is_new: bool,
    as_json: bool,
    claimed: Callable[[], None] = lambda: None,
) -> None:
    """Train what `directory` holds; raises `typer.Exit` with the attempt's code.

    What `recorder` has recorded since the command began is kept with the run and told at the end.

    `claimed` is called once others see that the run is this process's.

    A new run is announced once nothing is refused any more; one that is leaves no directory.
    """
    with span(Part.IMPORTS):
        from workbench.cli.display import Display
        from workbench.cli.profile import follow_device, keep_profile, print_profile
        from workbench.cli.report import print_report
        from workbench.runs.export import page_record, read_page
        from workbench.train import attempt

    run_console = error_console if as_json else console  # JSON has standard output to itself
    if not is_new:
        run_console.print(f"resume {clean(directory.id)}", soft_wrap=True)
    recipe = load_recipe(directory.recipe)
    if recorder is not None:
        follow_device(recorder, places.device)
    with _device_lease(directory, demand), Display(run_console, directory.metrics) as display:
        outcome = attempt(
            directory,
            recipe,
            places,
            display,
            command_line=sys.argv,
            on_claim=claimed,
            processes=demand.processes,
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
    processes: int,
    data_dir: Path | None,
    lifeline: int,
    attempt_number: int,
    launched_by: str,
) -> None:
    """Train in the background: no display, as `run.log` and `metrics.jsonl` tell all. Raises `typer.Exit`."""
    from workbench.jobs.control import Lifeline

    tie = Lifeline(lifeline, attempt_number)
    tie.watch()  # before torch is imported, which takes seconds
    from workbench.compute import find_device
    from workbench.runs.events import Silent
    from workbench.train import Places, attempt

    # The supervisor has the lease, and shows this process its device alone.
    places = Places(data_home=data_home(data_dir), cache=cache_home(), device=find_device(device))
    recipe = load_recipe(directory.recipe)
    command_line = shlex.split(launched_by)
    outcome = attempt(
        directory,
        recipe,
        places,
        Silent(),
        command_line=command_line,
        lifeline=tie,
        processes=processes,
    )
    if outcome.code:
        raise typer.Exit(outcome.code)


def _attend(rank: Rank, device: str, data_dir: Path | None, lifeline: int) -> None:
    """Train with the process that has the run, which another rank is. Raises `typer.Exit`."""
    is_local = lifeline >= 0
    if is_local:
        from workbench.jobs.control import Lifeline

        Lifeline(lifeline, 0, signal.SIGKILL).watch()
    from workbench.train import Places
    from workbench.train.process_group import attend

    places = Places(data_home=data_home(data_dir), cache=cache_home(), device=rank_device(device, rank))
    code = attend(rank, places, is_local=is_local)
    if code:
        raise typer.Exit(code)


@contextmanager
def _device_lease(directory: RunDirectory, demand: Demand) -> Iterator[None]:
    """Have the leases of what is free; else say who has it, and go on: a person wants this run now."""
    from workbench.jobs.lease import lease_if_free

    with lease_if_free(demand.devices, directory) as others:
        for found, holder in others.items():
            error_console.print(
                f"{holder.has(found)}: both will be slower; petbench launch would wait for it",
                style="yellow",
                soft_wrap=True,
            )
        yield
