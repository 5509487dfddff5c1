"""`petbench neighbours`: the labelled training images that a run holds most like an image."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.text import Text

from workbench.cli.arguments import DataDir, Device, ImageIds, Json, RunId, RunsDir
from workbench.cli.console import console, error_console, print_json
from workbench.cli.display import Display
from workbench.dataset import open_catalogue
from workbench.dataset.find_images import find_images
from workbench.recipe import load_recipe
from workbench.runs.find import find_run
from workbench.support.clean import clean
from workbench.support.paths import cache_home, data_home, runs_home


def neighbours(
    run: RunId,
    images: ImageIds,
    count: Annotated[
        int, typer.Option("--count", metavar="N", min=1, max=1000, help="So many neighbours of each.")
    ] = 6,
    device: Device = "auto",
    as_json: Json = False,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
) -> None:
    """List the labelled training images most like an image to the run's network, with their classes.

    Likeness is the cosine of the backbone's features, 1 at most. The first call for a run whose backbone was
    trained computes the features of its labelled images; later calls find them in the cache.
    """
    directory = find_run(runs_home(runs_dir), run)
    recipe = load_recipe(directory.recipe)
    with Display(error_console) as display:
        catalogue = open_catalogue(recipe.data, data_home=data_home(data_dir), reporter=display)
        positions = find_images(catalogue, images)
        from workbench.train.neighbours import neighbours as find
        from workbench.train.predict import load_predictor
        from workbench.train.setup import find_device

        predictor = load_predictor(directory, recipe, find_device(device))
        found = find(
            directory,
            recipe,
            catalogue,
            predictor,
            positions,
            count,
            cache=cache_home(),
            reporter=display,
        )
    if as_json:
        rows = [
            {"id": name, "neighbours": [asdict(near) for near in nearest]}
            for name, nearest in zip(images, found, strict=True)
        ]
        print_json("neighbours", {"images": rows})
        return
    for name, nearest in zip(images, found, strict=True):
        console.print(Text(clean(name), style="bold"), soft_wrap=True)
        for near in nearest:
            line = f"  {near.similarity:.3f}  {clean(near.label)}  {clean(near.id)}"
            console.print(Text(line), soft_wrap=True)
