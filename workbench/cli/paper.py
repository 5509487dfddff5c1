"""`petbench paper`: the paper's experiments, run or collected, beside what the paper reports."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from workbench.cli.arguments import DataDir, Device, Json, RunsDir
from workbench.cli.console import cell, console, make_table, print_json
from workbench.cli.files import make_folder, write_file
from workbench.cli.sweep import Jobs, Retry, all_runs, data_now, launch_sweep, train_sweep
from workbench.paper.figures import figure_lines, figure_runs
from workbench.paper.numbers import FIGURES, Figure
from workbench.paper.recipes import PAPER_BACKBONE, paper_recipes, paper_sweep, table1_sweep
from workbench.paper.svg import Bar, bar_chart, line_chart
from workbench.paper.table1 import Cell, markdown, notes, table1_cells, words
from workbench.recipe.literals import toml_literal
from workbench.recipe.sweep import Sweep, load_sweep
from workbench.runs.sweeps import find_runs
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.paths import runs_home
from workbench.support.slug import slug

FOLDER = "paper"
"""In the runs directory, beside the runs."""

app = typer.Typer(
    help="Run or collect the paper's experiments, beside its numbers.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


class Labels(StrEnum):
    """Which of the images keep their label."""

    RANDOM = "random"
    STRATIFIED = "stratified"


Backbone = Annotated[
    str,
    typer.Option(
        "--backbone",
        help="The network. A ResNet is trained as in the paper, of any other the head on a frozen trunk.",
    ),
]
Seeds = Annotated[int, typer.Option("--seeds", min=1, max=100, help="Seeds a cell, from 0.")]
Collect = Annotated[bool, typer.Option("--collect", help="Train nothing: show what there is.")]
Background = Annotated[
    bool, typer.Option("--background", "-b", help="Queue what is missing in the background.")
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="DIR", help="Where files go; else paper/ in the runs directory."),
]


@app.command()
def table1(
    backbone: Backbone = PAPER_BACKBONE,
    seeds: Seeds = 5,
    labels: Annotated[
        Labels, typer.Option("--labels", help="random: the paper's plain shuffle.")
    ] = Labels.RANDOM,
    beside: Annotated[
        list[str] | None,
        typer.Option(
            "--beside", metavar="STRATEGY", help="A strategy to put beside the paper's two; may be repeated."
        ),
    ] = None,
    jobs: Jobs = 1,
    device: Device = "auto",
    collect: Collect = False,
    background: Background = False,
    retry: Retry = False,
    output: Output = None,
    as_json: Json = False,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
) -> None:
    """Table 1: teacher, one-shot and iterative student at 1, 10 and 50 % labels: paper, ours, difference.

    Runs that are done are not run again, so it may be stopped. Writes table1-BACKBONE-LABELS.md and .svg.
    """
    sweep = table1_sweep(backbone, seeds=seeds, labels=labels.value, beside=tuple(beside or ()))
    home = runs_home(runs_dir)
    if background:
        launch_sweep(sweep, home, device, data_dir, retry=retry)
    elif not collect:
        train_sweep(sweep, home, device, data_dir, jobs=jobs, retry=retry)
    cells = table1_cells(sweep, find_runs(home, sweep.runs, data_now(data_dir)))
    stem = f"table1-{slug(backbone)}-{labels.value}"
    files = _write(
        output or home / FOLDER,
        {
            f"{stem}.md": markdown(cells, backbone, labels.value),
            f"{stem}.svg": bar_chart(
                _bars(cells), title=f"Table 1: the paper beside {backbone}, {labels} labels"
            ),
        },
    )
    if as_json:
        told = [_record(one) for one in cells]
        print_json(
            "paper-table1", {"backbone": backbone, "labels": labels.value, "cells": told, "files": files}
        )
        return
    _print_table(cells, backbone, labels.value)
    for file in files:
        console.print(f"written to {clean(file)}", soft_wrap=True)


@app.command()
def figures(
    only: Annotated[
        str, typer.Option("--only", metavar="N,N", help="These figures alone, such as 1,2,3; else all.")
    ] = "",
    backbone: Backbone = PAPER_BACKBONE,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, max=100, help="Seeds a line, of which it is the mean.")
    ] = 1,
    jobs: Jobs = 1,
    device: Device = "auto",
    collect: Collect = False,
    background: Background = False,
    retry: Retry = False,
    output: Output = None,
    as_json: Json = False,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
) -> None:
    """Figures 1 to 3 and 5 to 7 as SVG: learning rates, batch norms, layers, accuracy over epochs.

    Figures 5 to 7 share their runs with table1. Figures 2 and 3 train the trunk: they want a GPU.
    """
    home, data = runs_home(runs_dir), data_now(data_dir)
    drawn = []
    for figure in _chosen(only):
        sweep = _figure_sweep(figure, backbone, seeds)
        if background:
            launch_sweep(sweep, home, device, data_dir, retry=retry)
        elif not collect:
            train_sweep(sweep, home, device, data_dir, jobs=jobs, retry=retry)
        runs = all_runs(sweep, home, data)
        lines = figure_lines(figure_runs(figure, runs), find_runs(home, runs, data))
        if lines:
            title = f"Figure {figure.number}: {figure.title} ({backbone})"
            name = f"figure{figure.number}-{slug(backbone)}.svg"
            (file,) = _write(output or home / FOLDER, {name: line_chart(lines, title=title, across="epoch")})
        else:
            file = ""
        drawn.append({"figure": figure.number, "title": figure.title, "lines": len(lines), "file": file})
    if as_json:
        print_json("paper-figures", {"figures": drawn})
        return
    for one in drawn:
        told = (
            f"written to {clean(one['file'])}" if one["file"] else "no runs yet; leave out --collect to train"
        )
        console.print(f"figure {one['figure']}, {one['title']}: {told}", soft_wrap=True)


@app.command("recipes")
def recipes_(as_json: Json = False) -> None:
    """List the recipes of the paper's experiments; petbench sweep runs any of them."""
    found = {name: (path, load_sweep(path)) for name, path in paper_recipes().items()}
    if as_json:
        rows = found.items()
        told = [
            {"name": n, "file": str(p), "runs": len(s.runs), "points": list(s.points)} for n, (p, s) in rows
        ]
        print_json("paper-recipes", {"recipes": told})
        return
    table = make_table(("recipe", "points", "runs", "what"), right=("points", "runs"), prose=("what",))
    for name, (_, sweep) in found.items():
        table.add_row(
            cell(name),
            str(len(sweep.points)),
            str(len(sweep.runs)),
            cell(sweep.runs[0].recipe.description),
        )
    console.print(table)
    console.print("petbench sweep NAME runs one; petbench recipe copy NAME gives a file to change")


