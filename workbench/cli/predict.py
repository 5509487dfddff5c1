"""`petbench predict`: a trained run's word on the user's own pictures."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from workbench.cli.arguments import Device, Json, RunId, RunsDir, Teacher
from workbench.cli.console import console, print_json, warn
from workbench.dataset.image_formats import image_endings
from workbench.recipe import load_recipe
from workbench.runs.find import find_run
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.paths import runs_home

if TYPE_CHECKING:
    from workbench.train.predict import Predicted

_BAR_WIDTH = 24
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def predict(
    run: RunId,
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE...", help="Pictures, or directories of pictures.", show_default=False),
    ],
    top: Annotated[int, typer.Option("--top", metavar="K", min=1, help="Show so many classes.")] = 5,
    teacher: Teacher = False,
    device: Device = "auto",
    as_json: Json = False,
    runs_dir: RunsDir = None,
) -> None:
    """Say what a run's model sees in your own pictures: the most probable classes of each.

    Pictures that cannot be read are named on standard error and passed over; exits with 2 when none can.
    """
    directory = find_run(runs_home(runs_dir), run)
    paths = list(_pictures(images))
    if not paths:
        raise UserError(
            "no pictures there", allowed=f"files {', '.join(sorted(image_endings()))} in a directory"
        )
    from workbench.train.predict import Predicted, load_predictor
    from workbench.train.setup import find_device

    recipe = load_recipe(directory.recipe)
    predictor = load_predictor(directory, recipe, find_device(device), teacher=teacher)
    records: list[dict[str, object]] = []
    read = 0
    for outcome in predictor.predict(paths):
        if isinstance(outcome, Predicted):
            read += 1
            best = _best(outcome, predictor.classes, top)
            records.append(
                {
                    "image": str(outcome.path),
                    "top": [{"class": name, "probability": share} for name, share in best],
                }
            )
            if not as_json:
                _print(outcome.path, best)
        else:
            records.append({"image": str(outcome.path), "error": outcome.reason})
            warn(f"{outcome.path}: {outcome.reason}")
    if as_json:
        print_json("predict", {"images": records})
    if not read:
        all_of_them = "the picture" if len(paths) == 1 else f"any of the {len(paths)} pictures"
        raise UserError(f"cannot read {all_of_them}")


def _pictures(named: Sequence[Path]) -> Iterator[Path]:
    """The files named, and of directories the pictures below them in order of their names."""
    for path in named:
        if path.is_dir():
            found = sorted(_pictures_below(path))
            if not found:
                warn(f"{path}: no pictures in this directory")
            yield from found
        else:
            yield path


def _pictures_below(directory: Path) -> Iterator[Path]:
    """Picture files at any depth, told by their extension; hidden files and directories are passed over."""
    for folder, folders, names in os.walk(directory):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and Path(name).suffix.lower() in image_endings():
                yield Path(folder) / name


def _best(outcome: Predicted, classes: Sequence[str], count: int) -> list[tuple[str, float]]:
    """The most probable classes with their probabilities; ties keep the classes' order."""
    order = (-outcome.probabilities).argsort(kind="stable")[:count].tolist()
    return [(classes[index], float(outcome.probabilities[index])) for index in order]


def _print(path: Path, best: Sequence[tuple[str, float]]) -> None:
    console.print(Text(clean(path), style="bold"), soft_wrap=True)
    names = [Text(clean(name)) for name, _ in best]
    room = max(8, console.width - _BAR_WIDTH - 13)
    width = min(room, max(name.cell_len for name in names))
    for name, (_, share) in zip(names, best, strict=True):
        name.truncate(width, overflow="ellipsis", pad=True)
        line = Text("  ").append_text(name).append(f"  {_bar(share)}", style="cyan")
        console.print(line.append(f" {100 * share:6.2f} %"), soft_wrap=True)


def _bar(share: float) -> str:
    """`share` of `_BAR_WIDTH` cells, to an eighth of a cell."""
    whole, eighths = divmod(round(share * _BAR_WIDTH * 8), 8)
    return ("█" * whole + _EIGHTHS[eighths].strip()).ljust(_BAR_WIDTH)
