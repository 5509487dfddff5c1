"""What a family of networks hands over: a trunk that returns features, and its layer groups in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

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
        discards: name prefixes of published tensors that have no place here: the old head, auxiliary heads.
        translate: renames a published layout's tensors to the trunk's.
    """

    name: str
    trunk: nn.Module
    feature_width: int
    groups: tuple[LayerGroup, ...]
    native_size: int
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD
    discards: tuple[str, ...] = ()
    translate: Callable[[Tensors], Tensors] = _as_they_are
