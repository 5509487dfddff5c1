"""The representative label policy: the pretrained trunk looks at the pool before anything is labelled."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workbench.dataset import Catalogue
from workbench.loader import ImageStore, plain_batches
from workbench.model import ImageClassifier, frozen_copy
from workbench.pseudo import most_typical
from workbench.recipe import Recipe
from workbench.runs.events import Reporter
from workbench.train.features import FeatureBank, feature_folder, view_format
from workbench.train.places import Places

Ints = NDArray[np.int64]
BATCH = 64


class TypicalImages:
    """Chooses the images to label, by float32 features whatever the run computes in: one choice a recipe.

    Args:
        classifier: with its pretrained trunk, on the run's device.
    """

    def __init__(
        self,
        recipe: Recipe,
        places: Places,
        catalogue: Catalogue,
        classifier: ImageClassifier,
        store: ImageStore,
        reporter: Reporter,
    ) -> None:
        self._recipe = recipe
        self._classifier, self._store = classifier, store
        self._form = view_format(recipe, classifier, places.device)
        folder = feature_folder(places.cache, catalogue, classifier, self._form, "fp32")
        self._bank = FeatureBank(folder, len(catalogue), classifier.feature_width, self._extract, reporter)

    def __call__(self, pool: Ints, count: int) -> Ints:
        """(count,) int64 positions of the pool; of images that cannot be read none."""
        labels = self._recipe.pseudo_label
        assert labels is not None and labels.representative != "off"  # noqa: PT018
        readable = self._store.readable(pool)
        features = self._bank.rows(readable).numpy()
        rows = most_typical(features, count, labels.representative, self._recipe.data.split_seed)
        return readable[rows]

    @torch.inference_mode()
    def _extract(self, positions: Ints) -> Iterator[tuple[Tensor, Ints]]:
        trunk = frozen_copy(self._classifier.trunk, self._form.side, "fp32")
        # Full batches alone, as in `TrunkFeatures`: a row's last bits depend on how many images pass with it.
        size = self._form.images_a_pass(BATCH)
        filled = np.concatenate([positions, np.repeat(positions[-1:], -len(positions) % size)])
        left = len(positions)
        for views, batch in plain_batches(self._store, filled, self._form, size):
            own = min(left, len(batch))
            left -= own
            yield self._form.averaged(trunk(views).float())[:own].cpu(), batch[:own]
