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
from workbench.model.saliency import METHOD_NAMES, Method, method_for, saliency_maps
from workbench.support.errors import UserError
from workbench.train.predict import BATCH, Predictor, Unreadable


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """An image as the run's evaluation sees it, what the run says, and where it sees it."""

    path: Path
    probabilities: NDArray[np.float32]
    """(C,)."""
    method: Method
    of_class: int | None
    """The class that `heat` is about; None of roll-out, which is about none."""
    picture: Pixels
    """(S, S, 3) uint8, the evaluation's view."""
    heat: NDArray[np.float32]
    """(h, w) in [0, 1], at the size of the feature map or of the grid of patches."""


def explain(
    predictor: Predictor, paths: Sequence[Path], *, of_class: int | None = None
) -> Iterator[Explained | Unreadable]:
    """Where the run sees what it says of each picture, in their order, by the method that suits its network.

    Maps are computed in float32; the probabilities are in the run's own arithmetic, as `predict` has them.

    Args:
        of_class: Grad-CAM for this class, else for the one that the run says.

    Raises:
        UserError: no method suits the run's backbone, or a class is asked of one that knows none.
    """
    method = _method(predictor)
    if of_class is not None and method != "grad-cam":
        raise UserError(
            f"{predictor.classifier.backbone} is looked into by {METHOD_NAMES[method]}, "
            "which is the same for every class",
            where="--class",
            hint="leave it out",
        )
    with ThreadPoolExecutor(thread_name_prefix="decode") as pool:
        for start in range(0, len(paths), BATCH):
            batch = paths[start : start + BATCH]
            decoded = list(pool.map(predictor.decode, batch))
            squares = [square for square in decoded if isinstance(square, Square)]
            rows = iter(_explained(predictor, squares, of_class, method) if squares else ())
            for path, outcome in zip(batch, decoded, strict=True):
                yield outcome if isinstance(outcome, Unreadable) else Explained(path, *next(rows))


def _method(predictor: Predictor) -> Method:
    side, device = predictor.form.side, predictor.form.device
    return method_for(predictor.classifier, torch.zeros(1, 3, side, side, device=device))


Row = tuple[NDArray[np.float32], Method, int | None, Pixels, NDArray[np.float32]]


def _explained(
    predictor: Predictor, squares: Sequence[Square], of_class: int | None, method: Method
) -> list[Row]:
    probabilities = predictor.probabilities(squares)
    classes = probabilities.argmax(axis=1) if of_class is None else np.full(len(squares), of_class)
    views = plain_views_of(squares, predictor.form.as_shown)
    wanted = torch.from_numpy(classes).to(predictor.form.device)
    maps = saliency_maps(predictor.classifier, views, wanted, method)
    about: list[int | None] = classes.tolist() if method == "grad-cam" else [None] * len(squares)
    return [
        (row, method, of, picture, heat)
        for row, of, picture, heat in zip(
            probabilities, about, pixels_of(views, predictor.form), maps.cpu().numpy(), strict=True
        )
    ]
