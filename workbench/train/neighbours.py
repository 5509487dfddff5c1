"""Which labelled training images a run finds most like an image, by the cosine of its backbone's features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workbench.dataset import Catalogue, UnreadableImage, apply_corrections, load_review, load_split
from workbench.loader.decoding import Square, decode_square
from workbench.loader.store import stored_side
from workbench.recipe import Recipe
from workbench.runs.events import Reporter
from workbench.runs.layout import RunDirectory
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.train.features import FeatureBank, feature_folder
from workbench.train.network import INFERENCE_BATCH
from workbench.train.predict import Predictor

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
    labelled, labels = _labelled(run, recipe, catalogue)
    bank = FeatureBank(
        feature_folder(
            cache,
            catalogue,
            predictor.classifier,
            predictor.form.side,
            predictor.dtype,
            predictor.form.device,
        ),
        len(catalogue),
        predictor.classifier.feature_width,
        _Extraction(catalogue, predictor).features,
        reporter,
    )
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


def _labelled(run: RunDirectory, recipe: Recipe, catalogue: Catalogue) -> tuple[Ints, dict[int, str]]:
    """The run's labelled images, and the class that each was trained with."""
    split = load_split(run.split, catalogue)
    target = recipe.data.target
    taught = catalogue.labels(target)
    if run.corrections.exists():
        review = load_review(run.corrections)
        taught = apply_corrections(review, catalogue, split, target, where=run.corrections).taught
    names = catalogue.classes(target)
    return split.labelled, {p: names[taught[p]] for p in split.labelled.tolist()}


@dataclass(frozen=True, slots=True)
class _Extraction:
    """Computes features straight from the files: a few images are no reason to decode a whole data set."""

    catalogue: Catalogue
    predictor: Predictor

    def features(self, positions: Ints) -> Iterator[tuple[Tensor, Ints]]:
        with ThreadPoolExecutor(thread_name_prefix="decode") as pool:
            for start in range(0, len(positions), INFERENCE_BATCH):
                batch = positions[start : start + INFERENCE_BATCH]
                squares = list(pool.map(self._decode, batch.tolist()))
                # As training fills the bank: in full batches, since they decide a row's last bits.
                filled = squares + squares[-1:] * (INFERENCE_BATCH - len(squares))
                yield self.predictor.features(filled)[: len(batch)], batch

    def _decode(self, position: int) -> Square:
        record = self.catalogue.records[position]
        try:
            return decode_square(record.path, stored_side(self.predictor.form.side))
        except UnreadableImage as error:
            raise UserError(
                f"{clean(record.id)} cannot be read: {error.reason}", where=clean(record.path)
            ) from error
