"""`predictions/*.npz`: what a model said of every image of a split."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workbench.support.atomic import atomic_path
from workbench.support.errors import UserError


@dataclass(frozen=True, eq=False)
class Predictions:
    """Class probabilities of N images; `labels` is -1 where the truth is not known."""

    ids: tuple[str, ...]
    probabilities: NDArray[np.float32]
    """(N, C) float32; rows sum to 1."""
    labels: NDArray[np.int64]
    """(N,) int64."""


def save_predictions(
    path: Path,
    ids: Sequence[str],
    probabilities: NDArray[np.float32] | NDArray[np.float16],
    labels: NDArray[np.int64],
) -> None:
    """Write the predictions of N images.

    Probabilities are (N, C) and keep their type: float32, or float16 for half the size.

    Raises:
        ValueError: the three do not agree in length or shape.
    """
    if probabilities.ndim != 2 or labels.shape != (len(ids),) or len(probabilities) != len(ids):
        raise ValueError(
            f"{len(ids)} ids, probabilities {probabilities.shape} and labels {labels.shape} do not agree"
        )
    path.parent.mkdir(exist_ok=True)
    # Through an open file: given a name, numpy would add `.npz` to the temporary one.
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez(
            stream,
            ids=np.array(ids, dtype=np.str_),
            probabilities=probabilities,
            labels=labels.astype(np.int64, copy=False),
        )


def load_predictions(path: Path) -> Predictions:
    """The predictions in `path`; probabilities come as float32 however they were stored.

    Raises:
        FileNotFoundError: the run has none of this name.
        UserError: the file is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return _checked(arrays["ids"], arrays["probabilities"], arrays["labels"])
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"damaged predictions: {error}", where=str(path)) from error


def _checked(
    ids: NDArray[np.str_], probabilities: NDArray[np.float32], labels: NDArray[np.int64]
) -> Predictions:
    if probabilities.ndim != 2 or ids.shape != labels.shape or ids.shape != probabilities.shape[:1]:
        raise ValueError(f"shapes {ids.shape}, {probabilities.shape} and {labels.shape} do not agree")
    return Predictions(
        tuple(str(i) for i in ids.tolist()), probabilities.astype(np.float32), labels.astype(np.int64)
    )
