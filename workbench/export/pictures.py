"""The pictures that an export is tried on: the run's validation images, or made-up ones without its data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workbench.dataset import UnreadableImage
from workbench.dataset.catalogue import Catalogue
from workbench.dataset.depth import Scale
from workbench.dataset.probe import decode_image
from workbench.loader.store_build import Square
from workbench.loader.views import plain_views_of
from workbench.runs.layout import RunDirectory
from workbench.runs.predictions import finished_predictions
from workbench.train.predict import Predictor

Pixels = NDArray[np.uint8]
CHECKED = 16
"""Pictures that written files are asked about."""
_BLOCK = 20
"""Pixels a side of the squares that made-up pictures consist of."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """Decoded pictures and what they are called."""

    ids: tuple[str, ...]
    pixels: tuple[Pixels, ...]
    """(H, W, 3) uint8 each."""
    of_validation: bool
    """Whether they are the run's, not made up."""


@dataclass(frozen=True, slots=True)
class ValidationImage:
    """One image of the run's validation part."""

    id: str
    path: Path
    label: int
    """True class; -1 where nobody knows."""


def validation_images(directory: RunDirectory, catalogue: Catalogue) -> list[ValidationImage]:
    """The run's validation images that are still in its data, in the order of its predictions.

    Raises:
        UserError: these are gone or damaged.
    """
    said = finished_predictions(directory, "val")
    paths = {record.id: record.path for record in catalogue.records}
    return [
        ValidationImage(name, paths[name], int(label))
        for name, label in zip(said.ids, said.labels, strict=True)
        if name in paths
    ]


def check_pictures(directory: RunDirectory, catalogue: Catalogue | None, scale: Scale | None) -> Pictures:
    """`CHECKED` validation images from end to end of the list, or made-up pictures of several shapes.

    Args:
        catalogue: the run's; None where its data are not at hand.
        scale: how the run reads pictures of more than 8 bits.
    """
    if catalogue is None:
        return _made_up()
    images = validation_images(directory, catalogue)
    found: dict[str, Pixels] = {}
    for image in images[:: max(1, len(images) // CHECKED)][:CHECKED]:
        try:
            found[image.id] = np.array(decode_image(image.path, scale))  # torch wants one that can be written
        except UnreadableImage:
            continue  # it was readable while the run trained; others stand in
    return Pictures(tuple(found), tuple(found.values()), of_validation=True) if found else _made_up()


def _made_up() -> Pictures:
    random = np.random.default_rng(0)
    blocks = [random.integers(0, 256, (9 + k % 5, 8 + k % 7, 3), dtype=np.uint8) for k in range(CHECKED)]
    large = np.ones((_BLOCK, _BLOCK, 1), dtype=np.uint8)
    names = tuple(f"made-up {number}" for number in range(1, CHECKED + 1))
    return Pictures(names, tuple(np.kron(block, large) for block in blocks), of_validation=False)


def views_of(squares: Sequence[Square], predictor: Predictor) -> NDArray[np.float32]:
    """(B, 3, S, S) or with V views (B, V, 3, S, S) float32: what goes into an exported network."""
    views = plain_views_of(squares, predictor.form).cpu()  # (V·B, 3, S, S)
    count = len(predictor.form.evaluation)
    if count > 1:
        views = views.view(count, -1, *views.shape[1:]).transpose(0, 1)
    array: NDArray[np.float32] = views.contiguous().numpy()
    return array
