"""A finished run looked at again: its labelled images, and what its trunk makes of any image of its data."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from workbench.dataset import Catalogue, Split, UnreadableImage, apply_corrections, load_review, load_split
from workbench.loader.decoding import Square, decode_square
from workbench.loader.store import stored_side
from workbench.recipe import Recipe
from workbench.runs.events import Reporter
from workbench.runs.layout import RunDirectory
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.train.features import FeatureBank, feature_folder
from workbench.train.predict import Predictor
from workbench.train.views import INFERENCE_BATCH

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """The images that a run trained on with a label, and the class that it was told of each."""

    split: Split
    positions: Ints
    """(L,) int64 ascending positions in the catalogue."""
    taught: Ints
    """(L,) int64 classes as training was told them: a person's word, else the data set's."""
    names: tuple[str, ...]
    """Their classes' names."""


def labelled_images(run: RunDirectory, recipe: Recipe, catalogue: Catalogue) -> LabelledImages:
    """What a run was taught, by its own split and its own copy of the corrections.

    Raises:
        UserError: the run has not divided the data yet, or the data has changed since.
    """
    split = load_split(run.split, catalogue)
    target = recipe.data.target
    taught = catalogue.labels(target)
    if run.corrections.exists():
        review = load_review(run.corrections)
        taught = apply_corrections(review, catalogue, split, target, where=run.corrections).taught
    classes = catalogue.classes(target)
    own = taught[split.labelled]
    return LabelledImages(split, split.labelled, own, tuple(classes[number] for number in own.tolist()))


def feature_bank(
    catalogue: Catalogue, predictor: Predictor, *, cache: Path, reporter: Reporter
) -> FeatureBank:
    """Features of the predictor's trunk: from the cache that training fills, and kept there.

    Asked for an image that cannot be decoded, it raises UserError.
    """
    classifier, form = predictor.classifier, predictor.form
    folder = feature_folder(cache, catalogue, classifier, form, predictor.dtype)
    extraction = _Extraction(catalogue, predictor)
    return FeatureBank(folder, len(catalogue), classifier.feature_width, extraction.features, reporter)


@dataclass(frozen=True, slots=True)
class _Extraction:
    """Computes features straight from the files: a few images are no reason to decode a whole data set."""

    catalogue: Catalogue
    predictor: Predictor

    def features(self, positions: Ints) -> Iterator[tuple[Tensor, Ints]]:
        with ThreadPoolExecutor(thread_name_prefix="decode") as pool:
            size = self.predictor.form.images_a_pass(INFERENCE_BATCH)
            for start in range(0, len(positions), size):
                batch = positions[start : start + size]
                squares = list(pool.map(self._decode, batch.tolist()))
                # As training fills the bank: in full batches, since they decide a row's last bits.
                filled = squares + squares[-1:] * (size - len(squares))
                yield self.predictor.features(filled)[: len(batch)], batch

    def _decode(self, position: int) -> Square:
        record = self.catalogue.records[position]
        try:
            return decode_square(record.path, stored_side(self.predictor.form.side), self.catalogue.scale)
        except UnreadableImage as error:
            raise UserError(
                f"{clean(record.id)} cannot be read: {error.reason}", where=clean(record.path)
            ) from error
