"""The way through the network: from images to views, maps of frozen groups, features, probabilities."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from workbench.compute import Dtype, accelerator_of, autocast
from workbench.loader import Batch, ImageBatches, PoolBatches, Samples, ViewFormat, plain_batches, prepared
from workbench.loader.samples import PLAIN
from workbench.loader.views import plain_views
from workbench.model import Cut, ImageClassifier, TrunkPart, frozen_copy
from workbench.recipe import Augmentation
from workbench.runs.events import Reporter
from workbench.support.spans import Part, spanned
from workbench.train.feature_bank import (
    FEATURES_TASK,
    INFERENCE_BATCH,
    BankRows,
    FeatureBanks,
    features_of,
    view_format,
)
from workbench.train.memory import Passes
from workbench.train.precision import Precision
from workbench.train.setup import Setup

Ints = NDArray[np.int64]


def form_of(setup: Setup) -> ViewFormat:
    """How a run's network sees an image."""
    return view_format(setup.recipe, setup.classifier, setup.device)


def image_batches(
    setup: Setup,
    samples: Samples,
    augmentation: Augmentation,
    batch_size: int,
    heads: NDArray[np.float32] | None = None,
    *,
    by_rows: bool = False,
) -> ImageBatches:
    """Batches of augmented views for training; fixed copies are the same in every stage of the run."""
    return ImageBatches(
        setup.store,
        samples,
        augmentation,
        side=setup.recipe.data.image_size,
        mean=setup.classifier.mean,
        std=setup.classifier.std,
        batch_size=batch_size,
        seed=setup.recipe.seed,
        device=setup.device,
        heads=heads,
        by_rows=by_rows,
    )


def pool_batches(
    setup: Setup,
    positions: Ints,
    weak: Augmentation,
    strong: Augmentation,
    batch_size: int,
    turns: int,
    *,
    by_rows: bool,
) -> PoolBatches:
    """Batches of two views of each unlabelled image."""
    form, seed = form_of(setup), setup.recipe.seed
    return PoolBatches(setup.store, positions, weak, strong, form, batch_size, seed, turns, by_rows=by_rows)


def plain_images(setup: Setup, positions: Ints, images: int) -> Iterator[tuple[Tensor, Ints]]:
    """(views, positions) a batch, in order, for inference; outputs of several views are to be averaged.

    Args:
        images: how many a batch.
    """
    return plain_batches(setup.store, positions, form_of(setup), images)


MapBatch = tuple[Tensor, Ints]
"""Maps and the positions of their images."""

TRAINING_BYTES = 2**30
"""Most that a stage's maps may take. A constant, since beyond it steps compute their own, whose last bits may
differ: a resumed run must decide alike."""
EVALUATION_BYTES = 2**30
"""Most that all evaluations' maps may take. Whatever is kept, evaluation sees the same bits."""
FREE_SHARE = 0.25
"""And most of the free memory that these may take."""


class Prefix:
    """What is below a network's cut, in one arithmetic.

    Nothing in there changes during a run, so it is a copy, made once. In bf16 maps are the network's own bit
    for bit; in fp32 batch norms are folded, and they agree to rounding (1e-6 of their norm).
    """

    def __init__(
        self,
        cut: Cut,
        classifier: ImageClassifier,
        image_size: int,
        dtype: Dtype,
        device: torch.device,
    ) -> None:
        self.cut = cut
        self._module = frozen_copy(cut.prefix(classifier), image_size, dtype).requires_grad_(False)
        self.dtype, self._device = dtype, device

    @spanned(Part.FORWARD, "frozen groups")
    @torch.no_grad()
    def maps(self, images: Tensor) -> Tensor:
        """(B, C, h, w), or features (B, D), of images (B, 3, H, W); in the arithmetic."""
        with autocast(self._device, self.dtype):
            maps: Tensor = self._module(images)
        return maps