def _print_table(cells: list[Cell], backbone: str, labels: str) -> None:
    numbers = ("labelled", "paper", "ours", "difference", "seeds")
    table = make_table(
        ("labelled", "model", "paper", "ours", "difference", "seeds"),
        title=f"Table 1, test accuracy in %: the paper's ResNet-152, our {clean(backbone)}; {labels} labels",
        right=numbers,
    )
    for place, one in enumerate(cells):
        ends_row = place + 1 < len(cells) and cells[place + 1].fraction != one.fraction
        table.add_row(*(cell(word) for word in words(one)), end_section=ends_row)
    console.print(table)
    for note in notes(cells, backbone):
        loud = note.startswith("BELOW")
        console.print(f"{'warning: ' if loud else ''}{clean(note)}", style="bold yellow" if loud else "")


def _bars(cells: list[Cell]) -> list[Bar]:
    bars = []
    for one in cells:
        group = f"{100 * one.fraction:g} %"
        if one.paper is not None:
            bars.append(Bar(group, f"paper, {one.heading}", one.paper))
        spread = one.ours
        bars.append(
            Bar(
                group,
                f"ours, {one.heading}",
                spread.mean if spread else None,
                spread.deviation if spread else None,
            )
        )
    return bars


def _record(one: Cell) -> dict[str, Any]:
    return {**asdict(one), "difference": one.difference}


def _figure_sweep(figure: Figure, backbone: str, seeds: int) -> Sweep:
    if figure.fraction is not None:
        return table1_sweep(backbone, seeds=seeds)
    return paper_sweep(figure.recipe, [f"model.backbone={toml_literal(backbone)}", f"sweep.seeds={seeds}"])


def _chosen(only: str) -> list[Figure]:
    numbers = [word.strip() for word in only.split(",") if word.strip()]
    known = [figure.number for figure in FIGURES]
    for number in numbers:
        if number not in known:
            raise UserError(f"no figure {clean(number, 20)}", where="--only", allowed=known)
    return [figure for figure in FIGURES if not numbers or figure.number in numbers]


def _write(folder: Path, files: dict[str, str]) -> list[str]:
    make_folder(folder, "--output")
    for name, text in files.items():
        write_file(folder / name, text)
    return [str(folder / name) for name in files]
