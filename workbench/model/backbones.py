"""From `[model]` of a recipe to a classifier: the right family, a seeded head, weights, noise."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from workbench.model.architecture import Architecture, Tensors
from workbench.model.classifier import ImageClassifier, outputs_at
from workbench.model.lite import LITE, lite_architecture, lite_weights_file
from workbench.model.noise import set_noise
from workbench.model.timm_nets import PREFIX, timm_architecture, timm_tensors
from workbench.model.torchvision_nets import (
    published_tensors,
    torchvision_architecture,
    torchvision_names,
)
from workbench.model.weights import load_weights, read_entries, read_tensors
from workbench.recipe import Model
from workbench.recipe.model import is_weights_file
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.nearest import nearest


def build(
    model: Model, classes: int, *, seed: int, pretrained: bool = True, image_size: int | None = None
) -> ImageClassifier:
    """The network on the CPU in float32, in training mode, every parameter learning.

    Args:
        model: which backbone, weights and noise.
        classes: C of the new head.
        seed: of the head's (and, without weights, the trunk's) random values. The global generator is neither
            read nor moved, and the head's values do not depend on the weights.
        pretrained: False leaves the trunk random, for a state dict that will be loaded over it.
        image_size: pixels a side that the network will be fed. Transformers are built for it, others checked
            against it; None: the native size of the weights.

    Raises:
        UserError: if the backbone, its weights, the image size or the noise cannot be had.
    """
    loads = pretrained and model.weights != "none"
    with _seeded(seed):
        architecture = _architecture(model, image_size, initialise=not loads)
    with _seeded(seed):
        classifier = ImageClassifier(architecture, classes, dropout=model.dropout)
    if loads:
        with _weights_key_named(model):
            entries, source = _entries(model)
            load_weights(classifier, architecture, entries, source=source, entry=model.weights_entry)
    set_noise(classifier, model.dropout, model.stochastic_depth)
    if image_size is not None:
        _refuse_size(classifier, image_size)
    return classifier.train()


def skeleton(model: Model, classes: int, *, image_size: int | None = None) -> ImageClassifier:
    """The same network on the meta device: shapes and groups without memory, weights or files.

    Raises:
        UserError: as `build`, but for the weights' content.
    """
    with _MetaTensors():
        architecture = _architecture(model, image_size, initialise=False)
        classifier = ImageClassifier(architecture, classes, dropout=model.dropout)
    classifier.to("meta")
    set_noise(classifier, model.dropout, model.stochastic_depth)
    if image_size is not None:
        _refuse_size(classifier, image_size)
    return classifier.train()


def _architecture(model: Model, image_size: int | None, *, initialise: bool) -> Architecture:
    name = model.backbone
    if name.startswith(PREFIX):
        return timm_architecture(name, model.weights, image_size=image_size)
    if name in LITE:
        return lite_architecture(name, model.weights)
    known = torchvision_names()
    if name not in known:
        near = nearest(name, [*LITE, *known])
        raise UserError(
            f"unknown backbone {clean(name, 80)!r}",
            where="model.backbone",
            hint=(f"did you mean {near}? " if near else "") + "petbench backbones lists them all",
        )
    return torchvision_architecture(name, model.weights, image_size=image_size, initialise=initialise)


def _entries(model: Model) -> tuple[dict[str, Tensors], str]:
    """The weights that the recipe names, and what to call them in an error."""
    name, weights = model.backbone, model.weights
    if is_weights_file(weights):
        path = Path(weights).expanduser()
        return read_entries(path), str(path)
    if name.startswith(PREFIX):
        return {"": timm_tensors(name)}, name
    if name not in LITE:
        return {"": published_tensors(name, weights)}, f"{name} {weights}"
    path = lite_weights_file(name)
    return {"": read_tensors(path)}, str(path)


def _refuse_size(classifier: ImageClassifier, size: int) -> None:
    try:
        outputs_at(classifier, size)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise UserError(
            f"{classifier.backbone} cannot take images of {size} × {size} pixels",
            where="data.image_size",
            hint=f"its own size is {classifier.native_size}",
        ) from error


@contextlib.contextmanager
def _weights_key_named(model: Model) -> Iterator[None]:
    """Within, what is wrong with a file is told of the key that names it, so that its line can be found."""
    try:
        yield
    except UserError as error:
        if not is_weights_file(model.weights) or error.where.startswith("model."):
            raise
        what = f"{error.where}: {error.what}" if error.where else error.what
        raise UserError(what, where="model.weights", allowed=error.allowed, hint=error.hint) from error


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    # The default generator alone: torch.manual_seed would also move every GPU's.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


class _MetaTensors(TorchFunctionMode):
    """New parameters and buffers go to the meta device; arithmetic on ranges, which builders read, does not.

    `with torch.device("meta")` would move that arithmetic too, and RegNet's builder reads its widths from it.
    """

    _factories = frozenset({torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn})

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func in self._factories and kwargs.get("device") is None:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)