class Above(nn.Module):
    """A classifier whose frozen part is run by its prefix, or has been.

    Parameters, buffers and their names are the classifier's own; nothing here is saved.

    Args:
        on_maps: inputs are what the prefix returned, not images.
    """

    def __init__(self, classifier: ImageClassifier, prefix: Prefix, *, on_maps: bool) -> None:
        super().__init__()
        self._classifier = classifier
        self._prefix = prefix
        self._on_maps = on_maps

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (B, C)."""
        maps = inputs if self._on_maps else self._prefix.maps(inputs)
        if maps.ndim == 4:
            maps = maps.contiguous(memory_format=torch.channels_last)
        return self._prefix.cut.logits(self._classifier, maps)


@spanned(Part.FEATURES, "maps of fixed views")
def maps_of(prefix: Prefix, batches: Iterable[Batch], count: int) -> Tensor | None:
    """(K, …) the prefix's maps of all `count` images of the batches, in their order.

    None, after the first batch, if they would take more than `TRAINING_BYTES`.
    """
    found: Tensor | None = None
    done = 0
    for batch in batches:
        maps = prefix.maps(batch.inputs)
        if found is None:
            if count * maps[0].nbytes > TRAINING_BYTES:
                return None
            found = maps.new_empty((count, *maps.shape[1:]))
        found[done : done + len(maps)] = maps
        done += len(maps)
    return found


class KeptMaps:
    """Maps of plain views, batch by batch, by the images that an evaluation asks for.

    They are kept in the very batches that they were computed in, so whether they are changes no bit.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._sets: dict[bytes, list[MapBatch]] = {}
        self._bytes = 0

    def batches(self, positions: Ints, computed: Iterator[MapBatch]) -> Iterator[MapBatch]:
        """(maps, positions) a batch: kept ones, or `computed`, which are kept if there is room for all."""
        key = positions.tobytes()
        if key in self._sets:
            yield from self._sets[key]
            return
        kept: list[MapBatch] | None = None
        size = 0
        for number, (maps, batch) in enumerate(computed):
            if not number:
                size = maps.nbytes // len(batch) * len(positions)
                kept = [] if size <= self._room() else None
            if kept is not None:
                kept.append((maps, batch))
            yield maps, batch
        if kept is not None:
            self._sets[key] = kept
            self._bytes += size

    def forget(self) -> None:
        """Let go of all of them; they are computed again."""
        self._sets.clear()
        self._bytes = 0

    def _room(self) -> int:
        free = accelerator_of(self._device).free_bytes(self._device)
        return min(EVALUATION_BYTES - self._bytes, int(FREE_SHARE * free))


