"""`petbench ensemble`: several finished runs as one model, chosen by validation."""

from __future__ import annotations

import sys
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError

from workbench.cli.arguments import Json, RunIds, RunsDir
from workbench.cli.console import cell, console, make_table, print_json
from workbench.cli.runs_listing import accuracy_cell
from workbench.recipe import Recipe
from workbench.recipe.problems import recipe_error
from workbench.recipe.source import Source
from workbench.runs.find import find_run
from workbench.runs.layout import RunDirectory
from workbench.runs.values import number_words
from workbench.support.clean import as_word, clean
from workbench.support.paths import runs_home
from workbench.support.units import human_bytes, percent

if TYPE_CHECKING:
    from workbench.train.ensemble import Choice

_MOST_SHOWN = 15


class By(StrEnum):
    """Which of the named runs are averaged."""

    ALL = "all"
    VAL = "val"


def ensemble(
    runs: RunIds,
    by: Annotated[
        By,
        typer.Option(
            "--by",
            help="all: average every run; val: those that validate best together (accuracy, then loss): of "
            "up to 4 runs every combination is tried, of more they are added one by one while that helps.",
        ),
    ] = By.ALL,
    name: Annotated[
        str, typer.Option("--name", help="What the ensemble is called, as a recipe's name.")
    ] = "ensemble",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what validation prefers, and write nothing.")
    ] = False,
    as_json: Json = False,
    runs_dir: RunsDir = None,
) -> None:
    """Average what finished runs say (their log-probabilities), and keep that as a run of its own.

    The runs must have been trained on the same images with the same validation and test part, however they
    look at them. Nothing is trained. Everything is decided on validation images, also whether each run is
    first calibrated by its temperature. The ensemble keeps its members' weights, so that the runs may be
    removed; petbench predict, inspect, runs show and compare take it as any run.
    """
    _check_name(name)
    home = runs_home(runs_dir)
    named = [find_run(home, run) for run in runs]
    from workbench.runs.export import page_record, read_page
    from workbench.train.ensemble import candidates, choose, kept_bytes, make_ensemble, words_of

    choice = choose(candidates(named), by.value)
    is_one = len(choice.members) == 1
    made = None if dry_run or is_one else make_ensemble(home, name, choice, sys.argv)
    if as_json:
        members = [
            {
                "id": member.run.id,
                "weights_sha256": member.weights_sha256,
                "temperature": temperature,
                "val_accuracy": member.results.val.accuracy,
                "val_loss": member.results.val.loss,
            }
            for member, temperature in zip(choice.members, choice.temperatures, strict=True)
        ]
        print_json(
            "ensemble",
            {
                "run": None if made is None else page_record(read_page(made)),
                "by": by.value,
                "calibrated": choice.calibrated,
                "members": members,
                "tried": [asdict(one) for one in choice.tried],
            },
        )
        return
    console.print(_tried_table(choice, named))
    if is_one:
        alone = choice.members[0].run
        console.print(
            f"{clean(alone.id)} alone validates best: nothing is averaged (--by all would do so)",
            soft_wrap=True,
        )
        return
    for line in words_of(choice):
        console.print(line, soft_wrap=True)
    if made is None:
        return
    _print_results(made, choice)
    whole, shared = kept_bytes(made)
    room = ", no room of their own while the runs are there" if shared == whole else ""
    console.print(f"weights kept with it: {human_bytes(whole)}{room}", soft_wrap=True)
    console.print(f"\nrun {clean(made.id)}", soft_wrap=True)
    word = as_word(made.handle)
    console.print(f"  petbench runs show {word}, petbench inspect {word}, petbench predict {word} PICTURE")


def _check_name(name: str) -> None:
    """Raises: UserError, for what is no name of a recipe, which it will be."""
    try:
        Recipe(name=name)
    except ValidationError as error:
        raise recipe_error(error, Source("--name", {"name": name})) from error


def _tried_table(choice: Choice, named: list[RunDirectory]) -> object:
    columns = ("runs", "logits", "val %", "val loss")
    title = "On validation" if len(choice.tried) <= _MOST_SHOWN else f"On validation, the {_MOST_SHOWN} best"
    table = make_table(columns, title=title, right=columns[2:])
    handles = {run.id: run.handle for run in named}
    rows = sorted(choice.tried, key=lambda one: (-one.val_accuracy, one.val_loss, len(one.members)))
    for one in rows[:_MOST_SHOWN]:
        table.add_row(
            cell(" + ".join(handles[id_] for id_ in one.members), "bold" if one == choice.chosen else ""),
            "calibrated" if one.calibrated else "as they are",
            percent(one.val_accuracy),
            number_words("val.loss", one.val_loss),
        )
    return table


def _print_results(made: RunDirectory, choice: Choice) -> None:
    from workbench.runs.results import read_results

    results = read_results(made.results)
    columns = ("", "val %", "test %", "macro F1 %", "ECE", "temperature")
    table = make_table(columns, right=columns[1:])
    for member, temperature in zip(choice.members, choice.temperatures, strict=True):
        on = member.results
        table.add_row(
            cell(f"{member.run.handle} {clean(member.recipe.name)}"),
            accuracy_cell(on.val),
            accuracy_cell(on.test),
            percent(on.test.macro_f1),
            number_words("calibration_error", on.test.calibration_error),
            f"{temperature:.3f}",
        )
    table.add_row(
        cell("their mean", "bold"),
        accuracy_cell(results.val),
        accuracy_cell(results.test),
        percent(results.test.macro_f1),
        number_words("calibration_error", results.test.calibration_error),
        "",
    )
    console.print(table)
    for warning in results.warnings:
        console.print(f"warning: {clean(warning)}", style="yellow", soft_wrap=True)
