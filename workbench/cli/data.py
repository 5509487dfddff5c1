"""`petbench data get | check | sample`: download the Oxford set, look a data set over, draw the sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.text import Text

from workbench.cli.arguments import DataDir, Json
from workbench.cli.console import cell, console, error_console, make_table, print_json
from workbench.cli.display import Display
from workbench.dataset.check import DataReport, Problem, check_data
from workbench.dataset.oxford import is_oxford
from workbench.dataset.run_data import OXFORD_DIRECTORY, SAMPLE_DIRECTORY, open_catalogue, sample_home
from workbench.dataset.sample.sample_set import SampleKind, SampleOptions
from workbench.dataset.table_file import ENDINGS
from workbench.recipe import Data, parse_recipe
from workbench.recipe.data import DATASETS
from workbench.recipe.source import parse_override
from workbench.support.clean import as_word, clean
from workbench.support.errors import UserError
from workbench.support.paths import cache_home, data_home
from workbench.support.toml_text import toml_literal

app = typer.Typer(help="Get, check and make data sets.", no_args_is_help=True)

_SHOWN = 5
"""Problems of a kind that are shown unless --all is given."""
_SHOWN_CLASSES = 100
"""Likewise classes."""
_ENOUGH = 20
"""Of so many training images of a class quickstart labels one or more: a tenth, after validation's part."""
_PARTS = {"train": "training", "val": "validation", "test": "test"}


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
        str | None,
        typer.Option(
            metavar="NAME",
            help="What to check, as data.dataset of a recipe; told from the directory's layout if left out.",
        ),
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
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Another key of a recipe's [data]: --set data.class_from=folder:1 --set data.folds=5.",
        ),
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
    data = _data(dataset, root, sets or ()).model_copy(update=named)
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
            metavar="[DIR]",
            help="Where to; else petbench-sample/ (of another kind petbench-sample-KIND/) in --data-dir, "
            "else in the cache.",
        ),
    ] = None,
    kind: Annotated[
        SampleKind,
        typer.Option(
            help="What is drawn. defects: small marks on cloth, three uneven classes. skewed: leaves, a long "
            "tail of eight classes, even validation and test images. twins: beetles in four pairs of classes "
            "that differ by a detail."
        ),
    ] = SampleKind.PETS,
    seed: Annotated[int, typer.Option(min=0, help="Another seed draws other pictures.")] = 0,
    per_class: Annotated[
        int,
        typer.Option(
            min=2,
            max=5000,
            help="Training images a class, of uneven kinds of the commonest; half as many come on top for "
            "the test.",
        ),
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
    """Draw a sample set, the same for a seed: pets of ten invented classes, or what pets are not.

    Recipes with data.dataset = "sample" use the pets in the data home, else those in the cache, which they
    draw when they are missing. The other kinds are folders: data.dataset = "folder".
    """
    from workbench.dataset.sample import generate_sample, is_current_sample

    target = (directory or _sample_home(kind, data_dir)).expanduser().absolute()
    options = SampleOptions(seed, per_class, per_class // 2, size, kind)
    present = is_current_sample(target, options)
    if not present:
        with Display(error_console) as display:
            generate_sample(target, options, replace=force, reporter=display)
    images = {part: sum(counts.values()) for part, counts in options.images().items()}
    if as_json:
        _print_set(target, not present, images["train"], images["test"], [])
        return
    verb = "already at" if present else "drawn at"
    numbers = [f"{count} {_PARTS[part]}" for part, count in images.items()]
    told = f"{', '.join(numbers[:-1])} and {numbers[-1]} images of {len(options.images()['train'])} classes"
    console.print(f"{verb} {clean(target)}: {told}", soft_wrap=True)
    console.print(_first_run(options, target, is_home=directory is None and data_dir is None), soft_wrap=True)


def _first_run(options: SampleOptions, target: Path, *, is_home: bool) -> str:
    """A command that trains on the set, whatever its size: `recipe check` accepts it."""
    train = options.images()["train"]
    sets = ["data.dataset=folder"] if options.kind.is_folder else []
    sets += [] if is_home and not sets else [f"data.root={target}"]
    sets += ["data.validation=own"] if "val" in options.images() else []
    unsets = []
    if (smallest := min(train.values())) < _ENOUGH:
        unsets = ["pseudo_label.labelled_fraction", "pseudo_label.stratified"]
        sets += [f"pseudo_label.labels_per_class={max(1, min(4, smallest // 2))}"]
    words = [*(f"--unset {key}" for key in unsets), *(f"--set {as_word(key)}" for key in sets)]
    return " ".join(["petbench run quickstart", *words])


def _sample_home(kind: SampleKind, data_dir: Path | None) -> Path:
    if kind.is_folder:
        return (cache_home() if data_dir is None else data_dir) / f"{SAMPLE_DIRECTORY}-{kind.value}"
    return sample_home(data_home()) if data_dir is None else data_dir / SAMPLE_DIRECTORY


def _print_set(directory: Path, fresh: bool, train: int, test: int, left_out: Sequence[str]) -> None:
    counts = {"train": train, "test": test, "left_out": list(left_out)}
    print_json("data-set", {"directory": str(directory), "fresh": fresh, **counts})


def _data(dataset: str | None, root: Path | None, sets: Sequence[str]) -> Data:
    """What a recipe with these values has for [data]. Raises: UserError."""
    if dataset is None and root is not None:
        layouts = (root, root / OXFORD_DIRECTORY)
        own = "table" if root.suffix.lower() in ENDINGS else "folder"
        dataset = OXFORD_DIRECTORY if any(map(is_oxford, layouts)) else own
    name = dataset or OXFORD_DIRECTORY
    if name not in DATASETS:
        what = f"no data set is called {clean(name, 80)!r}"
        raise UserError(what, where="--dataset", allowed=list(DATASETS), hint=DATASETS.near(name))
    if sets:
        for one in sets:
            if parse_override(one)[0][0] != "data":
                hint = "petbench recipe check RECIPE looks at everything else"
                raise UserError("no key of [data]", where=f"--set {clean(one, 80)}", hint=hint)
        values = {"dataset": name} | ({} if root is None else {"root": str(root.absolute())})
        table = "".join(f"{key} = {toml_literal(value)}\n" for key, value in values.items())
        text = f'schema = 1\nname = "data-check"\n[data]\n{table}'
        return parse_recipe(text, "petbench data check", sets, folder=Path()).data
    try:
        return Data.model_validate({"dataset": name, "root": "" if root is None else str(root)})
    except ValidationError as error:
        raise UserError(error.errors()[0]["msg"].removeprefix("Value error, "), where="--dataset") from None


def _print_report(report: DataReport, *, everything: bool) -> None:
    train, test = report.images("train"), report.images("test")
    images = f"{train} training and {test} test images of {len(report.classes)} classes"
    place = f"{report.dataset} at {clean(report.root)}"
    console.print(f"{place}: {images}, {report.head_boxes} head boxes", soft_wrap=True)
    for line in report.understood:
        console.print(clean(line), soft_wrap=True)
    if report.unlabelled:
        console.print(f"{report.unlabelled:,} images of unknown class, which [pseudo_label] learns from")
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
