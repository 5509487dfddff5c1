"""Layer groups of torchvision's networks, by class: where the stem ends and each stage begins."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from torch import nn
from torchvision import models

from workbench.model.architecture import LayerGroup


def torchvision_groups(trunk: nn.Module) -> tuple[LayerGroup, ...]:
    """The groups of a torchvision network whose last linear layer was taken off, input to output.

    Names: ResNets keep layer1 to layer4; other stages are stage1, stage2, …, a transformer's blocks block1,
    …; a layer between stages that halves the image belongs to the stage it leads into. What follows the last
    stage
    and is not the new head has a group of its own: "conv_head" (EfficientNet, MobileNet incl. V3's hidden
    linear layer, MNASNet, ShuffleNet), "norm" (ViT, ConvNeXt, Swin, DenseNet), "pre_logits" (MaxViT), "fc"
    (VGG, AlexNet). A class that is not known here gets one group for each child that has tensors.
    """
    rule = _RULES.get(type(trunk).__name__, _by_children)
    return tuple(LayerGroup(name, tuple(parts)) for name, parts in rule(trunk) if parts)


Named = list[tuple[str, list[str]]]


def _by_children(trunk: nn.Module) -> Named:
    return [(name, [name]) for name, child in trunk.named_children() if child.state_dict()]


def _resnet(trunk: nn.Module) -> Named:
    return [
        ("stem", ["conv1", "bn1"]),
        *((name, [name]) for name in ("layer1", "layer2", "layer3", "layer4")),
    ]


def _at_pools(trunk: nn.Module) -> Named:
    """VGG, AlexNet, SqueezeNet: a stage ends with each max pooling."""
    stages: list[list[str]] = [[]]
    for name, layer in trunk.get_submodule("features").named_children():
        stages[-1].append(f"features.{name}")
        if isinstance(layer, nn.MaxPool2d):
            stages.append([])
    stages = [stage for stage in stages if stage]
    named: Named = _numbered("stage", stages)
    if isinstance(trunk, models.SqueezeNet):
        named = [("stem", stages[0]), *_numbered("stage", stages[1:])]
    return [*named, ("fc", ["classifier"] if trunk.get_submodule("classifier").state_dict() else [])]


def _densenet(trunk: nn.Module) -> Named:
    stages = [
        [f"features.transition{block - 1}", f"features.denseblock{block}"][block == 1 :]
        for block in (1, 2, 3, 4)
    ]
    return [
        ("stem", ["features.conv0", "features.norm0"]),
        *_numbered("stage", stages),
        ("norm", ["features.norm5"]),
    ]


def _by_prefix(*prefixes: tuple[str, str]) -> Callable[[nn.Module], Named]:
    """Children gathered by a pattern of their names: (group, pattern), …"""

    def rule(trunk: nn.Module) -> Named:
        children = [name for name, _ in trunk.named_children()]
        return [
            (group, [name for name in children if re.match(pattern, name)]) for group, pattern in prefixes
        ]

    return rule


def _between_first_and_last(trunk: nn.Module) -> Named:
    """EfficientNet: features = stem, stages, conv_head."""
    names = [f"features.{name}" for name, _ in trunk.get_submodule("features").named_children()]
    return [
        ("stem", names[:1]),
        *_numbered("stage", [[name] for name in names[1:-1]]),
        ("conv_head", names[-1:]),
    ]


def _mobilenet(trunk: nn.Module) -> Named:
    """MobileNet V2 and V3: a stage is a run of blocks of one width, as in the papers' tables."""
    first, *blocks, last = trunk.get_submodule("features").named_children()
    stages: list[list[str]] = []
    width = None
    for name, block in blocks:
        if block.out_channels != width:
            stages.append([])
            width = block.out_channels
        stages[-1].append(f"features.{name}")
    hidden = ["classifier"] if trunk.get_submodule("classifier").state_dict() else []
    return [
        ("stem", [f"features.{first[0]}"]),
        *_numbered("stage", stages),
        ("conv_head", [f"features.{last[0]}", *hidden]),
    ]


def _mnasnet(trunk: nn.Module) -> Named:
    layers = list(trunk.get_submodule("layers").named_children())
    stacks = [int(name) for name, layer in layers if isinstance(layer, nn.Sequential)]
    return [
        ("stem", [f"layers.{index}" for index in range(stacks[0])]),
        *_numbered("stage", [[f"layers.{index}"] for index in stacks]),
        ("conv_head", [f"layers.{index}" for index in range(stacks[-1] + 1, len(layers))]),
    ]


def _regnet(trunk: nn.Module) -> Named:
    blocks = [[f"trunk_output.{name}"] for name, _ in trunk.get_submodule("trunk_output").named_children()]
    return [("stem", ["stem"]), *_numbered("stage", blocks)]


def _with_downsampling(last: str) -> Callable[[nn.Module], Named]:
    """ConvNeXt and Swin: features = stem, stage, downsampling, stage, …"""

    def rule(trunk: nn.Module) -> Named:
        names = [f"features.{name}" for name, _ in trunk.get_submodule("features").named_children()]
        pairs = [names[1:2], *(names[index : index + 2] for index in range(2, len(names), 2))]
        return [("stem", names[:1]), *_numbered("stage", pairs), ("norm", [last])]

    return rule


def _maxvit(trunk: nn.Module) -> Named:
    blocks = [[f"blocks.{name}"] for name, _ in trunk.get_submodule("blocks").named_children()]
    return [("stem", ["stem"]), *_numbered("stage", blocks), ("pre_logits", ["classifier"])]


def _vit(trunk: nn.Module) -> Named:
    blocks = [
        [f"encoder.layers.{name}"] for name, _ in trunk.get_submodule("encoder.layers").named_children()
    ]
    return [
        ("stem", ["conv_proj", "class_token", "encoder.pos_embedding"]),
        *_numbered("block", blocks),
        ("norm", ["encoder.ln"]),
    ]


def _numbered(word: str, parts: Iterable[list[str]]) -> Named:
    return [(f"{word}{number}", part) for number, part in enumerate(parts, 1)]


_RULES: dict[str, Callable[[nn.Module], Named]] = {
    "ResNet": _resnet,
    "VGG": _at_pools,
    "AlexNet": _at_pools,
    "SqueezeNet": _at_pools,
    "DenseNet": _densenet,
    "GoogLeNet": _by_prefix(
        ("stem", "conv"),
        ("inception3", "inception3"),
        ("inception4", "inception4"),
        ("inception5", "inception5"),
    ),
    "Inception3": _by_prefix(
        ("stem", "Conv2d"), ("mixed5", "Mixed_5"), ("mixed6", "Mixed_6"), ("mixed7", "Mixed_7")
    ),
    "ShuffleNetV2": _by_prefix(
        ("stem", "conv1"),
        ("stage2", "stage2"),
        ("stage3", "stage3"),
        ("stage4", "stage4"),
        ("conv_head", "conv5"),
    ),
    "EfficientNet": _between_first_and_last,
    "MobileNetV2": _mobilenet,
    "MobileNetV3": _mobilenet,
    "MNASNet": _mnasnet,
    "RegNet": _regnet,
    "ConvNeXt": _with_downsampling("classifier"),
    "SwinTransformer": _with_downsampling("norm"),
    "MaxVit": _maxvit,
    "VisionTransformer": _vit,
}
