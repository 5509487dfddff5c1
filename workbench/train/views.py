"""A run's images as batches of views: augmented for training, plain for looking at them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from workbench.loader import ImageBatches, PoolBatches, Samples, ViewFormat, plain_batches
from workbench.recipe import Augmentation
from workbench.train.features import view_format
from workbench.train.setup import Setup

Ints = NDArray[np.int64]
# Images a forward pass of inference: larger gains nothing on a CPU and little on a GPU.
INFERENCE_BATCH = 64


def form_of(setup: Setup) -> ViewFormat:
    """How a run's network sees an image."""
    return view_format(setup.recipe, setup.classifier, setup.device)


def image_batches(
    setup: Setup,
    samples: Samples,
    augmentation: Augmentation,
    batch_size: int,
    heads: NDArray[np.float32] | None = None,
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
    )


def pool_batches(
    setup: Setup, positions: Ints, weak: Augmentation, strong: Augmentation, batch_size: int
) -> PoolBatches:
    """Batches of two views of each unlabelled image."""
    form = form_of(setup)
    return PoolBatches(setup.store, positions, weak, strong, form, batch_size, setup.recipe.seed)


def plain_images(setup: Setup, positions: Ints) -> Iterator[tuple[Tensor, Ints]]:
    """(views, positions) a batch, in order, for inference; outputs of several views are to be averaged."""
    form = form_of(setup)
    return plain_batches(setup.store, positions, form, form.images_a_pass(INFERENCE_BATCH))
