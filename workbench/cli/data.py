"""`petbench data get | check | sample`: download the Oxford set, look a data set over, draw the sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.text import Text

from workbench.cli.arguments import DataDir, Json
from workbench.cli.console import cell, console, error_console, make_table, print_json
from workbench.cli.display import Display
from workbench.dataset.check import DataReport, check_data
from workbench.dataset.check_layout import Problem
from workbench.dataset.open import OXFORD_DIRECTORY, SAMPLE_DIRECTORY, open_catalogue, sample_home
from workbench.dataset.oxford import is_oxford
from workbench.dataset.sample.breeds import BREEDS
from workbench.recipe import Data
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.paths import data_home

app = typer.Typer(help="Get, check and make data sets.", no_args_is_help=True)

_SHOWN = 5
"""Problems of a kind that are shown unless --all is given."""
_SHOWN_CLASSES = 100
"""Likewise classes."""


class DatasetName(StrEnum):
    """The recipe's `data.dataset`."""

    oxford = "oxford-iiit-pet"
    sample = "sample"
    folder = "folder"


@app.command()
def get(as_json: Json = False, data_dir: DataDir = None) -> None:
    """Download the Oxford-IIIT Pet set (about 800 MB) into the data home, check it, and unpack it.

    Does nothing when it is there already.
    """
    from workbench.cli.download import download_oxford

    home = data_home(data_dir)
    fresh = download_oxford(home)
    with Display(error_console) as display:
        catalogue = open_catalogue(Data(), data_home=home, reporter=display)
    train, test = (len(catalogue.positions(part)) for part in ("train", "test"))
    if as_json:
        _print_set(home / OXFORD_DIRECTORY, fresh, train, test, [image.id for image in catalogue.left_out])
        return
    verb = "downloaded to" if fresh else "already at"
    console.print(
        f"{verb} {clean(home / OXFORD_DIRECTORY)}: {train} training and {test} test images", soft_wrap=True
    )
    for image in catalogue.left_out:
        console.print(f"left out {clean(image.id)}: {clean(image.reason)}", soft_wrap=True)
    console.print("next: petbench data check")


