"""What a stage's steps are fed: images, maps of its frozen groups or features, and beside them the pool."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from workbench.compute import arithmetic_name
from workbench.loader import Batch, FeatureBatches, ImageBatches, PoolBatch, PoolBatches, Samples, paired
from workbench.loader.batches import BatchOrder
from workbench.loader.pool_batches import STRONG, WEAK, turn_keys, whole_views
from workbench.loader.samples import FRESH
from workbench.loader.store import to_device
from workbench.loader.store_build import decoding_id
from workbench.model import FOLDING, ImageClassifier
from workbench.recipe import Augmentation
from workbench.recipe.plan import Stage
from workbench.runs.events import Reporter
from workbench.support.digests import fingerprint
from workbench.train.compiled import FullBatches, usual_sizes
from workbench.train.feature_bank import INFERENCE_BATCH, FeatureBank
from workbench.train.inference import TRAINING_BYTES, Above, Prefix, form_of, image_batches, pool_batches
from workbench.train.network import Network
from workbench.train.setup import Setup
from workbench.train.shared_pass import SharedPass
from workbench.train.world import ALONE

Ints = NDArray[np.int64]


class KeptViews:
    """Maps of the training images' views, `turns` of either kind an image.

    A view is a function of (seed, turn, image, kind), and its map also of the network's frozen part; so runs
    that differ in what they do with them share them.

    Args:
        weak, strong: how either kind is drawn.
    """

    def __init__(
        self,
        setup: Setup,
        prefix: Prefix,
        reporter: Reporter,
        weak: Augmentation,
        strong: Augmentation,
        turns: int,
    ) -> None:
        self._setup, self._prefix, self._reporter = setup, prefix, reporter
        self._augmentations = {WEAK: weak, STRONG: strong}
        self._turns = turns
        self._form = form_of(setup)
        self._positions = np.union1d(setup.split.labelled, setup.split.unlabelled)
        self._shape = tuple(self._maps(0, WEAK, self._positions[:1]).shape[1:])

    @property
    def fits(self) -> bool:
        """Whether all of them may be held; a constant decides, so that a resumed run does alike."""
        width = int(np.prod(self._shape))
        return 2 * self._turns * len(self._positions) * width * 4 <= TRAINING_BYTES

    def pool(self, batch_size: int, seed: int) -> PoolMaps:
        """The pool's batches."""
        unlabelled = self._setup.split.unlabelled
        order = BatchOrder(len(unlabelled), batch_size, seed)
        weak, strong = (self._of(kind, unlabelled) for kind in (WEAK, STRONG))
        return PoolMaps(weak, strong, unlabelled, order)

    def labelled(self, samples: Samples, batch_size: int, seed: int) -> LabelledMaps | None:
        """The labelled images' batches, in weak views; None where they are not plainly whole images."""
        if not (samples.is_whole.all() and (samples.copies == FRESH).all()):
            return None
        rows = np.arange(len(samples))
        kept = self._of(WEAK, samples.positions)
        return LabelledMaps([FeatureBatches(maps, rows, samples, batch_size, seed) for maps in kept])

    def _of(self, kind: int, positions: Ints) -> list[Tensor]:
        """(K, …) a turn, the maps of `positions` on the run's device."""
        rows = torch.from_numpy(np.searchsorted(self._positions, positions))
        return [
            self._all(turn, kind)[rows].reshape(-1, *self._shape).to(self._setup.device)
            for turn in range(self._turns)
        ]

    def _all(self, turn: int, kind: int) -> Tensor:
        """(N, …) flat, the maps of all training images in one turn of a kind, on the CPU."""
        folder = self._setup.places.cache / "features" / self._name(turn, kind)
        count, width = len(self._positions), int(np.prod(self._shape))

        def look(rows: Ints) -> Tensor:
            return self._maps(turn, kind, self._positions[rows]).flatten(1)

        device = self._form.device
        bank = FeatureBank(folder, count, width, look, INFERENCE_BATCH, self._reporter, device)
        return bank.rows(np.arange(count))

    def _name(self, turn: int, kind: int) -> str:
        """For everything that decides a map's value."""
        setup = self._setup
        arithmetic = arithmetic_name(self._prefix.dtype, self._form.device)
        parts = [
            [setup.catalogue.pixels, decoding_id(), self._positions.tobytes().hex()],
            [setup.weights, self._prefix.cut.groups, arithmetic, FOLDING],
            [setup.recipe.seed, turn, kind, self._augmentations[kind].model_dump(mode="json")],
            [self._form.side, self._form.device.type],
        ]
        return f"{setup.classifier.backbone.replace('/', '_')}-views-{fingerprint(parts)}"

    def _maps(self, turn: int, kind: int, positions: Ints) -> Tensor:
        keys = turn_keys(turn, positions, kind)
        augmentation, seed = self._augmentations[kind], self._setup.recipe.seed
        views = whole_views(self._setup.store, positions, keys, augmentation, self._form, seed)
        return self._prefix.maps(views).float()


@dataclass(frozen=True, slots=True)
class PoolMaps:
    """As `PoolBatches`, of maps in place of images."""

    weak: list[Tensor]
    """(P, …) a turn."""
    strong: list[Tensor]
    positions: Ints
    order: BatchOrder

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        return self.order.steps

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[PoolBatch]:
        """The epoch's batches from `first_step` on."""
        weak, strong = (kept[epoch % len(kept)] for kept in (self.weak, self.strong))
        order = self.order.shuffled(epoch)
        for step in self.order.slices(first_step):
            rows = to_device(order[step], weak.device)
            yield PoolBatch(weak[rows], strong[rows], rows, self.positions[order[step]])


