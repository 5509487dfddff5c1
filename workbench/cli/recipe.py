"""`petbench recipe`: check, show, diff and new."""

from __future__ import annotations

from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from workbench.cli.arguments import Json
from workbench.cli.console import cell, console, error_console, make_table, print_json
from workbench.dataset.extra import list_extra
from workbench.recipe import (
    Explained,
    Problem,
    Recipe,
    RecipeError,
    diff_recipes,
    dump_recipe,
    explain,
    load_recipe,
    new_recipe_text,
    recipe_fingerprint,
    summary,
)
from workbench.recipe.dump import resolved
from workbench.recipe.literals import toml_literal
from workbench.recipe.load import SweepGiven
from workbench.recipe.reference import reference
from workbench.recipe.sweep import load_sweep
from workbench.runs.find import find_run
from workbench.support.atomic import atomic_write
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.fingerprint import fingerprint
from workbench.support.paths import runs_home

_EXTRA = ("labelled", "unlabelled")

app = typer.Typer(help="Check, show, compare and start recipes.", no_args_is_help=True, rich_markup_mode=None)

RecipeFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="A recipe's TOML file, a run directory, or a run's id.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a knob, such as optimizer.learning_rate=1e-4."),
]


@app.command()
def check(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE…", help="Recipe files, run directories or run ids.")
    ],
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Say whether recipes are valid, and if not, all that is wrong with each; exit code 2 if any is not."""
    reports = [_report(file, overrides or []) for file in files]
    if as_json:
        print_json(reports)
    else:
        for report in reports:
            _print_report(report)
    if not all(report["valid"] for report in reports):
        raise typer.Exit(2)


@app.command()
def show(
    file: RecipeFile,
    overrides: Overrides = None,
    as_toml: Annotated[
        bool, typer.Option("--toml", help="Print the resolved recipe alone, as TOML that can be run.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Print a recipe in full: every knob with its value, what it does, and where it has no effect."""
    recipe = checked_recipe(file, overrides or [])
    if as_toml:
        print(dump_recipe(recipe), end="")
    elif as_json:
        knobs = [asdict(knob) for knob in explain(recipe)]
        print_json({"fingerprint": recipe_fingerprint(recipe), "recipe": resolved(recipe), "knobs": knobs})
    else:
        _print_explained(recipe)


@app.command()
def diff(
    left: Annotated[Path, typer.Argument(metavar="A", help="A recipe file, run directory or run id.")],
    right: Annotated[Path, typer.Argument(metavar="B", help="The one to compare it with.")],
    as_json: Json = False,
) -> None:
    """Print the knobs that two recipes set differently, defaults resolved on both sides."""
    recipes = checked_recipe(left, []), checked_recipe(right, [])
    differences = diff_recipes(*recipes)
    if as_json:
        print_json([asdict(difference) for difference in differences])
        return
    if not differences:
        console.print("The same recipe: no knob differs.")
        return
    table = make_table(["knob", clean(left), clean(right)])
    for difference in differences:
        table.add_row(cell(difference.key), _value(difference.left), _value(difference.right))
    console.print(table)
    if recipe_fingerprint(recipes[0]) == recipe_fingerprint(recipes[1]):
        console.print("Both give the same run: only names differ, or how often a checkpoint is written.")


