"""`petbench saliency`: where in its images a run sees what it says."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from workbench.cli.arguments import DataDir, Device, ImageIds, Json, RunId, RunsDir, Teacher
from workbench.cli.console import console, error_console, print_json, warn
from workbench.cli.display import Display
from workbench.cli.files import OutDir, make_folder
from workbench.cli.saliency_files import draw_saliency
from workbench.dataset import open_catalogue
from workbench.dataset.find_images import find_images
from workbench.recipe import load_recipe
from workbench.runs.find import find_run
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.paths import data_home, runs_home


def saliency(
    run: RunId,
    images: ImageIds,
    out: OutDir,
    class_name: Annotated[
        str | None,
        typer.Option(
            "--class", metavar="NAME", help="What speaks for this class; else for what it said (Grad-CAM)."
        ),
    ] = None,
    teacher: Teacher = False,
    device: Device = "auto",
    as_json: Json = False,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
) -> None:
    """Draw where a run's model sees the class that it names, over each image.

    Grad-CAM for networks that end in a spatial map, attention roll-out for transformers such as ViT, which
    asks for no class. Writes overlay-00.png, plain-00.png (the image as the model sees it) and map-00.png
    (the map alone, one pixel a place of the last feature map, or a patch) for each image in order.
    """
    directory = find_run(runs_home(runs_dir), run)
    recipe = load_recipe(directory.recipe)
    with Display(error_console) as display:
        catalogue = open_catalogue(recipe.data, data_home=data_home(data_dir), reporter=display)
    paths = [catalogue.records[position].path for position in find_images(catalogue, images)]
    folder = make_folder(out)
    records: list[dict[str, object]] = []
    drawn = 0
    for drawing in draw_saliency(
        directory,
        recipe,
        list(zip(images, paths, strict=True)),
        folder,
        class_name=class_name,
        teacher=teacher,
        device=device,
    ):
        records.append(drawing.record)
        if drawing.overlay is None:
            warn(f"{drawing.id}: {drawing.line}")
            continue
        drawn += 1
        if not as_json:
            console.print(Text(clean(drawing.line)), soft_wrap=True)
    if as_json:
        print_json("saliency", {"images": records})
    if not drawn:
        raise UserError("none of the images can be read", hint="petbench data check tells what is wrong")
