"""The pictures that show where a run's model sees what it says: drawn, saved, and told of as records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.recipe import Recipe
from workbench.runs.layout import RunDirectory
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.nearest import nearest

if TYPE_CHECKING:
    from workbench.train.explain import Explained

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
    from workbench.train.explain import Explained, explain
    from workbench.train.predict import load_predictor
    from workbench.train.setup import find_device

    predictor = load_predictor(run, recipe, find_device(device), teacher=teacher)
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
    from workbench.loader.pictures import grey_map, heat_overlay, save_png
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
    line = f"{name}  {top[0][0]} {100 * top[0][1]:.1f} %, {how}  {paths['overlay']}"
    return Drawing(name, record, line, paths["overlay"])
