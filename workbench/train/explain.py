"""What a trained run says of images, and where in them it sees it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from workbench.loader.decoding import Square
from workbench.loader.pictures import Pixels, pixels_of
from workbench.loader.views import plain_views_of
from workbench.model.saliency import grad_cam
from workbench.train.predict import BATCH, Predictor, Unreadable


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """An image as the run's evaluation sees it, what the run says, and what speaks for one class."""

    path: Path
    probabilities: NDArray[np.float32]
    """(C,)."""
    of_class: int
    """The class that `heat` is about."""
    picture: Pixels
    """(S, S, 3) uint8, the evaluation's view."""
    heat: NDArray[np.float32]
    """(h, w) in [0, 1], Grad-CAM at its own size."""


def explain(
    predictor: Predictor, paths: Sequence[Path], *, of_class: int | None = None
) -> Iterator[Explained | Unreadable]:
    """Grad-CAM of each picture, in their order, for a class, or for the one that the run says.

    Maps are computed in float32; the probabilities are in the run's own arithmetic, as `predict` has them.

    Raises:
        UserError: the run's backbone has no spatial feature map.
    """
    with ThreadPoolExecutor(thread_name_prefix="decode") as pool:
        for start in range(0, len(paths), BATCH):
            batch = paths[start : start + BATCH]
            decoded = list(pool.map(predictor.decode, batch))
            squares = [square for square in decoded if isinstance(square, Square)]
            rows = iter(_explained(predictor, squares, of_class) if squares else ())
            for path, outcome in zip(batch, decoded, strict=True):
                yield outcome if isinstance(outcome, Unreadable) else Explained(path, *next(rows))


Row = tuple[NDArray[np.float32], int, Pixels, NDArray[np.float32]]


def _explained(predictor: Predictor, squares: Sequence[Square], of_class: int | None) -> list[Row]:
    probabilities = predictor.probabilities(squares)
    classes = probabilities.argmax(axis=1) if of_class is None else np.full(len(squares), of_class)
    views = plain_views_of(squares, predictor.form)
    maps = grad_cam(predictor.classifier, views, torch.from_numpy(classes).to(predictor.form.device))
    return list(
        zip(
            probabilities,
            classes.tolist(),
            pixels_of(views, predictor.form),
            maps.cpu().numpy(),
            strict=True,
        )
    )
