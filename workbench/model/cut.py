"""Cutting a classifier in two: the lowest groups, which never change while training, and what follows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision import models

from workbench.model.classifier import ImageClassifier
from workbench.model.finetune import Tuning, is_trunk_fixed
from workbench.model.lite import EfficientNetLite
from workbench.model.noise import noisy_modules

Tail = Callable[[nn.Module, Tensor], Tensor]
"""(trunk, the last layer's maps) -> features (B, D)."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a classifier is cut. It names modules and holds none, so one cut fits all copies of a network."""

    groups: tuple[str, ...]
    """Names of the groups below, input to output."""
    below: tuple[str, ...]
    """The trunk's modules below, in the order in which they run; ("",) is the whole trunk."""
    above: tuple[str, ...]
    """Those that follow, before the tail."""
    tail: Tail

    @property
    def is_at_features(self) -> bool:
        """Whether nothing but the head follows."""
        return self.below == _WHOLE

    def prefix(self, classifier: ImageClassifier) -> nn.Sequential:
        """What is below, as one module: images (B, 3, H, W) -> maps (B, C, h, w), or features (B, D)."""
        return nn.Sequential(*(classifier.trunk.get_submodule(name) for name in self.below))

    def is_quiet(self, classifier: ImageClassifier) -> bool:
        """Whether nothing below adds noise while training, as things are set now."""
        noisy = noisy_modules(self.prefix(classifier))
        return all(classifier.is_held(module) for module in noisy)

    def features(self, classifier: ImageClassifier, maps: Tensor) -> Tensor:
        """Features (B, D) of what the prefix returned."""
        classifier.keep_held()
        for name in self.above:
            maps = classifier.trunk.get_submodule(name)(maps)
        return self.tail(classifier.trunk, maps)

    def logits(self, classifier: ImageClassifier, maps: Tensor) -> Tensor:
        """Logits (B, C) of what the prefix returned."""
        logits: Tensor = classifier.head(self.features(classifier, maps))
        return logits


def find_cut(classifier: ImageClassifier, tuning: Tuning) -> Cut | None:
    """The highest cut below which every group is frozen; None where nothing is, or where it is not known how.

    A trunk of any kind whose features are fixed is cut at them. Above that, only trunks that are known to run
    their modules one after the other are cut: torchvision's ResNet (also ResNeXt, Wide ResNet), EfficientNet
    and MobileNetV2, and EfficientNet-Lite.

    Args:
        tuning: what `tune` made of the classifier.
    """
    frozen = {group.name for group in tuning.groups if group.is_frozen}
    if is_trunk_fixed(classifier):
        return Cut(tuple(group.name for group in classifier.groups[:-1]), _WHOLE, (), lambda _, maps: maps)
    chain = _chain(classifier.trunk)
    if chain is None:
        return None
    names, tail = chain
    owners = [
        {group.name for group in classifier.groups if _meet(group.parts, f"trunk.{name}")} for name in names
    ]
    first = next((number for number, owner in enumerate(owners) if not owner <= frozen), len(names))
    below = set().union(*owners[:first])
    groups = tuple(group.name for group in classifier.groups if group.name in below)
    return Cut(groups, names[:first], names[first:], tail) if groups else None


_WHOLE = ("",)


def _meet(parts: tuple[str, ...], module: str) -> bool:
    """Whether one of a group's parts is the module, within it or around it."""
    return any(f"{part}.".startswith(f"{module}.") or f"{module}.".startswith(f"{part}.") for part in parts)


def _chain(trunk: nn.Module) -> tuple[tuple[str, ...], Tail] | None:
    """(the modules that the trunk runs one after the other, what it does then); None: not such a trunk.

    Exact types: a class that inherits may run them in another way.
    """
    if type(trunk) is models.ResNet:
        return ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"), _resnet_tail
    if type(trunk) is EfficientNetLite:
        stages = tuple(f"stages.{number}" for number in range(len(trunk.stages)))
        return ("stem", *stages, "conv_head"), _lite_tail
    if type(trunk) is models.EfficientNet:
        return _features_of(trunk), _efficientnet_tail
    if type(trunk) is models.MobileNetV2:
        return _features_of(trunk), _mobilenet_tail
    return None


def _features_of(trunk: nn.Module) -> tuple[str, ...]:
    return tuple(f"features.{name}" for name, _ in trunk.get_submodule("features").named_children())


def _resnet_tail(trunk: nn.Module, maps: Tensor) -> Tensor:
    features: Tensor = trunk.get_submodule("fc")(trunk.get_submodule("avgpool")(maps).flatten(1))
    return features


def _lite_tail(trunk: nn.Module, maps: Tensor) -> Tensor:
    pooled: Tensor = trunk.get_submodule("pool")(maps)
    return pooled.flatten(1)


def _efficientnet_tail(trunk: nn.Module, maps: Tensor) -> Tensor:
    features: Tensor = trunk.get_submodule("classifier")(trunk.get_submodule("avgpool")(maps).flatten(1))
    return features


def _mobilenet_tail(trunk: nn.Module, maps: Tensor) -> Tensor:
    pooled = torch.nn.functional.adaptive_avg_pool2d(maps, (1, 1)).flatten(1)
    features: Tensor = trunk.get_submodule("classifier")(pooled)
    return features