@app.command()
def new(
    name: Annotated[
        str, typer.Argument(metavar="NAME|PATH", help="A name for recipes/NAME.toml, or a path to write to.")
    ],
    backbone: Annotated[
        str, typer.Option(help="The network; petbench backbones lists them.")
    ] = "efficientnet_lite0",
    dataset: Annotated[str, typer.Option(help="oxford-iiit-pet, sample or folder.")] = "oxford-iiit-pet",
    root: Annotated[str, typer.Option(help="Where the images lie; a folder data set needs it.")] = "",
    strategy: Annotated[
        str | None,
        typer.Option(help="Train with pseudo-labels: one_shot, iterative or class_balanced."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it is there.")] = False,
) -> None:
    """Write a new recipe with every knob explained, ready to edit; never overwrites unless told to."""
    path = _new_path(name)
    text = new_recipe_text(path.stem, backbone, dataset, strategy, root=root)
    if not force and (path.exists() or path.is_symlink()):
        raise UserError("the file is already there", where=clean(path), hint="--force overwrites it")
    try:
        atomic_write(path, text)
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror}", where=clean(path)) from error
    console.print(Text(f"wrote {clean(path)}"), soft_wrap=True)
    console.print(Text(f"next: edit it, then petbench recipe check {clean(path)}"), soft_wrap=True)


@app.command(name="reference")
def print_reference() -> None:
    """Print every key of a recipe with its default and what it does, as Markdown (docs/recipe.md)."""
    print(reference())


def checked_recipe(given: Path, overrides: list[str]) -> Recipe:
    """The valid recipe that a user named, as far as can be known without loading torch.

    Raises:
        UserError: no such recipe, or what is wrong with it.
    """
    return load_recipe(recipe_file(given), overrides)


def recipe_file(given: Path) -> Path:
    """The TOML file meant by a recipe file, a run directory, or the id of a run or a unique part of one."""
    try:
        if given.is_file():
            return given
        if (given / "recipe.toml").is_file():
            return given / "recipe.toml"
        if given.suffix or len(given.parts) != 1:
            return given
        return find_run(runs_home(), str(given)).recipe
    except (OSError, ValueError, UserError):
        return given  # reading it tells what is wrong


def _report(file: Path, overrides: list[str]) -> dict[str, Any]:
    report: dict[str, Any] = {"file": clean(file), "valid": False}
    try:
        try:
            recipe = checked_recipe(file, overrides)
        except SweepGiven:
            return report | _checked_sweep(file, overrides)
        _check_network(recipe)
        extra = list_extra(recipe.data)
    except UserError as error:
        problems = error.problems if isinstance(error, RecipeError) else (_as_problem(error),)
        return report | {"message": str(error), "problems": [asdict(problem) for problem in problems]}
    return report | {
        "valid": True,
        "summary": clean(summary(recipe)),
        "fingerprint": recipe_fingerprint(recipe),
        "extra_labelled": extra.count("extra_labelled"),
        "extra_unlabelled": extra.count("extra_unlabelled"),
    }


def _checked_sweep(file: Path, overrides: list[str]) -> dict[str, Any]:
    """The report of a recipe with a [sweep]: every run of it is valid. Raises: UserError, if one is not."""
    sweep = load_sweep(recipe_file(file), overrides)
    networks = {
        repr((r.model, r.finetune, r.optimizer, r.data.image_size, sorted(r.view_sides))): run
        for run in sweep.runs
        for r in [run.recipe]
    }
    for run in networks.values():
        _check_network(run.recipe)
    first = sweep.runs[0].recipe
    return {
        "valid": True,
        "summary": f"a sweep of {len(sweep.runs)} runs, {len(sweep.points)} points: "
        f"{clean(summary(first))} …",
        "fingerprint": fingerprint([recipe_fingerprint(run.recipe) for run in sweep.runs]),
    }


def _check_network(recipe: Recipe) -> None:
    """Refuse layer groups and the like that the backbone lacks; this alone needs torch."""
    from workbench.model import check_network

    check_network(recipe)


def _as_problem(error: UserError) -> Problem:
    return Problem(
        key="", where=error.where, line=None, what=error.what, allowed=error.allowed, hint=error.hint
    )


def _print_report(report: dict[str, Any]) -> None:
    if report["valid"]:
        counts = [f"{report[f'extra_{kind}']} {kind}" for kind in _EXTRA if report.get(f"extra_{kind}")]
        extra = f" (extra: {', '.join(counts)})" if counts else ""
        line = Text.assemble(("valid", "green"), f"  {report['file']}: {report['summary']}{extra}")
        console.print(line, soft_wrap=True)
    else:
        error_console.print(Text(report["message"], style="red"), soft_wrap=True)


def _print_explained(recipe: Recipe) -> None:
    console.print(Text(clean(summary(recipe))))
    knobs = explain(recipe)
    for name, group in groupby(knobs, key=lambda knob: knob.key.rpartition(".")[0]):
        table = make_table(["knob", "value", "what it does"], title=f"[{name}]" if name else "")
        for knob in group:
            if not knob.no_effect:
                table.add_row(cell(knob.key.rpartition(".")[2]), _explained_value(knob), _story(knob))
        console.print(table)
    ignored = [knob for knob in knobs if knob.no_effect]
    if ignored:
        console.print("Without effect in this recipe:")
        for knob in ignored:
            console.print(Text(f"  {knob.key}: {knob.no_effect}"), soft_wrap=True)


def _explained_value(knob: Explained) -> Text:
    if knob.value is None:
        return cell(f"unset: {knob.unset}" if knob.unset else "unset", "dim")
    return cell(toml_literal(knob.value), "" if knob.is_default else "bold")


def _story(knob: Explained) -> Text:
    parts = [knob.help + (f" ({knob.unit})" if knob.unit else "")]
    if not knob.is_default and knob.default is not None:
        parts.append(f"default {toml_literal(knob.default)}")
    if knob.source:
        parts.append(knob.source)
    return cell("; ".join(parts))


def _value(value: object) -> Text:
    return cell("–" if value is None else toml_literal(value))


def _new_path(name: str) -> Path:
    given = Path(name)
    if given.suffix == ".toml" or len(given.parts) > 1:
        return given
    home = Path("recipes")
    return (home if home.is_dir() else Path()) / f"{name}.toml"
