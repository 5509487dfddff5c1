"""`petbench saliency`: where in its images a run sees what it says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from workbench.cli.console import console, error_console, print_json
from workbench.cli.display import Display
from workbench.cli.picture_files import OutDir, make_out
from workbench.dataset import open_catalogue
from workbench.dataset.find_images import find_images
from workbench.recipe import load_recipe
from workbench.runs.find import find_run
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.nearest import nearest
from workbench.support.paths import data_home, runs_home

if TYPE_CHECKING:
    from workbench.train.explain import Explained

_TOP = 5


def saliency(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Id of the run, a unique part of it, or a path.")],
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE_ID...", help="Ids of images of the run's data.", show_default=False),
    ],
    out: OutDir,
    class_name: Annotated[
        str | None,
        typer.Option("--class", metavar="NAME", help="What speaks for this class; else for what it said."),
    ] = None,
    teacher: Annotated[
        bool, typer.Option("--teacher", help="Ask the run's teacher, not its final model.")
    ] = False,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
    runs_dir: Annotated[
        Path | None, typer.Option("--runs-dir", help="Where runs lie; else $PETBENCH_RUNS, else ./runs.")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="Where oxford-iiit-pet/ lies; else $PETBENCH_DATA.")
    ] = None,
) -> None:
    """Draw where a run's model sees the class that it names (Grad-CAM), over each image.

    Writes overlay-00.png, plain-00.png (the image as the model sees it) and map-00.png (the map alone, one
    pixel a place of the network's last feature map) for each image in order.
    """
    directory = find_run(runs_home(runs_dir), run)
    recipe = load_recipe(directory.recipe)
    with Display(error_console) as display:
        catalogue = open_catalogue(recipe.data, data_home=data_home(data_dir), reporter=display)
    paths = [catalogue.records[position].path for position in find_images(catalogue, images)]
    from workbench.train.explain import Explained, explain
    from workbench.train.predict import load_predictor
    from workbench.train.setup import find_device

    predictor = load_predictor(directory, recipe, find_device(device), teacher=teacher)
    of_class = None if class_name is None else _class_number(predictor.classes, class_name)
    folder = make_out(out)
    records: list[dict[str, object]] = []
    drawn = 0
    for number, (name, outcome) in enumerate(
        zip(images, explain(predictor, paths, of_class=of_class), strict=True)
    ):
        if isinstance(outcome, Explained):
            drawn += 1
            records.append({"id": name, **_write(folder, number, outcome, predictor.classes)})
            if not as_json:
                _print(name, outcome, predictor.classes, folder / f"overlay-{number:02d}.png")
        else:
            records.append({"id": name, "error": outcome.reason})
            error_console.print(f"warning: {clean(name)}: {clean(outcome.reason)}", style="yellow")
    if as_json:
        print_json(records)
    if not drawn:
        raise UserError("none of the images can be read", hint="petbench data check tells what is wrong")


def _class_number(classes: Sequence[str], name: str) -> int:
    if name in classes:
        return classes.index(name)
    near = nearest(name, classes)
    raise UserError(
        f"no class {clean(name, 80)!r}",
        where="--class",
        allowed=[clean(known, 80) for known in classes],
        hint=f"did you mean {clean(near, 80)}?" if near else "",
    )


def _write(folder: Path, number: int, shown: Explained, classes: Sequence[str]) -> dict[str, object]:
    """Save an image's three pictures; what the JSON says of it."""
    from workbench.loader.pictures import grey_map, heat_overlay, save_png

    pictures = {
        "overlay": heat_overlay(shown.picture, shown.heat),
        "plain": shown.picture,
        "map": grey_map(shown.heat),
    }
    paths = {name: folder / f"{name}-{number:02d}.png" for name in pictures}
    for name, pixels in pictures.items():
        save_png(pixels, paths[name])
    best = (-shown.probabilities).argsort(kind="stable")[:_TOP].tolist()
    top = [[classes[index], float(shown.probabilities[index])] for index in best]
    return {
        "said": top[0][0],
        "confidence": top[0][1],
        "class": classes[shown.of_class],
        "top": top,
        **{name: str(path) for name, path in paths.items()},
    }


def _print(name: str, shown: Explained, classes: Sequence[str], overlay: Path) -> None:
    best = int(shown.probabilities.argmax())
    said = f"{classes[best]} {100 * float(shown.probabilities[best]):.1f} %"
    of_class = "" if shown.of_class == best else f", map of {classes[shown.of_class]}"
    console.print(Text(clean(f"{name}  {said}{of_class}  {overlay}")), soft_wrap=True)
