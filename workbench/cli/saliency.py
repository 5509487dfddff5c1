"""`petbench saliency`: where in its images a run sees what it says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from workbench.cli.arguments import DataDir, Device, ImageIds, Json, RunId, RunsDir, Teacher
from workbench.cli.console import OutDir, console, error_console, make_folder, print_json, warn
from workbench.cli.display import Display
from workbench.dataset import open_catalogue
from workbench.dataset.catalogue import find_images
from workbench.recipe import Recipe, load_recipe
from workbench.runs.find import find_run
from workbench.runs.layout import RunDirectory
from workbench.support.clean import clean
from workbench.support.errors import UserError, nearest
from workbench.support.paths import cache_home, data_home, runs_home
from workbench.support.units import in_percent

if TYPE_CHECKING:
    from workbench.train.predict import Explained

_TOP = 5


@dataclass(frozen=True, slots=True)
class Drawing:
    """An image whose pictures were saved, or could not be drawn."""

    id: str
    record: dict[str, object]
    """For JSON: what the model said, of which class the map is (None: of all), by which method, the files."""
    line: str
    """The same for a person, in one line."""
    overlay: Path | None
    """The map over the image; None where the image cannot be read."""


def draw_saliency(
    run: RunDirectory,
    recipe: Recipe,
    images: Sequence[tuple[str, Path]],
    folder: Path,
    *,
    class_name: str | None = None,
    teacher: bool = False,
    device: str = "auto",
) -> Iterator[Drawing]:
    """Save `overlay-NN.png`, `plain-NN.png` and `map-NN.png` of each image (id, file) in order.

    Args:
        folder: where the pictures go; it must be there by the time that the first is drawn.
        class_name: what speaks for this class; None: for the one that the model says.

    Raises:
        UserError: the run has no such model, the class is none, or no method suits the network.
    """
    from workbench.cli.devices import foreground_device
    from workbench.train.predict import Explained, explain, load_predictor

    predictor = load_predictor(run, recipe, foreground_device(device), teacher=teacher)
    of_class = None if class_name is None else _class_number(predictor.classes, class_name)
    outcomes = explain(predictor, [path for _, path in images], of_class=of_class)
    for number, ((name, _), outcome) in enumerate(zip(images, outcomes, strict=True)):
        if isinstance(outcome, Explained):
            yield _drawing(name, folder, number, outcome, predictor.classes)
        else:
            yield Drawing(name, {"id": name, "error": outcome.reason}, outcome.reason, None)


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


def _drawing(name: str, folder: Path, number: int, shown: Explained, classes: Sequence[str]) -> Drawing:
    from workbench.loader.preview import grey_map, heat_overlay, save_png
    from workbench.model.saliency import METHOD_NAMES

    pictures = {
        "overlay": heat_overlay(shown.picture, shown.heat),
        "plain": shown.picture,
        "map": grey_map(shown.heat),
    }
    paths = {kind: folder / f"{kind}-{number:02d}.png" for kind in pictures}
    for kind, pixels in pictures.items():
        save_png(pixels, paths[kind])
    best = (-shown.probabilities).argsort(kind="stable")[:_TOP].tolist()
    top = [[classes[index], float(shown.probabilities[index])] for index in best]
    record: dict[str, object] = {
        "id": name,
        "said": top[0][0],
        "confidence": top[0][1],
        "method": shown.method,
        "class": None if shown.of_class is None else classes[shown.of_class],
        "top": top,
        **{kind: str(path) for kind, path in paths.items()},
    }
    how = METHOD_NAMES[shown.method]
    if shown.of_class not in (None, best[0]):
        how += f", map of {classes[shown.of_class]}"
    line = f"{name}  {top[0][0]} {in_percent(top[0][1], 1)}, {how}  {paths['overlay']}"
    return Drawing(name, record, line, paths["overlay"])


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
        from workbench.cli.devices import foreground_device
        from workbench.train.predict import load_predictor
        from workbench.train.run_features import neighbours as find

        predictor = load_predictor(directory, recipe, foreground_device(device))
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
            {"id": name, "neighbours": [asdict(near) for near in nears]}
            for name, nears in zip(images, found, strict=True)
        ]
        print_json("neighbours", {"images": rows})
        return
    for name, nears in zip(images, found, strict=True):
        console.print(Text(clean(name), style="bold"), soft_wrap=True)
        for near in nears:
            line = f"  {near.similarity:.3f}  {clean(near.label)}  {clean(near.id)}"
            console.print(Text(line), soft_wrap=True)
