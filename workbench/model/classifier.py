"""A backbone with a fresh head, which keeps its frozen batch norms frozen also in training mode."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from workbench.model.architecture import Architecture, LayerGroup


@dataclass(frozen=True, slots=True)
class PublishedHead:
    """The classifier that was published with a trunk's weights; nothing trains it."""

    weight: Tensor
    """(K, D) float32 on the CPU."""
    bias: Tensor
    """(K,) float32 on the CPU."""


class ImageClassifier(nn.Module):
    """trunk -> dropout -> linear.

    `state_dict` keys begin with `trunk.` (the backbone's own names follow), `head.linear.weight` (C, D) and
    `head.linear.bias` (C,). They do not depend on what is frozen or on the noise.

    Attributes:
        trunk: images (B, 3, H, W) float32, normalised by `mean` and `std` -> features (B, D).
        head: dropout and linear layer, features (B, D) -> logits (B, C).
        groups: input to output, the last is "head"; every parameter and buffer is in exactly one.
        backbone, mean, std, feature_width, native_size: see `Architecture`.
        published_head: the old head, where the weights came with one; not in the state dict.
        weights_notes: what to tell of the weights file, such as which of its entries was read.

    Raises:
        ValueError: if a tensor is in no group or in several, or two groups share a name (a fault of the
            family).
    """

    def __init__(self, architecture: Architecture, classes: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.trunk = architecture.trunk
        self.head = nn.Sequential(
            OrderedDict(
                dropout=nn.Dropout(dropout),
                linear=nn.Linear(architecture.feature_width, classes),
            )
        )
        self.groups: tuple[LayerGroup, ...] = (
            *(group.under("trunk") for group in architecture.groups),
            LayerGroup("head", ("head",)),
        )
        self.backbone = architecture.name
        self.mean = architecture.mean
        self.std = architecture.std
        self.feature_width = architecture.feature_width
        self.native_size = architecture.native_size
        self.published_head: PublishedHead | None = None
        self.weights_notes: tuple[str, ...] = ()
        self._held: list[nn.Module] = []
        _refuse_gaps(self)

    @property
    def classes(self) -> int:
        """C, the number of logits."""
        return self.linear.out_features

    @property
    def linear(self) -> nn.Linear:
        """The head's linear layer: features (B, D) -> logits (B, C)."""
        layer = self.head.get_submodule("linear")
        assert isinstance(layer, nn.Linear)
        return layer

    def features(self, images: Tensor) -> Tensor:
        """Pooled features (B, D) of normalised images (B, 3, H, W) float32."""
        self.keep_held()
        features: Tensor = self.trunk(images)  # (B, D)
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, C) of normalised images (B, 3, H, W) float32."""
        logits: Tensor = self.head(self.features(images))  # (B, C)
        return logits

    def train(self, mode: bool = True) -> Self:
        """Training or evaluation mode for all but the held modules, which stay in evaluation mode."""
        super().train(mode)
        for module in self._held:
            module.eval()
        return self

    def hold_in_eval(self, modules: Iterable[nn.Module]) -> None:
        """Keep exactly these modules in evaluation mode from now on, whatever `train` says.

        They are kept by identity: after replacing modules (such as by `SyncBatchNorm.convert_sync_batchnorm`)
        call `tune` again.
        """
        self._held = list(modules)
        self.train(self.training)

    def keep_held(self) -> None:
        """See that the held modules are in evaluation mode; whoever runs the trunk's modules calls it first.

        Somebody may have called train() on a part of the trunk, past our own train().
        """
        for module in self._held:
            if module.training:
                module.eval()

    def is_held(self, module: nn.Module) -> bool:
        """Whether `train` leaves the module in evaluation mode."""
        return any(module is held for held in self._held)


def outputs_at(classifier: ImageClassifier, size: int, *, training: bool = False) -> torch.Size:
    """Shape of the logits for one image of `size` pixels a side, without computing or changing anything.

    Args:
        training: as when the image were a training batch.

    Raises:
        RuntimeError, AssertionError, ValueError: whatever the trunk raises for a size that it cannot take.
    """
    # Not the state dict: it leaves out buffers that are not saved, such as timm's rotary embeddings.
    named = (*classifier.named_parameters(), *classifier.named_buffers())
    shapes = {name: value.detach().to("meta") for name, value in named}
    image = torch.empty(1, 3, size, size, device="meta")
    before = classifier.training
    classifier.train(training)
    try:
        with torch.no_grad():
            logits: Tensor = torch.func.functional_call(classifier, shapes, (image,))
    finally:
        classifier.train(before)
    return logits.shape


def _refuse_gaps(classifier: ImageClassifier) -> None:
    labels = [group.name for group in classifier.groups]
    if len(set(labels)) != len(labels):
        raise ValueError(f"{classifier.backbone}: two layer groups have one name: {labels}")
    names = [name for name, _ in (*classifier.named_parameters(), *classifier.named_buffers())]
    for name in names:
        owners = [group.name for group in classifier.groups if group.holds(name)]
        if len(owners) != 1:
            raise ValueError(f"{classifier.backbone}: tensor {name} is in the groups {owners}, not in one")