BLOCK_ROWS = 65_536
"""Of features that a head is asked about at once: 335 MB of 1,280 columns."""


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
        self._passes = Passes(self._form.images_a_pass(INFERENCE_BATCH), setup.device, reporter)
        self._bank = FeatureBanks(
            setup.places.cache,
            setup.catalogue,
            setup.classifier,
            self._form,
            precision.inference,
            lambda part, form: partial(self._look, part, form),
            reporter,
            self._task_of,
        )
        self._views: tuple[object, Tensor] | None = None
        self._gathered: tuple[Ints, Tensor] | None = None

    def plain(self, positions: Ints) -> Tensor:
        """(K, D) float32 features of plain views, from the bank, on the run's device."""
        if self._gathered is None or self._gathered[0] is not positions:
            # Validation asks after every epoch for the very same array.
            self._gathered = positions, self._bank.rows(positions).to(self._setup.device)
        return self._gathered[1]

    def on_host(self, positions: Ints) -> Tensor:
        """The same on the CPU."""
        if self._bank.has_room(len(positions), self._setup.device):
            return self.plain(positions).cpu()
        return self._bank.rows(positions)

    def blocks(self, positions: Ints) -> Iterator[Tensor]:
        """The same by blocks of rows, on the run's device, where there may be no room for all.

        Always in the same blocks: the last bits of what a head makes of them may hang on how many they are.
        """
        count, device = len(positions), self._setup.device
        features: Tensor | BankRows
        if self._bank.has_room(count, device):
            features = self.plain(positions)
        else:
            features = self._bank.source(positions, device)
        if count <= BLOCK_ROWS and isinstance(features, Tensor):
            yield features
            return
        for first in range(0, max(1, count), BLOCK_ROWS):
            yield features.index_select(0, torch.arange(first, min(first + BLOCK_ROWS, count), device=device))

    def balance(self, positions: Ints) -> None:
        """Let the classifier's trunks count alike, by their features of these images."""
        self._bank.balance(positions)

    def of_samples(self, samples: Samples, augmentation: Augmentation) -> tuple[Tensor | BankRows, Ints]:
        """Features for every sample, and each sample's row in them.

        Plain whole-image views come from the bank, and stay there where there is no room for them; head crops
        and augmented copies are computed once a run, each averaged over the views that images are evaluated
        in.
        """
        plain = samples.is_whole & ((samples.copies == PLAIN) | (not augmentation.changes_images))
        positions = np.unique(samples.positions[plain])
        rows = np.empty(len(samples), dtype=np.int64)
        rows[plain] = np.searchsorted(positions, samples.positions[plain])
        if plain.all() and not self._bank.has_room(len(positions), self._setup.device):
            return self._bank.source(positions, self._setup.device), rows
        features = [self.plain(positions)]
        others = np.flatnonzero(~plain)
        if len(others):
            rows[others] = len(positions) + np.arange(len(others))
            features.append(self._of_views(samples.take(others), augmentation))
        return torch.cat(features), rows

    @spanned(Part.FEATURES)
    def _of_views(self, samples: Samples, augmentation: Augmentation) -> Tensor:
        key = (samples.positions.tobytes(), samples.boxes.tobytes(), samples.copies.tobytes(), augmentation)
        if self._views is None or self._views[0] != key:
            self._views = (
                key,
                self._passes.within(partial(self._looked, samples, augmentation), len(samples)),
            )
        return self._views[1]

    def _looked(self, samples: Samples, augmentation: Augmentation, images: int) -> Tensor:
        """(K, D) features of the samples, so many images a pass."""
        parts, done = [], 0
        batches = image_batches(self._setup, samples, augmentation, images)
        for inputs, batch in prepared(batches.in_views(self._form.evaluation), self._setup.device):
            parts.append(features_of(inputs, self._trunk(), self._form, self._precision.inference))
            done += len(batch)
            self._reporter.progress("features of augmented views", done, len(samples))
        return torch.cat(parts)

    def _task_of(self, positions: Ints) -> str:
        """What is waited for, by the part of the split that these images are of."""
        split = self._setup.split
        parts = {
            "the labelled images": split.labelled,
            "the validation images": split.validation,
            "the pool": split.unlabelled,
            "the test images": split.test,
        }
        found = (words for words, part in parts.items() if np.isin(positions, part).all())
        return f"{FEATURES_TASK} of {words}" if (words := next(found, "")) else FEATURES_TASK

    def _look(self, part: TrunkPart, form: ViewFormat, positions: Ints) -> Tensor:
        trunk = self._trunk().get_submodule(part.path)
        views = plain_views(self._setup.store, positions, form)
        return features_of(views, trunk, form, self._precision.inference)


def balance_trunks(setup: Setup, precision: Precision, reporter: Reporter) -> None:
    """Let the trunks of a run count alike, by the features of its labelled images.

    A matter of the setup alone: a resumed run finds the same scales.
    """
    if len(setup.classifier.parts) == 1:
        return

    @cache
    def trunk() -> nn.Module:
        return frozen_copy(setup.classifier.trunk, setup.recipe.data.image_size, precision.inference)

    TrunkFeatures(setup, precision, reporter, trunk).balance(setup.split.labelled)


@spanned(Part.FORWARD)
@torch.inference_mode()
def shares_of(inputs: Tensor, logits: Callable[[Tensor], Tensor], form: ViewFormat, dtype: Dtype) -> Tensor:
    """(B, C) float32 softmax of the mean logits over an image's views, in the arithmetic of inference.

    Args:
        inputs: (V·B, …) views, or what the frozen groups made of them.
    """
    with autocast(form.device, dtype):
        found = logits(inputs)
    return torch.softmax(form.averaged(found.float()), dim=1)


@spanned(Part.FORWARD)
@torch.inference_mode()
def shares_by_head(features: Tensor, head: Callable[[Tensor], Tensor]) -> Tensor:
    """(B, C) float32 softmax of a head on (B, D) features, in float32 whatever the trunk's arithmetic."""
    return torch.softmax(head(features).float(), dim=1)
