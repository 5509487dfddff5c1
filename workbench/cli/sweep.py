"""`petbench sweep`: all runs of a recipe's [sweep] that are not done yet, and what came out of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from workbench.cli.arguments import (
    DataDir,
    Device,
    Json,
    RecipeFile,
    RunsDir,
    Sets,
    Unsets,
    changes_of,
)
from workbench.cli.console import cell, console, error_console, make_table, percent, print_json, print_problem
from workbench.recipe.load import lines_named
from workbench.recipe.sweep import Sweep, SweepRun, load_sweep
from workbench.runs.seeds import Spread
from workbench.runs.status import RunStatus
from workbench.runs.summary import summarise
from workbench.runs.sweeps import Point, SameData, best_point, find_runs, points_of, starting
from workbench.support.clean import clean
from workbench.support.errors import RunFailed, UserError
from workbench.support.paths import cache_home, data_home, runs_home

if TYPE_CHECKING:
    from workbench.dataset.run_data import DataNow
    from workbench.train.many import Ended, Task
    from workbench.train.sweeping import Said

Jobs = Annotated[
    int,
    typer.Option(
        "--jobs",
        "-j",
        min=1,
        max=64,
        help="Runs at a time, each in a process of its own; they share the cores.",
    ),
]
Retry = Annotated[bool, typer.Option("--retry", help="Try failed runs again, from their last checkpoint.")]


def sweep(
    recipe: RecipeFile,
    sets: Sets = None,
    unsets: Unsets = None,
    jobs: Jobs = 1,
    device: Device = "auto",
    background: Annotated[
        bool, typer.Option("--background", "-b", help="Queue the runs in the background, as petbench launch.")
    ] = False,
    retry: Retry = False,
    collect: Annotated[
        bool, typer.Option("--collect", help="Train nothing: show what there is, and what is to do.")
    ] = False,
    as_json: Json = False,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
) -> None:
    """Train all runs of a recipe's [sweep] that are not done yet; the best point by validation is marked.

    --set sweep.seeds=3 makes a sweep of a recipe that has none.
    A run is known by its resolved recipe and its images: stop the sweep with Ctrl-C, give the same command,
    and it goes on.
    """
    changes = changes_of(sets, unsets)
    loaded = load_sweep(recipe, changes)
    home = runs_home(runs_dir)
    with lines_named(recipe, changes):
        if background:
            launch_sweep(loaded, home, device, data_dir, retry=retry)
        elif not collect:
            train_sweep(loaded, home, device, data_dir, jobs=jobs, retry=retry)
    data = data_now(data_dir)
    runs = all_runs(loaded, home, data)
    points = points_of(runs, find_runs(home, runs, data))
    if as_json:
        best = best_point(points)
        print_json("sweep", {"name": loaded.name, "points": [point_record(point, best) for point in points]})
    else:
        console.print(sweep_table(points, clean(loaded.name)))
        console.print(_summary(points), soft_wrap=True)
    if not (background or collect) and any(
        run is not None and run.status is RunStatus.FAILED for point in points for run in point.runs
    ):
        raise typer.Exit(1)


def train_sweep(
    loaded: Sweep, home: Path, device: str, data_dir: Path | None, *, jobs: int, retry: bool
) -> None:
    """Train what is not done yet, a line on standard error as each run ends. Raises `typer.Exit` 130, 1."""
    from workbench.train import Places, find_device
    from workbench.train.interrupt import Interrupted
    from workbench.train.many import train_all
    from workbench.train.sweeping import carry_out

    places = Places(data_home=data_home(data_dir), cache=cache_home(), device=find_device(device))
    _check(loaded, data_dir, device)
    told = _Told()

    def train(tasks: Sequence[Task]) -> None:
        train_all(tasks, places, jobs=jobs, command_line=sys.argv, told=told.ended)

    try:
        carry_out(loaded, home, train, data_now(data_dir), retry=retry, say=told.said)
    except (Interrupted, KeyboardInterrupt) as error:
        error_console.print("stopped; the same command goes on from here", style="yellow")
        raise typer.Exit(130) from error
    except RunFailed as error:
        print_problem(f"{error.reason}\n{error.advice}")
        raise typer.Exit(1) from error
    if told.refused:
        error_console.print(f"{told.refused} runs could not begin", style="yellow")
        raise typer.Exit(1)


def _check(loaded: Sweep, data_dir: Path | None, device: str) -> None:
    """See that nothing is begun that a run would refuse a second later. Raises: UserError."""
    from workbench.cli.recipe import check_backbone
    from workbench.jobs import check_divisions, check_launch

    recipes = [run.recipe for run in loaded.runs]
    networks = {
        f"{recipe.model.model_dump_json()}{recipe.finetune.model_dump_json()}": recipe for recipe in recipes
    }
    for recipe in networks.values():
        check_backbone(recipe)
    check_launch(recipes[0], data_home=data_dir, device=device)
    check_divisions(recipes, data_home=data_dir)


def launch_sweep(loaded: Sweep, home: Path, device: str, data_dir: Path | None, *, retry: bool) -> None:
    """Queue what is not done yet in the background.

    Raises:
        UserError: a search that looks at its runs on the way needs this process.
    """
    from workbench.jobs import launch, resume_run
    from workbench.recipe import recipe_fingerprint

    if loaded.prune is not None or loaded.refine is not None:
        raise UserError(
            "sweep.prune and sweep.refine decide on the way what to train",
            where="--background",
            hint="leave --background out (tmux keeps it going), or take the keys out of the recipe",
        )
    _check(loaded, data_dir, device)
    started = 0
    with starting(home):
        found = find_runs(home, loaded.runs, data_now(data_dir))
        for run in loaded.runs:
            there = found.get(recipe_fingerprint(run.recipe))
            if there is None:
                launch(run.recipe, home, data_home=data_dir, device=device, command_line=sys.argv)
            elif there.status in (RunStatus.STOPPED, RunStatus.SILENT, RunStatus.LOST) or (
                retry and there.status is RunStatus.FAILED
            ):
                resume_run(there.run, data_home=data_dir, device=device, command_line=sys.argv)
            else:
                continue
            started += 1
    error_console.print(f"{started} of {len(loaded.runs)} runs queued; petbench queue lists them")


def sweep_table(points: Sequence[Point], title: str) -> Table:
    """A row a point: validation and test accuracy over its repeats; the best by validation is marked."""
    best = best_point(points)
    numbers = ("runs", "val %", "test %")
    table = make_table(("", "point", *numbers, "state"), title=title, right=numbers)
    for point in points:
        mark = "*" if point is best else ""
        style = "bold" if point is best else "dim" if point.is_pruned and not point.is_complete else ""
        table.add_row(
            mark,
            cell(point.name or "(all settings as written)", style),
            f"{point.finished}/{len(point.runs)}",
            cell(told_spread(point.val), style),
            cell(told_spread(point.test), style),
            cell(point.state),
        )
    return table


def told_spread(spread: Spread | None) -> str:
    """`88.42 ± 0.31` in percent; without ± for one run, a dash for none."""
    if spread is None:
        return "–"
    deviation = "" if spread.deviation is None else f" ± {100 * spread.deviation:.2f}"
    return f"{percent(spread.mean)}{deviation}"


def point_record(point: Point, best: Point | None) -> dict[str, Any]:
    """A point for scripts; accuracies are shares."""
    return {
        "point": point.name,
        "settings": dict(point.settings),
        "best": point is best,
        "pruned": point.is_pruned,
        "val": spread_record(point.val),
        "test": spread_record(point.test),
        "runs": [
            {
                "repeat": repeat,
                "id": run.id if run else None,
                "status": run.status.value if run else "to do",
                "val_accuracy": run.val_accuracy if run else None,
                "test_accuracy": run.test_accuracy if run else None,
            }
            for repeat, run in zip(point.repeats, point.runs, strict=True)
        ],
    }


def spread_record(spread: Spread | None) -> dict[str, float | int | None] | None:
    """Mean, sample standard deviation and count."""
    if spread is None:
        return None
    return {"mean": spread.mean, "deviation": spread.deviation, "count": spread.count}


def data_now(data_dir: Path | None) -> DataNow:
    """Which runs are on today's images; says on standard error which are not."""
    from workbench.dataset.run_data import DataNow

    def say(line: str) -> None:
        error_console.print(clean(line), style="yellow", soft_wrap=True)

    return DataNow(data_home(data_dir), say)


