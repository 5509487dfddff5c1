"""Whether a painted picture is a near copy of an image that measures: by look, and by features."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workbench.compute import Dtype, computes_in
from workbench.dataset import Catalogue, UnreadableImage, decode_image
from workbench.dataset.contents import LOOK_DISTANCE
from workbench.dataset.probe import difference_hash
from workbench.loader.store import stored_side
from workbench.loader.store_build import square_of
from workbench.model import frozen_copy
from workbench.runs.events import Reporter
from workbench.train.feature_bank import view_format
from workbench.train.predict import Predictor
from workbench.train.run_features import feature_bank
from workbench.train.setup import Setup

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class NearCopy:
    """The measured image that a picture is a near copy of, and by what."""

    id: str
    part: str
    """`validation` or `test`."""
    by: str
    """How near, in words."""

    @property
    def words(self) -> str:
        """For the record."""
        return f"near copy of a {self.part} image: {self.by}"


class MeasuredImages:
    """The validation and test images of a division, and how near to them a picture may be.

    By look: the difference hash of the picture, or of its mirror image, is within `LOOK_DISTANCE` bits of
    one. By features, which find crops too: the cosine to one is at least `similarity`.

    Args:
        setup: what a run of the recipe would have.
        similarity: 0 compares by look alone.
    """

    def __init__(self, setup: Setup, similarity: float, reporter: Reporter) -> None:
        catalogue, split = setup.catalogue, setup.split
        positions = np.concatenate([split.validation, split.test])
        self._catalogue, self._split = catalogue, split
        self._looks, self._looked_at = _looks(catalogue, positions, reporter)
        self._similarity = similarity
        self._features: Tensor | None = None
        if similarity:
            self._predictor = _predictor_of(setup)
            readable = setup.store.readable(positions)
            banks = feature_bank(catalogue, self._predictor, cache=setup.places.cache, reporter=reporter)
            self._features = _unit(banks.apart(readable))
            self._featured = readable

    def nearest_copy(self, picture: Pixels) -> NearCopy | None:
        """The measured image that the (H, W, 3) uint8 picture is a near copy of, if it is one of any."""
        for pixels, mirrored in ((picture, ""), (np.ascontiguousarray(picture[:, ::-1]), ", mirrored")):
            look = difference_hash(pixels)
            if look is None or not len(self._looks):
                continue
            bits = np.bitwise_count(self._looks ^ np.frombuffer(look, dtype=np.uint64))
            nearest = int(bits.argmin())
            if bits[nearest] <= LOOK_DISTANCE:
                by = f"{int(bits[nearest])} of 64 bits of its look differ{mirrored}"
                return self._copy_of(int(self._looked_at[nearest]), by)
        return self._by_features(picture)

    def _by_features(self, picture: Pixels) -> NearCopy | None:
        if self._features is None:
            return None
        predictor = self._predictor
        square = square_of(picture, stored_side(predictor.form.side))
        own = [
            predictor.features([square], part, replace(predictor.form, mean=part.mean, std=part.std))
            for part in predictor.classifier.parts
        ]
        cosines = (self._features @ _unit(own)[0]).numpy()
        nearest = int(cosines.argmax())
        if cosines[nearest] < self._similarity:
            return None
        return self._copy_of(int(self._featured[nearest]), f"cosine of features {cosines[nearest]:.3f}")

    def _copy_of(self, position: int, by: str) -> NearCopy:
        part = "test" if np.isin(position, self._split.test) else "validation"
        return NearCopy(self._catalogue.ids[position], part, by)


def _unit(features: Sequence[Tensor]) -> Tensor:
    """(K, D) of length one, from each trunk's (K, D_t): a cosine is the mean of the trunks' own."""
    unit = [torch.nn.functional.normalize(own, dim=1) for own in features]
    return torch.cat(unit, dim=1) / math.sqrt(len(unit))


def _looks(
    catalogue: Catalogue, positions: NDArray[np.int64], reporter: Reporter
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """(K,) uint64 looks of those images that have one, and their positions."""
    looks: list[bytes] = []
    seen: list[int] = []
    with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="looks") as pool:
        found = pool.map(lambda position: _look(catalogue, position), positions.tolist())
        for done, (position, look) in enumerate(zip(positions.tolist(), found, strict=True), 1):
            if look is not None:
                looks.append(look)
                seen.append(position)
            if done % 50 == 0 or done == len(positions):
                reporter.progress("looks of validation and test images", done, len(positions))
    return np.frombuffer(b"".join(looks), dtype=np.uint64), np.array(seen, dtype=np.int64)


def _look(catalogue: Catalogue, position: int) -> bytes | None:
    try:
        return difference_hash(decode_image(catalogue.records[position].path, catalogue.scale))
    except UnreadableImage:
        return None


def _predictor_of(setup: Setup) -> Predictor:
    """The recipe's own pretrained trunk, looking as a run's inference looks."""
    dtype: Dtype = "bf16" if computes_in("bf16", setup.device) else "fp32"
    side = setup.recipe.data.image_size
    classifier = setup.classifier.eval()
    return Predictor(
        setup.classes,
        classifier,
        frozen_copy(classifier.trunk, side, dtype),
        view_format(setup.recipe, classifier, setup.device),
        dtype,
        trunk_fixed=True,
        scale=setup.catalogue.scale,
    )
