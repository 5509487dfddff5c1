"""What a stage's steps are fed: images, maps of its frozen groups or features, and beside them the pool."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch import nn

from workbench.loader import Batch, FeatureBatches, ImageBatches, PoolBatch, PoolBatches, Samples, paired
from workbench.train.compiled import FullBatches, usual_sizes
from workbench.train.network import Network
from workbench.train.prefix import Above, Prefix
from workbench.train.stage import Stage
from workbench.train.views import image_batches, pool_batches


class Feed:
    """A stage's batches, and the network that takes them.

    Attributes:
        batch: labelled images a step: all there are, where they do not fill `training.batch_size`.

    Args:
        heads: (K, 4) head boxes that guide training, as `guiding_heads` gives them.
        on_features: the head trains alone, on cached features.
        is_compiled: steps run the network's compiled twin.
    """

    def __init__(
        self,
        stage: Stage,
        network: Network,
        samples: Samples,
        heads: NDArray[np.float32] | None,
        *,
        on_features: bool,
        is_compiled: bool,
    ) -> None:
        self._stage, self._network = stage, network
        self._recipe = network.setup.recipe
        self._on_features, self._is_compiled = on_features, is_compiled
        self.batch = self._recipe.training.batch_of(len(samples))
        self.prefix = self._usable_prefix()
        self.labelled = self._batches(samples, heads)
        self.pool = self._pool()
        self.steps = self.labelled.steps if self.pool is None else self.pool.steps

    @property
    def keeps_maps(self) -> bool:
        """Whether the prefix has done its work: batches hold what it made of the images."""
        return self.prefix is not None and isinstance(self.labelled, FeatureBatches)

    def epoch(self, epoch: int, first_step: int) -> Iterator[tuple[Batch, PoolBatch | None]]:
        """What the stage's `epoch` trains on, from one of its steps on."""
        of_run, labelled, pool = self._stage.first_epoch + epoch, self.labelled, self.pool
        if isinstance(labelled, ImageBatches):
            training, size = self._recipe.training, self._recipe.data.image_size
            side = training.view_side(size, epoch, self._stage.epochs)
            labelled, pool = labelled.at(side), None if pool is None else pool.at(side)
        if pool is None:
            return ((batch, None) for batch in labelled.epoch(of_run, first_step))
        assert isinstance(labelled, ImageBatches)  # views of the pool are never cached
        return paired(labelled, pool, of_run, first_step)

    def forward(self, module: nn.Module) -> nn.Module:
        """What computes the loss's outputs: `module`, its part above the prefix, or its compiled twin."""
        if self.prefix is not None:
            return Above(self._network.classifier, self.prefix, on_maps=self.keeps_maps)
        if self._on_features or not self._is_compiled:
            return module
        labelled, online = self.batch, self._stage.online
        pool = online.unlabelled_ratio * labelled if online else 0
        return FullBatches(module, self._network.compiled, usual_sizes(labelled, pool))

    def _usable_prefix(self) -> Prefix | None:
        """The frozen groups, where this stage's steps may take them apart from the rest.

        Not where a loss needs gradients of the images, keeps networks of its own, or runs compiled code.
        """
        prefix, stage = self._network.training_prefix, self._stage
        needs_all = stage.online or stage.saliency_weight or self._is_compiled
        if prefix is None or self._on_features or needs_all:
            return None
        return prefix if prefix.cut.is_quiet(self._network.classifier) else None

    def _batches(self, samples: Samples, heads: NDArray[np.float32] | None) -> ImageBatches | FeatureBatches:
        training, seed, augmentation = self._recipe.training, self._recipe.seed, self._stage.augmentation
        if self._on_features:
            features, rows = self._network.pretrained.of_samples(samples, augmentation)
            return FeatureBatches(features, rows, samples, self.batch, seed)
        if self.prefix is not None and self._stage.sees_plain_views and not training.progressive:
            maps = self._network.sample_maps(samples, augmentation)
            if maps is not None:
                return FeatureBatches(maps, np.arange(len(samples)), samples, self.batch, seed)
        return image_batches(self._network.setup, samples, augmentation, self.batch, heads)

    def _pool(self) -> PoolBatches | None:
        knobs = self._stage.online
        if knobs is None:
            return None
        weak = self._stage.augmentation.model_copy(update={"mixing": "none"})
        setup = self._network.setup
        return pool_batches(
            setup,
            setup.split.unlabelled,
            weak,
            knobs.second_view(weak),
            knobs.unlabelled_ratio * self.batch,
        )