def all_runs(loaded: Sweep, home: Path, data: SameData) -> tuple[SweepRun, ...]:
    """The sweep's runs, and those of its finer search once that has begun."""
    best = best_point(points_of(loaded.runs, find_runs(home, loaded.runs, data)))
    finer = loaded.around(best.name) if best is not None else ()
    return loaded.runs + (finer if finer and find_runs(home, finer, data) else ())


def _summary(points: Sequence[Point]) -> str:
    best = best_point(points)
    done = sum(point.finished for point in points)
    whole = sum(len(point.runs) for point in points)
    told = f"{done} of {whole} runs finished"
    if best is None:
        return told
    return (
        f"{told}; * best by validation: {clean(best.name) or 'the one point'}. "
        "Test accuracies are shown for information and choose nothing; ± is the sample standard deviation."
    )


class _Told:
    """Lines on standard error, so that --json has standard output to itself."""

    def __init__(self) -> None:
        self._number = self._of = 0
        self.refused = 0
        """Runs that could not begin, of which nothing is left in the runs directory."""

    def said(self, said: Said) -> None:
        """A new stretch of the sweep begins."""
        self._number, self._of = 0, said.runs or self._of
        error_console.print(clean(said.text), soft_wrap=True)

    def ended(self, ended: Ended) -> None:
        """A run has ended."""
        self._number += 1
        self.refused += bool(ended.code) and not ended.elsewhere and not ended.run.path.exists()
        told = self._outcome(ended)
        error_console.print(
            f"  {self._number}/{self._of}  {clean(ended.run.id)}  {told}",
            style="" if ended.code == 0 else "yellow",
            soft_wrap=True,
        )

    def _outcome(self, ended: Ended) -> str:
        if ended.elsewhere:
            return ended.elsewhere
        if ended.code:
            return clean(ended.reason.replace("\n", "; "), 300)
        summary = summarise(ended.run)
        if ended.is_parked:
            return f"parked at val {percent(summary.val_accuracy)}"
        return f"val {percent(summary.val_accuracy)}  test {percent(summary.test_accuracy)}"
