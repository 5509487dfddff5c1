"""`petbench sweep`: all runs of a recipe's [sweep] that are not done yet, and what came out of them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from workbench.cli.arguments import DataDir, Json, RecipeFile, RunsDir, Sets, Unsets, changes_of
from workbench.cli.console import cell, console, error_console, make_table, print_json, print_problem
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
from workbench.jobs.device import Demand, demand_of
from workbench.jobs.submission import Submission
from workbench.jobs.sweep import Ended, Said, Task, carry_out, goes_on, queue_sweep, refuse_queue
from workbench.jobs.worker_pool import SweepStopped, WorkerPool
from workbench.recipe import Recipe, recipe_fingerprint
from workbench.recipe.load import lines_named
from workbench.recipe.source import parse_grid
from workbench.recipe.sweep import Sweep, SweepRun, load_sweep
from workbench.runs.find import named_teachers
from workbench.runs.intervals import overlap
from workbench.runs.seed_groups import Spread
from workbench.runs.status import RunStatus
from workbench.runs.summary import RunSummary, summarise
from workbench.runs.sweeps import Point, SameData, best_point, find_runs, points_of
from workbench.runs.values import spread_words
from workbench.support.clean import clean
from workbench.support.errors import RunFailed
from workbench.support.paths import data_home, runs_home
from workbench.support.units import interval_words, percent

if TYPE_CHECKING:
    from workbench.dataset.run_data import DataNow

Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        "-j",
        min=1,
        max=64,
        help="Runs at a time, each in a process of its own; they share the cores. Unless given: one, or one "
        "on each of several devices that are named.",
        show_default=False,
    ),
]
Devices = Annotated[
    str,
    typer.Option(
        "--device",
        help="auto, cpu, cuda, cuda:N, all, or several with commas: runs go to them in turn, and leave alone "
        "what another run has.",
    ),
]
Grids = Annotated[
    list[str] | None,
    typer.Option(
        "--grid",
        metavar="KEY=V1,V2",
        help="A run for each value, and for each combination of several, as a [sweep] in the recipe would "
        "have them: --grid seed=0,1,2 --grid optimizer.learning_rate=1e-4,1e-3.",
    ),
]
Retry = Annotated[bool, typer.Option("--retry", help="Try failed runs again, from their last checkpoint.")]


def sweep(
    recipe: RecipeFile,
    sets: Sets = None,
    unsets: Unsets = None,
    grid: Grids = None,
    jobs: Jobs = None,
    device: Devices = "auto",
    devices: HowMany = None,
    background: Annotated[
        bool, typer.Option("--background", "-b", help="Queue the runs in the background, as petbench launch.")
    ] = False,
    engine: Engine = EngineName.LOCAL,
    partition: Partition = None,
    time: Time = None,
    gpus: Gpus = None,
    sbatch: SbatchLines = None,
    max_parallel: MaxParallel = None,
    retry: Retry = False,
    collect: Annotated[
        bool, typer.Option("--collect", help="Train nothing: show what there is, and what is to do.")
    ] = False,
    as_json: Json = False,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
) -> None:
    """Train all runs of a recipe's [sweep] that are not done yet; the best point by validation is marked.

    --grid seed=0,1,2 or --set sweep.seeds=3 makes a sweep of a recipe that has none.
    A run is known by its resolved recipe and its images: stop the sweep with Ctrl-C, give the same command,
    and it goes on. With --engine slurm the runs are an array of jobs, and the same command collects them.
    """
    slurm = submission_of(
        engine,
        partition=partition,
        time=time,
        gpus=gpus,
        lines=sbatch,
        max_parallel=max_parallel,
        data_dir=data_dir,
        device=device,
    )
    background = background or (slurm is not None and not collect)
    changes = [*with_devices(changes_of(sets, unsets), devices), *parse_grid(grid or ())]
    loaded = load_sweep(recipe, changes)
    home, data = runs_home(runs_dir), data_now(data_dir)
    with lines_named(recipe, changes):
        if background or not collect:
            how = How(
                home, data, device, data_dir, jobs=jobs, background=background, retry=retry, slurm=slurm
            )
            carry_out_all([loaded], how)
    runs = all_runs(loaded, home, data)
    points = points_of(runs, find_runs(home, runs, data))
    if as_json:
        best = best_point(points)
        print_json("sweep", {"name": loaded.name, "points": [point_record(point, best) for point in points]})
    else:
        console.print(sweep_table(points, clean(loaded.name)))
        console.print(_summary(points), soft_wrap=True)
    if not (background or collect) and any(
        run is not None and run.status in (RunStatus.FAILED, RunStatus.LOST)
        for point in points
        for run in point.runs
    ):
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class How:
    """Where and how sweeps are carried out, as the command line has it."""

    home: Path
    data: SameData
    device: str
    data_dir: Path | None
    jobs: int | None = None
    background: bool = False
    retry: bool = False
    slurm: Submission | None = None


def carry_out_all(sweeps: Sequence[Sweep], how: How) -> None:
    """Train what is not done yet, here or in the background, once all runs of all sweeps are seen to fit.

    Raises:
        UserError: what a run would refuse: nothing has begun.
        typer.Exit: 130, it was stopped; 1, a run could not begin.
    """
    for one in sweeps if how.background else ():
        refuse_queue(one)
    runs = [run for one in sweeps for run in one.runs]
    found = find_runs(how.home, runs, how.data)
    if how.background:
        _check(runs, found, how)
        for one in sweeps:
            _queue(one, how)
        return
    demand = _demand(runs, how.device)
    each = "," in how.device or how.device == "all"
    jobs = how.jobs or (len(demand.devices) // demand.count if each else 1)
    told = _Told()
    pool = WorkerPool(demand, jobs, data_home=data_home(how.data_dir), command_line=sys.argv, say=told.note)
    try:
        with pool:
            pool.warm(len(_to_do(runs, found, how)))
            _check(runs, found, how)
            for one in sweeps:
                _train(one, how, pool, told)
    except (SweepStopped, KeyboardInterrupt) as error:
        error_console.print("stopped; the same command goes on from here", style="yellow")
        raise typer.Exit(130) from error
    except RunFailed as error:
        print_problem(f"{error.reason}\n{error.advice}")
        raise typer.Exit(1) from error
    if told.lost:
        error_console.print(
            f"{told.lost} runs lost their process; the same command goes on with them, and fewer --jobs need "
            "less memory",
            style="yellow",
        )
    if told.refused:
        error_console.print(f"{told.refused} runs could not begin", style="yellow")
        raise typer.Exit(1)


def _demand(runs: Sequence[SweepRun], device: str) -> Demand:
    """What the run that takes most devices asks for. Raises: UserError."""
    asked = [run.recipe.training.devices for run in runs]
    return max((demand_of(device, one) for one in dict.fromkeys(asked)), key=lambda one: one.processes)


def _train(loaded: Sweep, how: How, pool: WorkerPool, told: _Told) -> None:
    """Train what is not done yet, a line on standard error as each run ends. Raises: as `carry_out`."""

    def train(tasks: Sequence[Task]) -> None:
        pool.train(tasks, told.ended)

    carry_out(loaded, how.home, train, how.data, retry=how.retry, say=told.said)


def _to_do(runs: Sequence[SweepRun], found: Mapping[str, RunSummary], how: How) -> list[Recipe]:
    """What is begun or taken up again, as far as can be told before."""
    return [
        run.recipe
        for run in runs
        if (there := found.get(recipe_fingerprint(run.recipe))) is None or goes_on(there, retry=how.retry)
    ]


def _check(runs: Sequence[SweepRun], found: Mapping[str, RunSummary], how: How) -> None:
    """See that nothing is begun that a run would refuse a second later: recipes, data, weights.

    Weights are asked for last, and for runs that will train alone, since they may have to be fetched.

    Raises:
        UserError: in one message.
    """
    from workbench.cli.recipe import fit_here
    from workbench.dataset.run_data import Catalogues
    from workbench.jobs import check_place

    check_place(runs[0].recipe, data_home=how.data_dir, device=None)
    if how.slurm is None:
        _demand(runs, how.device)
    home = data_home(how.data_dir)
    catalogues = Catalogues(home)
    distinct = {
        repr((r.data, r.pseudo_label, r.model, r.finetune, r.optimizer, r.training)): r
        for r in (run.recipe for run in runs)
    }
    for recipe in distinct.values():
        fit_here(recipe, catalogues, home)
    for run in runs:
        if recipe_fingerprint(run.recipe) not in found:  # what teaches a run that has begun is kept with it
            named_teachers(run.recipe, how.home)
    to_do = _to_do(runs, found, how)
    if any(recipe.model.weights != "none" for recipe in to_do):
        from workbench.model import check_weights

        check_weights(to_do)


def _queue(loaded: Sweep, how: How) -> None:
    """Queue what is not done yet in the background. Raises: UserError."""
    queued = queue_sweep(
        loaded,
        how.home,
        how.data,
        data_home=how.data_dir,
        device=how.device,
        command_line=sys.argv,
        retry=how.retry,
        slurm=how.slurm,
    )
    count = len(queued.launched)
    where = "queued" if how.slurm is None else "given to Slurm"
    error_console.print(f"{count} of {len(loaded.runs)} runs {where}; petbench queue lists them")


def sweep_table(points: Sequence[Point], title: str) -> Table:
    """A row a point: validation and test accuracy over its repeats; the best by validation is marked."""
    best = best_point(points)
    intervals = ("val 95 %", "test 95 %")
    numbers = ("runs", "val %", intervals[0], "test %", intervals[1])
    table = make_table(("", "point", *numbers, "state"), title=title, right=numbers, spare=intervals)
    for point in points:
        mark = "*" if point is best else ""
        style = "bold" if point is best else "dim" if point.is_pruned and not point.is_complete else ""
        table.add_row(
            mark,
            cell(point.name or "(all settings as written)", style),
            f"{point.finished}/{len(point.runs)}",
            cell(told_spread(point.val), style),
            cell(told_interval(point.val), style),
            cell(told_spread(point.test), style),
            cell(told_interval(point.test), style),
            cell(point.state),
        )
    return table


def told_spread(spread: Spread | None) -> str:
    """`88.42 ± 0.31` in percent; without ± for one run, a dash for none."""
    return spread_words("accuracy", spread)


def told_interval(spread: Spread | None) -> str:
    """`87.9–88.9`: of the mean over seeds; empty for one run, which has no spread."""
    return "" if spread is None or spread.interval is None else interval_words(spread.interval)


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


def spread_record(spread: Spread | None) -> dict[str, Any] | None:
    """Mean, sample standard deviation, count, and the interval of the mean."""
    return None if spread is None else asdict(spread)


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
        f"{_alike(points, best)}Test accuracies are shown for information and choose nothing; ± is the "
        "sample standard deviation, 95 % Student's interval of the mean over seeds."
    )


def _alike(points: Sequence[Point], best: Point) -> str:
    """How many points seeds cannot tell from the best; empty where none, or where nothing was repeated."""
    mine = None if best.val is None else best.val.interval
    others = [point.val.interval for point in points if point is not best and point.val is not None]
    alike = sum(other is not None and mine is not None and overlap(mine, other) for other in others)
    return f"The intervals of {alike} other points overlap with its own. " if alike else ""


class _Told:
    """Lines on standard error, so that --json has standard output to itself."""

    def __init__(self) -> None:
        self._number = self._of = 0
        self.refused = 0
        """Runs that could not begin, of which nothing is left in the runs directory."""
        self.lost = 0
        """Runs whose process died."""

    def note(self, text: str) -> None:
        """A line by the way."""
        error_console.print(clean(text), style="yellow", soft_wrap=True)

    def said(self, said: Said) -> None:
        """A new stretch of the sweep begins."""
        self._number, self._of = 0, said.runs or self._of
        error_console.print(clean(said.text), soft_wrap=True)

    def ended(self, ended: Ended) -> None:
        """A run has ended."""
        self._number += 1
        self.lost += ended.is_lost
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
