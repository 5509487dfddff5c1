"""A plain loop in the manner of torchvision's references/classification: what most people's first one is.

ImageFolder, PIL decoding, v2 transforms, a DataLoader with a worker a core, cross-entropy, and the loss and
accuracy read back every step for the meters. fp32, or with `--amp` under autocast. Kinder to it than the
references: worker processes are kept between epochs.
"""

from __future__ import annotations

import os

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from benchmarks.contest import CROP_AREA, LEARNING_RATE, Start
from benchmarks.peers.loop import LoaderSide, loss_of, network_of
from workbench.loader.store import stored_side
from workbench.model import ImageClassifier


def plain_side(start: Start, *, amp: bool) -> LoaderSide:
    """Ready to train from the common start."""
    network = network_of(start, channels_last=False)
    side, batch_size = start.terms.side, start.terms.batch_size
    to_tensor = [
        v2.PILToTensor(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(network.mean, network.std),
        v2.ToPureTensor(),
    ]
    training = v2.Compose(
        [v2.RandomResizedCrop(side, scale=CROP_AREA, antialias=True), v2.RandomHorizontalFlip(), *to_tensor]
    )
    validation = v2.Compose([v2.Resize(stored_side(side), antialias=True), v2.CenterCrop(side), *to_tensor])
    tree, cuda = start.root, start.device.type == "cuda"
    workers = os.cpu_count() or 1
    return LoaderSide(
        network=network,
        training=DataLoader(
            ImageFolder(tree / "train", training),
            batch_size,
            shuffle=True,
            num_workers=workers,
            pin_memory=cuda,
            persistent_workers=True,
        ),
        validation=DataLoader(
            ImageFolder(tree / "test", validation),
            batch_size,
            num_workers=workers,
            pin_memory=cuda,
            persistent_workers=True,
        ),
        step=_ReferenceStep(network, amp=amp),
        device=start.device,
        bf16=amp,
        channels_last=False,
    )


class _ReferenceStep:
    """`train_one_epoch`'s body."""

    def __init__(self, network: ImageClassifier, *, amp: bool) -> None:
        self._network = network
        self._optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE)
        self._amp = amp
        self.losses: list[float] = []
        self.accuracies: list[float] = []

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        loss, logits = loss_of(self._network, images, labels, bf16=self._amp)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self.losses.append(loss.item())
        self.accuracies.append((logits.argmax(dim=1) == labels).float().mean().item())
