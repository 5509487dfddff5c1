"""Which labelled training images a run finds most like an image, by the cosine of its backbone's features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workbench.dataset import Catalogue
from workbench.recipe import Recipe
from workbench.runs.events import Reporter
from workbench.runs.layout import RunDirectory
from workbench.train.predict import Predictor
from workbench.train.run_features import feature_bank, labelled_images

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A labelled training image near another."""

    id: str
    label: str
    """The class that the run trained it with."""
    similarity: float
    """Cosine of the features, -1 to 1."""


def neighbours(
    run: RunDirectory,
    recipe: Recipe,
    catalogue: Catalogue,
    predictor: Predictor,
    positions: Sequence[int],
    count: int,
    *,
    cache: Path,
    reporter: Reporter,
) -> list[list[Neighbour]]:
    """For each image the `count` most alike of the run's labelled images, the most alike first, never itself.

    Features come from the cache that training fills; those missing there (of a trunk that learned: all) are
    computed with the run's final weights and kept in it.

    Raises:
        UserError: the run has not divided the data yet, an image cannot be decoded, or the data has changed.
    """
    told = labelled_images(run, recipe, catalogue)
    labelled, labels = told.positions, dict(zip(told.positions.tolist(), told.names, strict=True))
    bank = feature_bank(catalogue, predictor, cache=cache, reporter=reporter)
    asked = np.array(positions, dtype=np.int64)
    features = bank.rows(np.concatenate([labelled, asked]))
    rows, similarities = nearest_rows(
        features[: len(labelled)], features[len(labelled) :], min(count + 1, len(labelled))
    )
    return [
        [
            Neighbour(catalogue.records[position].id, labels[position], similarity)
            for position, similarity in zip(labelled[near].tolist(), alike.tolist(), strict=True)
            if position != own
        ][:count]
        for own, near, alike in zip(positions, rows, similarities, strict=True)
    ]


def nearest_rows(known: Tensor, asked: Tensor, count: int) -> tuple[Ints, NDArray[np.float32]]:
    """The rows of `known` (L, D) with the highest cosine to each of `asked` (Q, D), exactly.

    Returns: rows (Q, count) int64, the most alike first, ties in the order of rows; their cosines (Q, count)
        float32.
    """
    cosines = (_unit(asked) @ _unit(known).T).clamp(-1, 1).numpy()  # (Q, L)
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
    return order, np.take_along_axis(cosines, order, axis=1)


def _unit(features: Tensor) -> Tensor:
    return torch.nn.functional.normalize(features, dim=1)
