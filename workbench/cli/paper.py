"""`petbench paper`: the paper's experiments, run or collected, beside what the paper reports."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from workbench.cli.arguments import DataDir, Json, RunsDir, Sets, Unsets, changes_of
from workbench.cli.console import (
    cell,
    console,
    error_console,
    make_folder,
    make_table,
    print_json,
    write_file,
)
from workbench.cli.recipe import look_at_network
from workbench.cli.sweep import Devices, How, Jobs, Retry, all_runs, carry_out_all, data_now
from workbench.paper.charts import line_chart
from workbench.paper.figures import figure_chart
from workbench.paper.numbers import FIGURES, Figure
from workbench.paper.recipes import PAPER_BACKBONE, figure_plans, paper_recipes, table1_sweep, told_changes
from workbench.paper.table1 import Cell, Table, chart, make_table1, markdown, notes, words
from workbench.recipe.sweep import load_sweep
from workbench.runs.sweeps import find_runs
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.paths import runs_home

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
        help="The network, short for --set model.backbone=NAME. For Table 1 a ResNet is trained as in the "
        "paper, of any other the head on a frozen trunk.",
    ),
]
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
    seeds: Annotated[int, typer.Option("--seeds", min=1, max=100, help="Seeds a cell, from 0.")] = 5,
    labels: Annotated[
        Labels, typer.Option("--labels", help="random: the paper's plain shuffle.")
    ] = Labels.RANDOM,
    beside: Annotated[
        list[str] | None,
        typer.Option(
            "--beside", metavar="STRATEGY", help="A strategy to put beside the paper's two; may be repeated."
        ),
    ] = None,
    sets: Sets = None,
    unsets: Unsets = None,
    jobs: Jobs = None,
    device: Devices = "auto",
    collect: Collect = False,
    background: Background = False,
    retry: Retry = False,
    output: Output = None,
    as_json: Json = False,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
) -> None:
    """Table 1: teacher, one-shot and iterative student at 1, 10 and 50 % labels: paper, ours, difference.

    Runs that are done are not run again, so it may be stopped. Nothing begins unless all of its runs can.
    Writes table1-BACKBONE-LABELS as .md, .svg and .png.
    """
    changes = changes_of(sets, unsets)
    sweep = table1_sweep(
        changes, backbone=backbone, seeds=seeds, labels=labels.value, beside=tuple(beside or ())
    )
    home, data = runs_home(runs_dir), data_now(data_dir)
    if background or not collect:
        how = How(home, data, device, data_dir, jobs=jobs, background=background, retry=retry)
        carry_out_all([sweep], how)
    table = make_table1(sweep, find_runs(home, sweep.runs, data), told_changes(changes))
    drawn = chart(table)
    files = _write(
        output or home / FOLDER,
        {
            f"{table.stem}.md": markdown(table).encode(),
            f"{table.stem}.svg": drawn.svg().encode(),
            f"{table.stem}.png": drawn.png(),
        },
    )
    if as_json:
        told = [_record(one) for one in table.cells]
        print_json(
            "paper-table1",
            {
                "backbone": table.backbone,
                "labels": table.labels,
                "changes": list(table.changes),
                "cells": told,
                "files": files,
            },
        )
        return
    _print_table(table)
    for file in files:
        console.print(f"written to {clean(file)}", soft_wrap=True)


@app.command()
def figures(
    only: Annotated[
        str, typer.Option("--only", metavar="N,N", help="These figures alone, such as 1,2,3; else all.")
    ] = "",
    backbone: Backbone = PAPER_BACKBONE,
    seeds: Annotated[
        int | None,
        typer.Option(
            "--seeds",
            min=1,
            max=100,
            help="Seeds a line, which is their mean; else one for figures 1 to 3, Table 1's five for 5 to 7.",
            show_default=False,
        ),
    ] = None,
    sets: Sets = None,
    unsets: Unsets = None,
    jobs: Jobs = None,
    device: Devices = "auto",
    collect: Collect = False,
    background: Background = False,
    retry: Retry = False,
    output: Output = None,
    as_json: Json = False,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
) -> None:
    """Figures 1 to 3 and 5 to 7 as SVG and PNG: learning rates, norms, layers, accuracy over epochs.

    Figures 5 to 7 share their runs with table1. Figures 1 to 3 train the trunk: they want a GPU. Of a network
    that is no ResNet its own groups are varied: the last, the last two, …, all. Nothing begins unless all
    runs of all figures can.
    """
    changes = changes_of(sets, unsets)
    home, data = runs_home(runs_dir), data_now(data_dir)
    plans = figure_plans(_chosen(only), changes, look_at_network, backbone=backbone, seeds=seeds)
    for note in dict.fromkeys(plan.note for plan in plans if plan.note):
        error_console.print(clean(note), soft_wrap=True)
    if background or not collect:
        how = How(home, data, device, data_dir, jobs=jobs, background=background, retry=retry)
        carry_out_all(list({id(plan.sweep): plan.sweep for plan in plans}.values()), how)
    changed = told_changes(changes)
    drawn = []
    for plan in plans:
        runs = plan.shown(all_runs(plan.sweep, home, data))
        shown = figure_chart(plan, runs, find_runs(home, runs, data))
        files: list[str] = []
        if shown is not None:
            drawing, stem = line_chart(shown), plan.stem(changed)
            pictures = {f"{stem}.svg": drawing.svg().encode(), f"{stem}.png": drawing.png()}
            files = _write(output or home / FOLDER, pictures)
        lines = 0 if shown is None else len(shown.curves)
        drawn.append({"figure": plan.figure.number, "title": plan.title, "lines": lines, "files": files})
        if not as_json:
            told = f"written to {clean(' and '.join(files))}"
            what = told if files else "no runs yet; leave out --collect to train"
            console.print(f"figure {plan.figure.number}, {plan.title}: {what}", soft_wrap=True)
    if as_json:
        print_json("paper-figures", {"figures": drawn})


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


def _print_table(table: Table) -> None:
    numbers = ("labelled", "paper", "ours", "difference", "seeds")
    shown = make_table(
        ("labelled", "model", "paper", "ours", "difference", "seeds"),
        title=f"Table 1, test accuracy in %: the paper's ResNet-152, our {clean(table.backbone)}; "
        f"{table.labels} labels",
        right=numbers,
    )
    cells = table.cells
    for place, one in enumerate(cells):
        ends_row = place + 1 < len(cells) and cells[place + 1].fraction != one.fraction
        shown.add_row(*(cell(word) for word in words(one)), end_section=ends_row)
    console.print(shown)
    for note in notes(table):
        loud = note.startswith("BELOW")
        console.print(f"{'warning: ' if loud else ''}{clean(note)}", style="bold yellow" if loud else "")


def _record(one: Cell) -> dict[str, Any]:
    return {**asdict(one), "difference": one.difference}


def _chosen(only: str) -> list[Figure]:
    numbers = [word.strip() for word in only.split(",") if word.strip()]
    known = [figure.number for figure in FIGURES]
    for number in numbers:
        if number not in known:
            raise UserError(f"no figure {clean(number, 20)}", where="--only", allowed=known)
    return [figure for figure in FIGURES if not numbers or figure.number in numbers]


def _write(folder: Path, files: dict[str, bytes]) -> list[str]:
    make_folder(folder, "--output")
    for name, content in files.items():
        write_file(folder / name, content)
    return [str(folder / name) for name in files]
