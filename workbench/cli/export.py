"""`petbench export`: a run's model for other programs, checked before it is kept."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from workbench.cli.arguments import DataDir, Json, RunId, RunsDir, Teacher
from workbench.cli.console import cell, check_folder, console, error_console, make_table, print_json, warn
from workbench.cli.display import Display
from workbench.dataset import Catalogue, open_catalogue
from workbench.recipe import Recipe, load_recipe
from workbench.runs.find import find_run
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.paths import data_home, runs_home
from workbench.support.units import human_bytes, in_percent

if TYPE_CHECKING:
    from workbench.export.bundle import Bundle


def export(
    run: RunId,
    to: Annotated[
        list[str],
        typer.Option(
            "--to",
            metavar="FORMAT",
            help="onnx, pt2, safetensors or timm; several by commas, or given again.",
        ),
    ] = ["onnx"],  # noqa: B006
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="The folder to make; else NAME-RUN-model (of a teacher NAME-RUN-teacher) here.",
            show_default=False,
        ),
    ] = None,
    with_preprocessing: Annotated[
        bool,
        typer.Option(
            "--with-preprocessing",
            help="uint8 pixels (H, W, 3) of any size in, probabilities out (onnx, pt2).",
        ),
    ] = False,
    int8: Annotated[
        bool,
        typer.Option("--int8", help="Also ONNX in eight-bit integers; its accuracy on validation is told."),
    ] = False,
    teacher: Teacher = False,
    as_json: Json = False,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
) -> None:
    """Write a run's model for other programs, with labels, a model card and a check.

    Each file is opened again and asked about 16 validation images; where one's probabilities differ from
    petbench's by more than 1e-4 nothing is kept.
    """
    directory = find_run(runs_home(runs_dir), run)
    recipe = load_recipe(directory.recipe)
    names = list(dict.fromkeys(name.strip() for given in to for name in given.split(",") if name.strip()))
    from workbench.compute import find_device
    from workbench.export.bundle import export_run, refuse_missing, refuse_unfit
    from workbench.train.predict import load_predictor

    refuse_missing(names, int8=int8, with_preprocessing=with_preprocessing)
    refuse_unfit(names, recipe)
    part = "teacher" if teacher else "model"
    folder = check_folder(out or Path(f"{directory.slug}-{directory.handle}-{part}"), new=True)
    with Display(error_console) as display:
        catalogue = _catalogue(recipe, data_dir, display)
        bundle = export_run(
            directory,
            recipe,
            load_predictor(directory, recipe, find_device("cpu"), teacher=teacher),
            names,
            folder,
            catalogue,
            display,
            teacher=teacher,
            with_preprocessing=with_preprocessing,
            int8=int8,
            command_line=["petbench", *sys.argv[1:]],
        )
    _print(bundle, as_json, asked_for_teacher=teacher)


def _catalogue(recipe: Recipe, data_dir: Path | None, display: Display) -> Catalogue | None:
    try:
        return open_catalogue(recipe.data, data_home=data_home(data_dir), reporter=display)
    except UserError as error:
        warn(f"the run's data are not at hand, so made-up pictures are the check: {error}")
        return None


def _print(bundle: Bundle, as_json: bool, *, asked_for_teacher: bool) -> None:
    if as_json:
        from dataclasses import asdict

        print_json("export", {**asdict(bundle), "folder": str(bundle.folder)})
        return
    columns = ["format", "files", "size", "largest difference", "same class"]
    table = make_table(columns, right=columns[2:])
    for one in bundle.checked:
        table.add_row(
            cell(one.format),
            cell(", ".join(one.files)),
            cell(human_bytes(one.bytes)),
            cell(f"{one.difference:.1e}"),
            cell(f"{one.same_class} of {bundle.images}"),
        )
    console.print(table)
    if bundle.int8 is not None:
        cut = bundle.int8
        console.print(
            f"eight bits: {human_bytes(cut.bytes)}, {in_percent(cut.accuracy)} right, "
            f"{in_percent(cut.accuracy_before)} before, of {cut.images:,} {bundle.images_are}",
            soft_wrap=True,
        )
    if bundle.model == "teacher":
        what = (
            "its teacher" if asked_for_teacher else "the run's final model, the teacher: no student beat it"
        )
        console.print(what, soft_wrap=True)
    said = f"in {clean(bundle.folder)}, with labels.txt, model.json, model-card.md and check.json"
    console.print(Text(said), soft_wrap=True)
