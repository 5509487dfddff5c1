"""Noise for the student: dropout before the head, stochastic depth in whatever residual blocks there are."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torchvision.ops import StochasticDepth

from workbench.model.classifier import ImageClassifier
from workbench.support.errors import UserError

# Where torchvision's and timm's blocks keep their drop path: a module, or nothing when its rate was 0.
_SLOTS = ("stochastic_depth", "stochastic_dropout", "drop_path", "drop_path1", "drop_path2")
# Blocks without one: the modules whose output is added to the block's input.
_BRANCHES: dict[str, tuple[str, ...]] = {
    "torchvision.models.resnet.BasicBlock": ("bn2",),
    "torchvision.models.resnet.Bottleneck": ("bn3",),
    "torchvision.models.mobilenetv2.InvertedResidual": ("conv",),
    "torchvision.models.mobilenetv3.InvertedResidual": ("block",),
    "torchvision.models.mnasnet._InvertedResidual": ("layers",),
    "torchvision.models.regnet.ResBottleneckBlock": ("f",),
    "torchvision.models.vision_transformer.EncoderBlock": ("dropout", "mlp"),
}
# What blocks call the fact that they add their input; blocks without such a word always do.
_ADDS_INPUT = ("use_res_connect", "apply_residual", "has_skip")


class _DropBranch:
    """A forward hook that sends a residual branch's output through the block's drop path.

    An object, not a closure, so that a deep copy of the network hooks the copy's own drop path.
    """

    def __init__(self, drop_path: nn.Module) -> None:
        self.drop_path = drop_path

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        """The branch's output, with whole samples (first dimension) set to 0 while training."""
        dropped: Tensor = self.drop_path(output)
        return dropped


def set_noise(classifier: ImageClassifier, dropout: float, stochastic_depth: float) -> None:
    """Set the head's dropout and the trunk's stochastic depth, replacing what they were; 0 switches off.

    Block i of n (from 0) drops its residual branch, a sample at a time, with probability
    stochastic_depth · i / (n − 1): the linear decay rule of Huang et al. 2016. Blocks that do not add their
    input are not counted. Parameters, buffers and the names in `state_dict` stay as they are.

    Raises:
        UserError: if stochastic depth is asked of a network without residual blocks.
    """
    head_dropout: Any = classifier.head.get_submodule("dropout")
    head_dropout.p = dropout
    blocks = _drop_paths(classifier.trunk, insert=stochastic_depth > 0)
    if stochastic_depth > 0 and not blocks:
        raise UserError(
            f"{classifier.backbone} has no residual blocks for stochastic depth {stochastic_depth} to act on",
            where="model.stochastic_depth",
            allowed="0 for this backbone",
        )
    for module in classifier.trunk.modules():
        # Also those of blocks that do not add their input, which hold a rate and never use it.
        if isinstance(module, StochasticDepth):
            module.p = 0.0
    last = max(len(blocks) - 1, 1)
    for index, block in enumerate(blocks):
        rate = stochastic_depth * (index / last if len(blocks) > 1 else 1.0)
        for drop_path in block:
            drop_path.p = rate


def noisy_modules(root: nn.Module) -> list[nn.Module]:
    """The modules under `root` that add noise in training mode: dropouts and drop paths with a rate."""
    return [
        module
        for module in root.modules()
        if isinstance(module, _DropoutNd | StochasticDepth) and float(module.p) > 0
    ]


def _drop_paths(trunk: nn.Module, *, insert: bool) -> list[list[Any]]:
    """The drop paths of each residual block, in depth order; made where there are none if `insert`."""
    blocks = []
    for block in list(trunk.modules()):
        if not all(getattr(block, word, True) for word in _ADDS_INPUT):
            continue
        slots = [slot for slot in _SLOTS if _is_slot(block, slot)]
        if insert and not slots:
            slots = _graft(block)
        if insert:
            for slot in slots:
                if not isinstance(getattr(block, slot), StochasticDepth):
                    setattr(block, slot, StochasticDepth(0.0, "row"))
        paths = [getattr(block, slot) for slot in slots if isinstance(getattr(block, slot), StochasticDepth)]
        if paths:
            blocks.append(paths)
    for paths in blocks:
        for path in paths:
            path.train(trunk.training)
    return blocks


def _is_slot(block: nn.Module, name: str) -> bool:
    value = getattr(block, name, _ABSENT)
    # timm's ResNet blocks say None for "no drop path"; others hold an Identity.
    return value is None or isinstance(value, nn.Module)


_ABSENT = object()


def _graft(block: nn.Module) -> list[str]:
    kind = f"{type(block).__module__}.{type(block).__name__}"
    branches = _BRANCHES.get(kind, ())
    if not branches:
        return []
    drop_path = StochasticDepth(0.0, "row")
    block.add_module("drop_path", drop_path)
    for name in branches:
        block.get_submodule(name).register_forward_hook(_DropBranch(drop_path))
    return ["drop_path"]
