"""`petbench preview`: what training will see of a few real images, as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from workbench.cli.arguments import DataDir, Json, RecipeFile, Sets, Unsets, changes_of
from workbench.cli.console import OutDir, console, error_console, make_folder, print_json
from workbench.cli.display import Display
from workbench.dataset import Catalogue, UnreadableImage, open_catalogue
from workbench.dataset.catalogue import find_images
from workbench.recipe import Augmentation, Recipe, load_recipe
from workbench.recipe.plan import plan
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.paths import data_home

if TYPE_CHECKING:
    from workbench.loader.preview import Preview
    from workbench.loader.views import ViewFormat


def preview(
    recipe: RecipeFile,
    out: OutDir,
    images: Annotated[
        int,
        typer.Option("--images", metavar="N", min=1, max=64, help="So many images, of different classes."),
    ] = 6,
    views: Annotated[
        int, typer.Option("--views", metavar="N", min=1, max=64, help="So many training views of each.")
    ] = 4,
    named: Annotated[
        list[str] | None,
        typer.Option("--image", metavar="ID", help="Show this image; may be given again, for others too."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", min=0, help="Another choice of images and views; else the recipe's seed."),
    ] = None,
    student: Annotated[
        bool,
        typer.Option(
            "--student", help="As the students of a pseudo-label recipe see them, with their noise."
        ),
    ] = False,
    sets: Sets = None,
    unsets: Unsets = None,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Draw the augmented training views that a recipe makes of real images, exactly as training draws them.

    Writes plain-00.png (the image as evaluation sees it) and view-00-00.png, view-00-01.png, … a training
    image. Where the recipe mixes images, they are mixed with one another.
    """
    loaded = load_recipe(recipe, changes_of(sets, unsets))
    if student and loaded.pseudo_label is None:
        raise UserError("no students: the recipe has no [pseudo_label]", where="--student")
    with Display(error_console) as display:
        catalogue = open_catalogue(loaded.data, data_home=data_home(data_dir), reporter=display)
    chosen = find_images(catalogue, named) if named else None
    folder = make_folder(out)
    from workbench.loader.preview import choose_images

    seed = loaded.seed if seed is None else seed
    positions = chosen or choose_images(catalogue, loaded.data, images, seed)
    augmentation = _students(loaded) if student else loaded.augmentation
    drawn = _draw(catalogue, positions, loaded, augmentation, views, seed)
    labels = _labels(catalogue, loaded, positions)
    records = [
        _write(folder, number, shown, label)
        for number, (shown, label) in enumerate(zip(drawn, labels, strict=True))
    ]
    if as_json:
        print_json("preview", {"images": records})
        return
    for record in records:
        line = f"{record['id']}  {record['label']}  {len(record['views'])} views"
        console.print(Text(clean(line)), soft_wrap=True)
    console.print(Text(f"in {clean(folder)}"), soft_wrap=True)


def _students(recipe: Recipe) -> Augmentation:
    """The augmentation that the recipe's students train under."""
    students = [stage for stage in plan(recipe) if stage.name == "student"]
    if not students:
        return recipe.augmentation
    return students[-1].augmentation if students[-1].online is None else students[-1].pool_views[1]


def _draw(
    catalogue: Catalogue,
    positions: Sequence[int],
    recipe: Recipe,
    augmentation: Augmentation,
    views: int,
    seed: int,
) -> list[Preview]:
    """So many views of each image.

    Raises:
        UserError: an image cannot be read.
    """
    from workbench.loader.preview import previews

    try:
        return previews(
            catalogue, positions, recipe.data, augmentation, _form(recipe), views=views, seed=seed
        )
    except UnreadableImage as error:
        raise UserError(
            f"an image cannot be read: {clean(error.reason)}", hint="petbench data check names it"
        ) from error


def _form(recipe: Recipe) -> ViewFormat:
    """How pixels become numbers and back; only erasing, which paints the mean, shows a network's own."""
    import torch

    from workbench.loader.views import ViewFormat

    mean, std = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    if recipe.augmentation.erasing:
        from workbench.model import skeleton

        network = skeleton(recipe.model, 2, image_size=recipe.data.image_size)
        mean, std = network.mean, network.std
    data, cpu = recipe.data, torch.device("cpu")
    views = recipe.evaluation_views
    return ViewFormat(data.image_size, mean, std, cpu, views, data.store_scale).as_shown


def _labels(catalogue: Catalogue, recipe: Recipe, positions: Sequence[int]) -> list[str]:
    """The images' classes, for people."""
    target = recipe.data.target
    classes = catalogue.classes(target)
    labels = catalogue.labels(target)[positions].tolist()
    return [classes[label] if label >= 0 else "not known" for label in labels]


def _write(folder: Path, number: int, shown: Preview, label: str) -> dict[str, str | list[str]]:
    """Save one image's pictures; what the JSON says of it."""
    from workbench.loader.preview import save_png

    plain = folder / f"plain-{number:02d}.png"
    save_png(shown.plain, plain)
    paths = [folder / f"view-{number:02d}-{view:02d}.png" for view in range(len(shown.views))]
    for pixels, path in zip(shown.views, paths, strict=True):
        save_png(pixels, path)
    return {
        "id": shown.record.id,
        "label": label,
        "plain": str(plain),
        "views": [str(path) for path in paths],
    }
