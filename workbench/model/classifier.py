"""A backbone with a fresh head, which keeps its frozen batch norms frozen also in training mode."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeGuard, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from workbench.support.errors import UserError


class StochasticDepth(nn.Module):
    """Drops a residual branch of each image with probability `p` in training, and enlarges those it keeps
    (Huang et al. 2016).

    It draws and computes as torchvision's class of that name, whose import costs as much as half of torch's.
    """

    def __init__(self, p: float = 0.0) -> None:
        super().__init__()
        self.p = p

    def forward(self, branch: Tensor) -> Tensor:
        """(B, …) -> the same shape."""
        if not self.training or self.p == 0:
            return branch
        kept = torch.empty([len(branch)] + [1] * (branch.ndim - 1), dtype=branch.dtype, device=branch.device)
        kept.bernoulli_(1 - self.p)
        return branch * (kept.div_(1 - self.p) if self.p < 1 else kept)


def is_stochastic_depth(module: object) -> TypeGuard[StochasticDepth]:
    """Whether the module is one of ours, or of torchvision's networks."""
    return type(module).__name__ == StochasticDepth.__name__


_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
_TIMMS_NORMS = ("RmsNorm", "SimpleNorm")
"""How the names of timm's own classes of that kind begin."""

Tensors = Mapping[str, Tensor]
Triple = tuple[float, float, float]

IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class LayerGroup:
    """A named slice of a network that is frozen, tuned and given a learning rate as one.

    Args:
        name: what recipes call it, such as "layer4".
        parts: dotted names of modules or tensors under the root that the group is used with; everything below
            a named module belongs to the group.
    """

    name: str
    parts: tuple[str, ...]

    def holds(self, dotted: str) -> bool:
        """Whether the module or tensor of that dotted name belongs to this group."""
        return any(dotted == part or dotted.startswith(f"{part}.") for part in self.parts)

    def named_parameters(self, root: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
        """(dotted name, parameter) of the group, in the root's order."""
        return ((name, value) for name, value in root.named_parameters() if self.holds(name))

    def named_modules(self, root: nn.Module) -> Iterator[tuple[str, nn.Module]]:
        """(dotted name, module) of the group, in the root's order."""
        return ((name, module) for name, module in root.named_modules() if self.holds(name))

    def batch_norms(self, root: nn.Module) -> list[tuple[str, _BatchNorm]]:
        """(dotted name, module) of the group's batch norms, in the root's order."""
        return [(name, module) for name, module in self.named_modules(root) if isinstance(module, _BatchNorm)]

    def layer_norms(self, root: nn.Module) -> list[tuple[str, nn.Module]]:
        """(dotted name, module) of the group's layer, group and RMS norms, in the root's order."""
        return [
            (name, module)
            for name, module in self.named_modules(root)
            if isinstance(module, _NORMS) or type(module).__name__.startswith(_TIMMS_NORMS)
            if any(True for _ in module.parameters(recurse=False))
        ]

    def parameter_count(self, root: nn.Module) -> int:
        """Number of scalars in the group's parameters."""
        return sum(value.numel() for _, value in self.named_parameters(root))

    def under(self, prefix: str) -> LayerGroup:
        """The same group seen from a module that holds the present root as `prefix`."""
        return LayerGroup(self.name, tuple(f"{prefix}.{part}" for part in self.parts))


@dataclass(frozen=True, slots=True)
class TrunkPart:
    """A published trunk whose features a classifier sees; most see one alone, which is the trunk itself."""

    backbone: str
    path: str
    """The module's dotted name in the classifier's trunk; "" for the whole."""
    feature_width: int
    mean: Triple
    std: Triple
    """How its own weights want pixels normalised."""


@dataclass(frozen=True, slots=True)
class Chain:
    """Modules of a trunk that run one after the other, and what it does then: it can be cut between them."""

    modules: tuple[str, ...]
    """Their dotted names under the trunk."""
    tail: Callable[[nn.Module, Tensor], Tensor]
    """(trunk, the last module's maps) -> features (B, D)."""


def _as_they_are(tensors: Tensors) -> Tensors:
    return tensors


@dataclass(frozen=True, slots=True)
class Architecture:
    """A backbone without its head, and what must be known to feed it, tune it and load weights into it.

    Args:
        name: as in `model.backbone`.
        trunk: images (B, 3, H, W) float32, normalised -> features (B, feature_width) float32.
        groups: input to output, without the head; parts are names under `trunk`.
        mean, std: of the RGB channels in [0, 1] that the published weights were trained with.
        native_size: side in pixels of the images that the published weights were trained for.
        any_size: images of every size from one pixel up can be taken, so that nobody need try: a try loads
            torch's compiler, two seconds of it.
        discards: name prefixes of published tensors that have no place here: the old head, auxiliary heads.
        translate: renames a published layout's tensors to the trunk's.
        parts: the trunks that it is made of, where these are several.
        chain: how it may be cut, if it may: what frozen groups make of an image can then be kept.
    """

    name: str
    trunk: nn.Module
    feature_width: int
    groups: tuple[LayerGroup, ...]
    native_size: int
    any_size: bool = False
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD
    discards: tuple[str, ...] = ()
    translate: Callable[[Tensors], Tensors] = _as_they_are
    parts: tuple[TrunkPart, ...] = ()
    chain: Chain | None = None


@dataclass(frozen=True, slots=True)
class PublishedHead:
    """The classifier that was published with a trunk's weights; nothing trains it."""

    weight: Tensor
    """(K, D) float32 on the CPU."""
    bias: Tensor
    """(K,) float32 on the CPU."""


@runtime_checkable
class HeadedTrunk(Protocol):
    """A trunk that knows the published head itself, such as several side by side, whose scales decide it."""

    @property
    def published_head(self) -> PublishedHead | None: ...


class ImageClassifier(nn.Module):
    """trunk -> dropout -> linear.

    `state_dict` keys begin with `trunk.` (the backbone's own names follow), `head.linear.weight` (C, D) and
    `head.linear.bias` (C,). They do not depend on what is frozen or on the noise.

    Attributes:
        trunk: images (B, 3, H, W) float32, normalised by `mean` and `std` -> features (B, D).
        head: dropout and linear layer, features (B, D) -> logits (B, C).
        groups: input to output, the last is "head"; every parameter and buffer is in exactly one.
        backbone, mean, std, feature_width, native_size, any_size, chain: see `Architecture`.
        parts: the trunks whose features these are, in their order; a single one for most.
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
        self.any_size = architecture.any_size
        self.chain = architecture.chain
        self.parts = architecture.parts or (
            TrunkPart(self.backbone, "", self.feature_width, self.mean, self.std),
        )
        self._published_head: PublishedHead | None = None
        self.weights_notes: tuple[str, ...] = ()
        self._held: list[nn.Module] = []
        _refuse_gaps(self)

    @property
    def published_head(self) -> PublishedHead | None:
        """The old head, where the weights came with one, for features as the trunk now scales them."""
        return self.trunk.published_head if isinstance(self.trunk, HeadedTrunk) else self._published_head

    @published_head.setter
    def published_head(self, head: PublishedHead | None) -> None:
        self._published_head = head

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


def check_size(classifier: ImageClassifier, size: int) -> None:
    """See that the network takes images of `size` pixels a side.

    Raises:
        RuntimeError, AssertionError, ValueError: whatever the trunk raises for a size that it cannot take.
    """
    if not classifier.any_size:
        outputs_at(classifier, size)


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
        if is_stochastic_depth(module):
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
        if (isinstance(module, _DropoutNd) or is_stochastic_depth(module)) and float(module.p) > 0
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
                if not is_stochastic_depth(getattr(block, slot)):
                    setattr(block, slot, StochasticDepth())
        paths = [path for slot in slots if is_stochastic_depth(path := getattr(block, slot))]
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
    drop_path = StochasticDepth()
    block.add_module("drop_path", drop_path)
    for name in branches:
        block.get_submodule(name).register_forward_hook(_DropBranch(drop_path))
    return ["drop_path"]
