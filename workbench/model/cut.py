"""Cutting a classifier in two: the lowest groups, which never change while training, and what follows."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from workbench.compute import Dtype, exact_float32
from workbench.model.backbones import JoinedTrunk
from workbench.model.classifier import ImageClassifier, noisy_modules
from workbench.model.finetune import Tuning, is_trunk_fixed

FOLDING = 2
"""Names this way of computing features; raised when it changes, so that kept features are computed anew."""

# Of float32's rounding through a deep network, thousandfold: a batch norm that was put into the wrong
# convolution is off by far more.
_TOLERANCE = 1e-3


def frozen_copy(module: nn.Module, image_size: int, dtype: Dtype) -> nn.Module:
    """A copy of a module that nothing changes any more, for passes in `dtype`: folded in fp32 alone.

    bf16 rounds each weight (fp16, too), and folded weights to other values: features would move by 2e-2 of
    their norm, which a small iterative run turns into points of accuracy.
    """
    if isinstance(module, JoinedTrunk):
        # Each as it would be alone: kept features are shared with runs of one trunk.
        return module.with_trunks([frozen_copy(trunk, image_size, dtype) for trunk in module.trunks]).eval()
    return folded(module, image_size) if dtype == "fp32" else copy.deepcopy(module).eval()


def folded(trunk: nn.Module, image_size: int) -> nn.Module:
    """A copy of `trunk` for evaluation whose batch norms with fixed statistics are parts of convolutions.

    y = γ(Wx − μ)/σ + β is one convolution with weights γW/σ and bias β − γμ/σ. In float32 features agree to
    rounding (about 1e-6 of their norm).

    Which batch norm follows which convolution is read off the order of a module's children and proved on an
    image; a network of which that is not true (or that has none) is copied as it is.
    """
    plain = copy.deepcopy(trunk).eval()
    twin = copy.deepcopy(plain)
    if not _fold_children(twin):
        return plain
    reference = next(trunk.parameters())
    random = torch.Generator().manual_seed(0)
    image = torch.randn(1, 3, image_size, image_size, generator=random).to(reference.device)
    with torch.inference_mode(), exact_float32():  # TF32's 10 bits would refuse what is right
        expected, found = plain(image), twin(image)
    if not torch.linalg.vector_norm(found - expected) <= _TOLERANCE * torch.linalg.vector_norm(expected):
        return plain
    return twin.eval().to(memory_format=torch.channels_last)


def _fold_children(module: nn.Module) -> int:
    """Fold what can be under `module`, in place; returns how many batch norms are gone."""
    count = 0
    before_name, before = "", None
    for name, child in list(module.named_children()):
        if (
            isinstance(child, nn.BatchNorm2d)
            and child.track_running_stats
            and isinstance(before, nn.Conv2d)
            and before.out_channels == child.num_features
        ):
            setattr(module, before_name, fuse_conv_bn_eval(before, child))
            setattr(module, name, nn.Identity())
            count += 1
        else:
            count += _fold_children(child)
        before_name, before = name, child
    return count


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a classifier is cut. It names modules and holds none, so one cut fits all copies of a network."""

    groups: tuple[str, ...]
    """Names of the groups below, input to output."""
    below: tuple[str, ...]
    """The trunk's modules below, in the order in which they run; ("",) is the whole trunk."""
    above: tuple[str, ...]
    """Those that follow, before the tail."""
    tail: Callable[[nn.Module, Tensor], Tensor]
    """As in `Chain`."""

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
    their modules one after the other are cut (`Chain`).

    Args:
        tuning: what `tune` made of the classifier.
    """
    frozen = {group.name for group in tuning.groups if group.is_frozen}
    if is_trunk_fixed(classifier):
        return Cut(tuple(group.name for group in classifier.groups[:-1]), _WHOLE, (), lambda _, maps: maps)
    chain = classifier.chain
    if chain is None:
        return None
    names = chain.modules
    owners = [
        {group.name for group in classifier.groups if _meet(group.parts, f"trunk.{name}")} for name in names
    ]
    first = next((number for number, owner in enumerate(owners) if not owner <= frozen), len(names))
    below = set().union(*owners[:first])
    groups = tuple(group.name for group in classifier.groups if group.name in below)
    return Cut(groups, names[:first], names[first:], chain.tail) if groups else None


_WHOLE = ("",)


def _meet(parts: tuple[str, ...], module: str) -> bool:
    """Whether one of a group's parts is the module, within it or around it."""
    return any(f"{part}.".startswith(f"{module}.") or f"{module}.".startswith(f"{part}.") for part in parts)
