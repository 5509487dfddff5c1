"""A backbone."""

import torch
from torch import Tensor, nn

from workbench.model.classifier import Architecture, Chain, LayerGroup
from workbench.model.family import FAMILIES, BackboneFamily, refuse_weights

WIDTH = 16


class TinyNet(nn.Module):
    """Images (B, 3, H, W) -> features (B, 16)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, WIDTH, 4, stride=4, bias=False), nn.BatchNorm2d(WIDTH), nn.ReLU()
        )
        self.body = nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.GroupNorm(1, WIDTH), nn.ReLU())

    def forward(self, images: Tensor) -> Tensor:
        """The average over all places."""
        return average(self, self.body(self.stem(images)))


def average(trunk: nn.Module, maps: Tensor) -> Tensor:
    """(B, 16, h, w) -> (B, 16)."""
    return torch.mean(maps, dim=(2, 3))


class TinyNets(BackboneFamily):
    """A single network, without published weights."""

    source = "petbench-tiny"

    def names(self) -> tuple[str, ...]:
        """It."""
        return ("tiny_net",)

    def architecture(
        self, name: str, weights: str, *, image_size: int | None, initialise: bool
    ) -> Architecture:
        """For images of any size; its groups can be tuned one by one, and cut between."""
        refuse_weights(name, weights, has_published=False)
        return Architecture(
            name=name,
            trunk=TinyNet(),
            feature_width=WIDTH,
            groups=(LayerGroup("stem", ("stem",)), LayerGroup("body", ("body",))),
            native_size=64,
            chain=Chain(("stem", "body"), average),
        )


FAMILIES.add("tiny", TinyNets())