@dataclass(frozen=True, slots=True)
class LabelledMaps:
    """The labelled images in one set of views after another."""

    turns: list[FeatureBatches]

    @property
    def steps(self) -> int:
        """Batches a pass."""
        return self.turns[0].steps

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """A pass from `first_step` on."""
        return self.turns[epoch % len(self.turns)].epoch(epoch, first_step)


class Feed:
    """A stage's batches, and the network that takes them.

    Attributes:
        batch: labelled images a step: all there are, where they do not fill `training.batch_size`.
        world: the processes that each step is cut over.

    Args:
        heads: (K, 4) head boxes that guide training, as `guiding_heads` gives them.
        on_features: the head trains alone, on cached features.
        is_compiled: steps run the network's compiled twin.
        mixes_batch: batch norms learn statistics.
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
        mixes_batch: bool,
    ) -> None:
        self._stage, self._network = stage, network
        self._mixes_batch = mixes_batch
        # A head is trained by every process alike, and so is what is differentiated twice.
        self.world = ALONE if on_features or stage.saliency_weight else network.setup.world
        self._recipe = network.setup.recipe
        self._on_features, self._is_compiled = on_features, is_compiled
        self.batch = self._recipe.training.batch_of(len(samples))
        self.prefix = self._usable_prefix()
        self._kept = self._kept_views()
        self.labelled = self._batches(samples, heads)
        self.pool = self._pool()
        self.steps = self.labelled.steps if self.pool is None else self.pool.steps

    @property
    def keeps_maps(self) -> bool:
        """Whether the prefix has done its work: batches hold what it made of the images."""
        return self.prefix is not None and not isinstance(self.labelled, ImageBatches)

    def epoch(self, epoch: int, first_step: int) -> Iterator[tuple[Batch, PoolBatch | None]]:
        """What the stage's `epoch` trains on, from one of its steps on."""
        of_run, labelled, pool = self._stage.first_epoch + epoch, self.labelled, self.pool
        if isinstance(labelled, ImageBatches):
            training, size = self._recipe.training, self._recipe.data.image_size
            side = training.view_side(size, epoch, self._stage.epochs)
            labelled = labelled.at(side)
            pool = pool.at(side) if isinstance(pool, PoolBatches) else pool
        if pool is None:
            return ((batch, None) for batch in labelled.epoch(of_run, first_step))
        return paired(labelled, pool, of_run, first_step)

    def forward(self, module: nn.Module) -> nn.Module:
        """What computes the loss's outputs: `module`, its part above the prefix, or its compiled twin."""
        if self.prefix is not None or self._on_features or not self._is_compiled:
            return self.twin(module)
        assert self.world.is_alone
        labelled, online = self.batch, self._stage.online
        pool = online.unlabelled_ratio * labelled if online else 0
        return FullBatches(module, self._network.compiled, usual_sizes(labelled, pool))

    def twin(self, module: nn.Module) -> nn.Module:
        """What computes the outputs of a network like the stage's own, such as an objective's teacher."""
        taking = module
        if self.prefix is not None:
            assert isinstance(module, ImageClassifier)
            taking = Above(module, self.prefix, on_maps=self.keeps_maps)
        if self.world.is_alone:
            return taking
        return SharedPass(taking, self.world, mixes_batch=self._mixes_batch)

    def _usable_prefix(self) -> Prefix | None:
        """The frozen groups, where this stage's steps may take them apart from the rest.

        Not where a loss needs gradients of the images, or runs compiled code.
        """
        prefix, stage = self._network.training_prefix, self._stage
        needs_all = stage.saliency_weight or self._is_compiled
        if prefix is None or self._on_features or needs_all:
            return None
        return prefix if prefix.cut.is_quiet(self._network.classifier) else None

    def _kept_views(self) -> KeptViews | None:
        """Where the pool's views come again, and what the frozen groups make of them is held."""
        knobs, setup = self._stage.online, self._network.setup
        if knobs is None or not knobs.views or self.prefix is None or self._recipe.training.progressive:
            return None
        if self._stage.augmentation.mixing != "none":
            return None  # labelled images are mixed anew
        kept = KeptViews(setup, self.prefix, self._network.reporter, *self._stage.pool_views, knobs.views)
        return kept if kept.fits else None

    def _batches(
        self, samples: Samples, heads: NDArray[np.float32] | None
    ) -> ImageBatches | FeatureBatches | LabelledMaps:
        training, seed, augmentation = self._recipe.training, self._recipe.seed, self._stage.augmentation
        if self._on_features:
            features, rows = self._network.pretrained.of_samples(samples, augmentation)
            return FeatureBatches(features, rows, samples, self.batch, seed)
        if self._kept is not None:
            kept = self._kept.labelled(samples, self.batch, seed)
            if kept is not None:
                return kept
            self._kept = None
        if self.prefix is not None and self._stage.has_fixed_views and not training.progressive:
            maps = self._network.sample_maps(samples, augmentation)
            if maps is not None:
                return FeatureBatches(maps, np.arange(len(samples)), samples, self.batch, seed)
        by_rows = not self.world.is_alone
        return image_batches(self._network.setup, samples, augmentation, self.batch, heads, by_rows=by_rows)

    def _pool(self) -> PoolBatches | PoolMaps | None:
        knobs = self._stage.online
        if knobs is None:
            return None
        setup, batch = self._network.setup, knobs.unlabelled_ratio * self.batch
        if self._kept is not None:
            return self._kept.pool(batch, self._recipe.seed)
        by_rows = not self.world.is_alone
        return pool_batches(
            setup, setup.split.unlabelled, *self._stage.pool_views, batch, knobs.views, by_rows=by_rows
        )
