"""timm's data pipeline with its train script's step at its best settings: --amp --amp-dtype bfloat16
--channels-last, where petbench too chose bf16.

The network is the common one, so that only what is around it differs.
"""

from __future__ import annotations

import os

from timm.data.dataset_factory import create_dataset
from timm.data.loader import create_loader
from timm.optim import create_optimizer_v2  # type: ignore[attr-defined]
from torch import Tensor

from benchmarks.contest import CROP_AREA, LEARNING_RATE, Start
from benchmarks.peers.loop import Loader, LoaderSide, loss_of, network_of
from workbench.model import ImageClassifier


def timm_side(start: Start) -> LoaderSide:
    """Ready to train from the common start."""
    network = network_of(start, channels_last=True)
    bf16 = start.training == "bf16"
    return LoaderSide(
        network=network,
        training=_loader(start, network, "train"),
        validation=_loader(start, network, "test"),
        step=_TimmStep(network, bf16=bf16),
        device=start.device,
        bf16=bf16,
        channels_last=True,
    )


def _loader(start: Start, network: ImageClassifier, part: str) -> Loader:
    dataset = create_dataset("", root=str(start.root / part), search_split=False)
    loader: Loader = create_loader(
        dataset,
        input_size=(3, start.terms.side, start.terms.side),
        batch_size=start.terms.batch_size,
        is_training=part == "train",
        use_prefetcher=start.device.type == "cuda",
        device=start.device,
        scale=CROP_AREA,
        hflip=0.5,
        color_jitter=0.0,
        interpolation="bilinear",
        mean=network.mean,
        std=network.std,
        num_workers=os.cpu_count() or 1,
        persistent_workers=True,
    )
    return loader


class _TimmStep:
    """The body of `train_one_epoch` in timm's train.py; the loss stays on the device between log lines."""

    def __init__(self, network: ImageClassifier, *, bf16: bool) -> None:
        self._network = network
        self._optimizer = create_optimizer_v2(network, opt="adamw", lr=LEARNING_RATE)
        self._bf16 = bf16
        self.last_loss: Tensor | None = None

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        loss, _ = loss_of(self._network, images, labels, bf16=self._bf16)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._optimizer.zero_grad()
        self.last_loss = loss.detach()
