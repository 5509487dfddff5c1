"""Features by the pretrained trunk: kept for all runs where views are plain, else for the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from workbench.loader import Samples
from workbench.loader.samples import PLAIN
from workbench.recipe import Augmentation
from workbench.runs.events import Reporter
from workbench.support.spans import Part, spanned
from workbench.train.features import FeatureBank, feature_folder
from workbench.train.precision import Precision
from workbench.train.setup import Setup
from workbench.train.views import INFERENCE_BATCH, form_of, image_batches, plain_images

Ints = NDArray[np.int64]


class TrunkFeatures:
    """What the pretrained trunk makes of views that stay the same, whatever the run's own has learned.

    Args:
        trunk: gives it, for inference; asked only where features are not there yet.
    """

    def __init__(
        self, setup: Setup, precision: Precision, reporter: Reporter, trunk: Callable[[], nn.Module]
    ) -> None:
        self._setup, self._precision, self._reporter = setup, precision, reporter
        self._trunk = trunk
        self._form = form_of(setup)
        self._bank = self._open_bank()
        self._views: tuple[object, Tensor] | None = None
        self._gathered: tuple[Ints, Tensor] | None = None

    def plain(self, positions: Ints) -> Tensor:
        """(K, D) float32 features of plain views, from the bank, on the run's device."""
        if self._gathered is None or self._gathered[0] is not positions:
            # Validation asks after every epoch for the very same array.
            self._gathered = positions, self._bank.rows(positions).to(self._setup.device)
        return self._gathered[1]

    def of_samples(self, samples: Samples, augmentation: Augmentation) -> tuple[Tensor, Ints]:
        """Features for every sample, and each sample's row in them.

        Plain whole-image views come from the bank; head crops and augmented copies are computed once a run.
        """
        plain = samples.is_whole & ((samples.copies == PLAIN) | (not augmentation.changes_images))
        positions = np.unique(samples.positions[plain])
        features = [self.plain(positions)]
        rows = np.empty(len(samples), dtype=np.int64)
        rows[plain] = np.searchsorted(positions, samples.positions[plain])
        others = np.flatnonzero(~plain)
        if len(others):
            rows[others] = len(positions) + np.arange(len(others))
            features.append(self._of_views(samples.take(others), augmentation))
        return torch.cat(features), rows

    @spanned(Part.FEATURES)
    def _of_views(self, samples: Samples, augmentation: Augmentation) -> Tensor:
        key = (samples.positions.tobytes(), samples.boxes.tobytes(), samples.copies.tobytes(), augmentation)
        if self._views is None or self._views[0] != key:
            parts, done = [], 0
            for batch in image_batches(self._setup, samples, augmentation, INFERENCE_BATCH).in_order():
                parts.append(features_of(batch.inputs, self._trunk(), self._precision, self._setup.device))
                done += len(batch.positions)
                self._reporter.progress("features of augmented views", done, len(samples))
            self._views = (key, torch.cat(parts))
        return self._views[1]

    def _open_bank(self) -> FeatureBank:
        setup = self._setup
        cache, inference = setup.places.cache, self._precision.inference
        folder = feature_folder(cache, setup.catalogue, setup.classifier, self._form, inference)
        width = setup.classifier.feature_width
        return FeatureBank(folder, len(setup.catalogue), width, self._extract, self._reporter)

    def _extract(self, positions: Ints) -> Iterator[tuple[Tensor, Ints]]:
        # The last bits of a row depend on how many images pass with it. A bank that was filled in pieces (by
        # a run that was killed, or by several runs) must hold what one pass would have: so every batch is a
        # full one.
        short = -len(positions) % self._form.images_a_pass(INFERENCE_BATCH)
        filled = np.concatenate([positions, np.repeat(positions[-1:], short)])
        left = len(positions)
        for images, batch in plain_images(self._setup, filled):
            own = min(left, len(batch))
            left -= own
            features = features_of(images, self._trunk(), self._precision, self._setup.device)
            yield self._form.averaged(features)[:own].cpu(), batch[:own]


@spanned(Part.FORWARD)
@torch.inference_mode()
def features_of(
    inputs: Tensor, trunk: Callable[[Tensor], Tensor], precision: Precision, device: torch.device
) -> Tensor:
    """(B, D) float32, in the arithmetic of inference."""
    with precision.autocast(device, "inference"):
        features = trunk(inputs)
    return features.float()
