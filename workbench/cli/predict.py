"""`petbench predict`: a trained run's word on the user's own pictures."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer
from rich.text import Text

from workbench.cli.arguments import Device, Json, RunId, RunsDir, Teacher
from workbench.cli.console import (
    byte_output,
    check_file,
    console,
    error_console,
    make_folder,
    print_json,
    warn,
)
from workbench.dataset.class_folders import ClassFolders, folder_names
from workbench.dataset.picture_files import LIST, FilledFolders, pictures_named
from workbench.dataset.probe import image_endings
from workbench.recipe import load_recipe
from workbench.runs.find import find_run
from workbench.runs.layout import RunDirectory
from workbench.runs.results import Evaluated, Results, trained_model
from workbench.support.clean import as_word, clean
from workbench.support.errors import UserError
from workbench.support.paths import runs_home

if TYPE_CHECKING:
    from workbench.cli.prediction_output import Output
    from workbench.runs.abstaining import Judgement
    from workbench.runs.prediction_file import Form, Origin, PredictionFile

SORTED = "predictions.csv"
"""In a folder that pictures are sorted into: which went where, so that the command can go on."""
_LOOK_SECONDS = 1.0
"""Between two looks at a folder that is watched; ten times as long as a look takes, where that is more."""


def predict(
    run: RunId,
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            help="Pictures, folders of pictures, patterns in quotes, or - for a list on standard input.",
            show_default=False,
        ),
    ],
    top: Annotated[
        int,
        typer.Option(
            "--top", metavar="K", min=1, help="So many classes on the screen, in --json and --jsonl."
        ),
    ] = 5,
    sure: Annotated[
        float | None,
        typer.Option(
            "--sure",
            metavar="P",
            help="Leave pictures unsure below the confidence from which on validation promises so many right "
            "answers, such as 0.95, and name the classes that they may be.",
            show_default=False,
        ),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Write a row a picture, or go on with it; - is a pipe."),
    ] = None,
    jsonl: Annotated[
        Path | None,
        typer.Option("--jsonl", metavar="FILE", help="The same as a JSON object a line, exact."),
    ] = None,
    sort_into: Annotated[
        Path | None,
        typer.Option(
            "--sort-into",
            metavar="DIR",
            help="Make a folder a class there, and unsure/, with links to the pictures.",
        ),
    ] = None,
    copy: Annotated[bool, typer.Option("--copy", help="Copy pictures into these folders.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on with pictures that come into the folders, until Ctrl-C.")
    ] = False,
    teacher: Teacher = False,
    device: Device = "auto",
    as_json: Json = False,
    runs_dir: RunsDir = None,
) -> None:
    """Say what a run's model sees in your own pictures: the most probable classes of each.

    Confidences are at the temperature that makes them right on validation. Pictures that cannot be read are
    named, in a row of their own where there are rows, and passed over; exits with 2 when none can.
    """
    directory = find_run(runs_home(runs_dir), run)
    _refuse_unfit(sure, sort_into, csv, jsonl, copy=copy, watch=watch, as_json=as_json)
    results, model = trained_model(directory, teacher=teacher)
    judgement = _judgement(directory, results, model, sure)
    root = None if sort_into is None else _sorting_root(sort_into, images)
    if root is not None and csv is None and jsonl is None:
        csv = root / SORTED
    filled = FilledFolders.of(images, root) if watch else None
    named = pictures_named(images, _standard_input(images), but=root, empty=_say_empty)
    paths = iter(()) if filled else _some(named)
    with ExitStack() as stack:
        origin = _origin(directory, results, model, judgement, top, root, copy=copy)
        wanted: list[tuple[Path | None, Form]] = [(csv, "csv"), (jsonl, "jsonl")]
        files = [
            stack.enter_context(closing(_file(path, form, origin)))
            for path, form in wanted
            if path is not None
        ]
        from workbench.cli.prediction_output import Output

        output = Output(
            results.classes,
            judgement,
            top,
            files,
            None if root is None else ClassFolders(root, _folder_names(results, judgement), copy),
            [] if as_json and not files else None,
            shows=not files and not as_json,
        )
        for words in judgement.words(results.judged_by):
            error_console.print(Text(clean(words), style="dim"), soft_wrap=True)
        _look(directory, output, paths, filled, device, teacher=teacher)
    _conclude(output, judgement, as_json, [path for path in (csv, jsonl) if path is not None], root)


def _refuse_unfit(
    sure: float | None,
    sort_into: Path | None,
    csv: Path | None,
    jsonl: Path | None,
    *,
    copy: bool,
    watch: bool,
    as_json: bool,
) -> None:
    if sure is not None and not 0 < sure < 1:
        hint = f"--sure {sure / 100:g}" if 1 < sure < 100 else ""
        raise UserError(
            "is no share of right answers that can be promised",
            where=f"--sure {sure:g}",
            allowed="more than 0, less than 1",
            hint=f"did you mean {hint}?" if hint else "",
        )
    if copy and sort_into is None:
        raise UserError("copies go into the folders of --sort-into", where="--copy")
    if as_json and watch:
        raise UserError("--json prints once, --watch goes on", where="--json", hint="--jsonl - prints lines")
    if sum(str(path) == LIST for path in (csv, jsonl)) + as_json > 1:
        raise UserError("one of --csv -, --jsonl - and --json goes to standard output", where="--csv")
    for path, option in ((csv, "--csv"), (jsonl, "--jsonl")):
        if path is not None and str(path) != LIST:
            check_file(path, option)


def _sorting_root(folder: Path, images: Sequence[str]) -> Path:
    """The folder to sort into, made where needed. Raises: UserError: it is itself what is to be sorted."""
    if any(Path(name).is_dir() and folder.exists() and folder.samefile(name) for name in images):
        raise UserError(
            "is the very folder whose pictures are to be sorted",
            where=f"--sort-into {clean(folder)}",
            hint="name another, such as one within it, which is passed over",
        )
    return make_folder(folder, "--sort-into")


def _standard_input(images: Sequence[str]) -> BinaryIO | None:
    return sys.stdin.buffer if LIST in images else None


def _some(paths: Iterator[Path]) -> Iterator[Path]:
    """The paths, of which there is one. Raises: UserError, where there is none."""
    first = next(paths, None)
    if first is None:
        raise UserError(
            "no pictures there", allowed=f"files {', '.join(sorted(image_endings()))} in a directory"
        )
    return itertools.chain([first], paths)


def _say_empty(name: str) -> None:
    warn(f"{name}: no pictures there")


def _judgement(directory: RunDirectory, results: Results, model: Evaluated, sure: float | None) -> Judgement:
    """Raises: UserError: validation cannot promise that much."""
    from workbench.runs.abstaining import UNSURE, Judgement
    from workbench.runs.predictions import finished_predictions

    noted = results.calibration if model.is_final else None
    if sure is None and noted is not None:
        return Judgement(noted.temperature)
    if sure is not None and UNSURE in {name.casefold() for name in results.classes}:
        raise UserError(
            f"a class of the run is itself called {UNSURE}",
            where="--sure",
            hint="leave --sure out and read the column confidence",
        )
    try:
        said = finished_predictions(directory, model.predictions("val"))
    except UserError as error:
        if sure is not None:
            raise
        warn(f"confidences are as the model gives them, at no temperature: {error.what}")
        return Judgement(1.0)
    temperature = None if noted is None else noted.temperature
    return Judgement.from_validation(said, temperature=temperature, sure=sure, judged_by=results.judged_by)


def _origin(
    directory: RunDirectory,
    results: Results,
    model: Evaluated,
    judgement: Judgement,
    top: int,
    root: Path | None,
    *,
    copy: bool,
) -> Origin:
    from workbench.runs.prediction_file import Origin

    return Origin(
        run=directory.id,
        model=model.name,
        weights_sha256=results.weights_sha256,
        temperature=judgement.temperature,
        sure=judgement.sure,
        threshold=None if judgement.threshold is None else judgement.threshold.confidence,
        sets_promise=None if judgement.sets is None else judgement.sets.promised,
        top=top,
        sorted_into=None if root is None else str(root),
        copies=copy,
    )


def _file(path: Path, form: Form, origin: Origin) -> PredictionFile:
    from workbench.runs.prediction_file import on_stream, open_prediction_file

    if str(path) == LIST:
        return on_stream(form, byte_output())
    return open_prediction_file(path.expanduser(), form, origin, f"--{form}")


def _folder_names(results: Results, judgement: Judgement) -> dict[str, str]:
    from workbench.runs.abstaining import UNSURE

    return folder_names([*results.classes, UNSURE] if judgement.sure is not None else results.classes)


def _look(
    directory: RunDirectory,
    output: Output,
    paths: Iterator[Path],
    filled: FilledFolders | None,
    device: str,
    *,
    teacher: bool,
) -> None:
    """Have the model see the pictures, or each that comes until somebody interrupts."""
    lacking = output.lacking(paths)
    first = next(lacking, None)
    if first is None and filled is None:
        return  # all of them have a row
    from workbench.cli.devices import foreground_device
    from workbench.train.predict import open_predictor

    recipe = load_recipe(directory.recipe)
    predictor = open_predictor(directory, recipe, foreground_device(device), teacher=teacher)
    if first is not None:
        output.take(predictor.predict(itertools.chain([first], lacking)))
    if filled is None:
        return
    error_console.print("waiting for pictures; Ctrl-C ends it", style="dim")
    try:
        while True:
            began = time.monotonic()
            come = filled.complete()
            took = time.monotonic() - began
            if come:
                output.take(predictor.predict(output.lacking(come)))
            time.sleep(max(_LOOK_SECONDS, 10 * took))
    except KeyboardInterrupt:
        error_console.print(output.counts.words(promised=output.judgement.sure is not None))
        raise


def _conclude(
    output: Output, judgement: Judgement, as_json: bool, paths: Sequence[Path], root: Path | None
) -> None:
    from workbench.cli.prediction_output import judgement_record
    from workbench.runs.abstaining import UNSURE

    counts = output.counts
    if as_json:
        print_json(
            "predict",
            {
                "judgement": judgement_record(judgement),
                "counts": {
                    "sure": counts.sure,
                    "unsure": counts.unsure,
                    "unreadable": counts.unreadable,
                    "before": counts.before,
                },
                "images": output.records or [],
            },
        )
    elif paths:
        places = [clean(path) for path in paths if str(path) != LIST]
        words = counts.words(promised=judgement.sure is not None)
        own_console = error_console if LIST in map(str, paths) else console
        own_console.print(words + (f"; written to {' and '.join(places)}" if places else ""), soft_wrap=True)
        if root is not None:
            own_console.print(f"sorted into {clean(root)}", soft_wrap=True)
            if counts.unsure:
                command = f"petbench label {as_word(root / UNSURE)}"
                own_console.print(f"{command}  the unsure ones, by hand", soft_wrap=True)
    if not counts.read and not counts.before and counts.unreadable:
        total = counts.unreadable
        all_of_them = "the picture" if total == 1 else f"any of the {total} pictures"
        raise UserError(f"cannot read {all_of_them}")