@app.command()
def check(
    dataset: Annotated[
        DatasetName | None, typer.Option(help="What to check; told from the directory's layout if left out.")
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where it lies, as data.root of a recipe; else the data home."),
    ] = None,
    extra_labelled: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Check more images too: data.extra_labelled of a recipe."),
    ] = None,
    extra_unlabelled: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Likewise data.extra_unlabelled."),
    ] = None,
    data_dir: DataDir = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Show every problem, not the first of each kind.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Read every file of a data set and report what is wrong: lists, images, head boxes, copies, stray files.

    Extra images are counted apart, and compared with the data set's test images. Exits with 2 when training
    on it would go wrong.
    """
    extra = {"extra_labelled": extra_labelled, "extra_unlabelled": extra_unlabelled}
    named = {part: str(folder.absolute()) for part, folder in extra.items() if folder is not None}
    data = _data(dataset, root).model_copy(update=named)
    with Display(error_console) as display:
        report = check_data(data, data_home=data_home(data_dir), reporter=display)
    if as_json:
        print_json("data-check", {**asdict(report), "errors": len(report.errors)})
    else:
        _print_report(report, everything=everything)
    if report.errors:
        raise typer.Exit(2)


@app.command()
def sample(
    directory: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DIR]", help="Where to; else petbench-sample/ in --data-dir, else in the cache."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed draws other pictures.")] = 0,
    per_class: Annotated[
        int,
        typer.Option(min=2, max=5000, help="Training images a class; half as many come on top for the test."),
    ] = 60,
    size: Annotated[
        int, typer.Option(min=48, max=1024, help="Side of the square pictures, in pixels.")
    ] = 192,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a sample set made with other options.")
    ] = False,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Draw the sample set: cats and dogs of ten invented classes in the Oxford layout, the same for a seed.

    Recipes with data.dataset = "sample" use the one in the data home, else the one in the cache, which they
    draw when it is missing.
    """
    from workbench.dataset.sample import SampleOptions, generate_sample, is_current_sample

    target = (directory or _sample_home(data_dir)).expanduser().absolute()
    options = SampleOptions(seed, per_class, per_class // 2, size)
    present = is_current_sample(target, options)
    if not present:
        with Display(error_console) as display:
            generate_sample(target, options, replace=force, reporter=display)
    if as_json:
        _print_set(target, not present, per_class * len(BREEDS), per_class // 2 * len(BREEDS), [])
        return
    verb = "already at" if present else "drawn at"
    counts = f"{per_class} training and {per_class // 2} test images of each of {len(BREEDS)} classes"
    console.print(f"{verb} {clean(target)}: {counts}", soft_wrap=True)


def _sample_home(data_dir: Path | None) -> Path:
    return sample_home(data_home()) if data_dir is None else data_dir / SAMPLE_DIRECTORY


def _print_set(directory: Path, fresh: bool, train: int, test: int, left_out: Sequence[str]) -> None:
    counts = {"train": train, "test": test, "left_out": list(left_out)}
    print_json("data-set", {"directory": str(directory), "fresh": fresh, **counts})


def _data(dataset: DatasetName | None, root: Path | None) -> Data:
    if dataset is None and root is not None:
        layouts = (root, root / OXFORD_DIRECTORY)
        dataset = DatasetName.oxford if any(map(is_oxford, layouts)) else DatasetName.folder
    name = (dataset or DatasetName.oxford).value
    try:
        return Data.model_validate({"dataset": name, "root": "" if root is None else str(root)})
    except ValidationError as error:
        raise UserError(error.errors()[0]["msg"].removeprefix("Value error, "), where="--dataset") from None


def _print_report(report: DataReport, *, everything: bool) -> None:
    train, test = report.images("train"), report.images("test")
    images = f"{train} training and {test} test images of {len(report.classes)} classes"
    place = f"{report.dataset} at {clean(report.root)}"
    console.print(f"{place}: {images}, {report.head_boxes} head boxes", soft_wrap=True)
    extra = sum(row.extra for row in report.classes)
    if extra or report.extra_unlabelled:
        console.print(f"extra: {extra} labelled and {report.extra_unlabelled} unlabelled images")
    columns = [
        part
        for part in ("train", "validation", "test", "extra")
        if part in ("train", "test") or any(getattr(row, part) for row in report.classes)
    ]
    table = make_table(("class", *columns), right=columns)
    shown_classes = report.classes if everything else report.classes[:_SHOWN_CLASSES]
    for row in shown_classes:
        table.add_row(cell(row.name), *(cell(getattr(row, part)) for part in columns))
    console.print(table)
    if len(shown_classes) < len(report.classes):
        console.print(f"and {len(report.classes) - len(shown_classes)} more classes: --all shows them")
    kinds = Counter((problem.level, problem.kind) for problem in report.problems)
    for (level, kind), count in kinds.items():
        style = "bold red" if level == "error" else "yellow"
        console.print(Text(f"{level}: {kind} ({count})", style=style))
        of_kind = [problem for problem in report.problems if (problem.level, problem.kind) == (level, kind)]
        shown = of_kind if everything else of_kind[:_SHOWN]
        for problem in shown:
            console.print(_line(problem), soft_wrap=True)
        if len(of_kind) > len(shown):
            console.print(f"  and {len(of_kind) - len(shown)} more: --all or --json shows them")
    warnings = len(report.problems) - len(report.errors)
    verdict = "training on it would go wrong" if report.errors else "fit to train on"
    console.print(f"{len(report.errors)} errors, {warnings} warnings: {verdict}")


def _line(problem: Problem) -> Text:
    return Text(f"  {clean(problem.place)}: {clean(problem.what)}")
