"""From `[model]` of a recipe to a classifier: the right family, a seeded head, weights, noise."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from workbench.model.classifier import (
    Architecture,
    ImageClassifier,
    LayerGroup,
    PublishedHead,
    Tensors,
    TrunkPart,
    check_size,
    set_noise,
)
from workbench.model.family import family_of
from workbench.model.weights import load_weights, read_entries
from workbench.recipe import Model
from workbench.recipe.model import is_weights_file
from workbench.support.errors import UserError

_SCALES = "scales"
_DIGITS = 3
"""Of a scale: features whose last bits differ, as on another machine, give the very same scales."""


class JoinedTrunk(nn.Module):
    """The same images through every trunk -> their features one after the other, each times its scale.

    Images come normalised for the first trunk; the others get them as their own weights want them. Scales are
    1 until `balance` sets them, and belong to the state dict: whoever loads a run's weights has them.

    Args:
        classifiers: whose trunks they are, in the order of their features.
    """

    scales: Tensor
    """(T,) float32."""

    def __init__(self, classifiers: Sequence[ImageClassifier]) -> None:
        super().__init__()
        self.trunks = nn.ModuleList(classifier.trunk for classifier in classifiers)
        self.published = tuple(classifier.published_head for classifier in classifiers)
        self._adapts = tuple(_adaptation(classifiers[0], own) for own in classifiers)
        self.register_buffer(_SCALES, torch.ones(len(classifiers)))

    @property
    def published_head(self) -> PublishedHead | None:
        """One whose logits are the mean of the trunks' own, from features scaled as they now are.

        None where one came without its head, or theirs are of other classes.
        """
        known = [head for head in self.published if head is not None]
        if len(known) < len(self.published) or len({len(head.bias) for head in known}) > 1:
            return None
        scales = [float(f"{scale:.{_DIGITS}g}") for scale in self.scales.tolist()]
        weights = [head.weight / (scale * len(known)) for head, scale in zip(known, scales, strict=True)]
        return PublishedHead(
            torch.cat(weights, dim=1), torch.stack([head.bias for head in known]).mean(dim=0)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, D) of images (B, 3, H, W) float32, normalised as the first trunk has them."""
        return self.join(
            [
                trunk(images if adapt is None else _adapted(images, *adapt))
                for trunk, adapt in zip(self.trunks, self._adapts, strict=True)
            ]
        )

    def join(self, features: Sequence[Tensor]) -> Tensor:
        """(N, D) of what each trunk by itself makes of the same images, (N, D_t) each."""
        scales = self.scales.to(features[0].device)
        return torch.cat([own * scale for own, scale in zip(features, scales, strict=True)], dim=1)

    def with_trunks(self, trunks: Sequence[nn.Module]) -> JoinedTrunk:
        """A twin of other trunks that compute the same features, such as faster ones."""
        twin = JoinedTrunk.__new__(JoinedTrunk)
        nn.Module.__init__(twin)
        twin.trunks = nn.ModuleList(trunks)
        twin.published, twin._adapts = self.published, self._adapts
        twin.register_buffer(_SCALES, self.scales.clone())
        return twin


def joined(classifiers: Sequence[ImageClassifier]) -> Architecture:
    """The trunks of several classifiers as one, each a layer group that is named for its backbone."""
    first, last = classifiers[0], len(classifiers) - 1
    paths = [f"trunks.{number}" for number in range(len(classifiers))]
    return Architecture(
        name="+".join(own.backbone for own in classifiers),
        trunk=JoinedTrunk(classifiers),
        feature_width=sum(own.feature_width for own in classifiers),
        groups=tuple(
            LayerGroup(own.backbone, (path, _SCALES) if path == paths[last] else (path,))
            for own, path in zip(classifiers, paths, strict=True)
        ),
        native_size=max(own.native_size for own in classifiers),
        any_size=all(own.any_size for own in classifiers),
        mean=first.mean,
        std=first.std,
        parts=tuple(
            TrunkPart(own.backbone, path, own.feature_width, own.mean, own.std)
            for own, path in zip(classifiers, paths, strict=True)
        ),
    )


@torch.no_grad()
def balance(classifier: ImageClassifier, features: Sequence[Tensor]) -> None:
    """Scale the trunks of a joined classifier so that all count alike; of a single trunk nothing changes.

    The features of every trunk get one mean norm, and all together the first's own: a head sees vectors as
    long as those of the first trunk alone, so a learning rate and a weight decay that suit one trunk suit
    several.

    Args:
        features: what each trunk by itself makes of images that stand for all, (N, D_t) each.
    """
    trunk = classifier.trunk
    if not isinstance(trunk, JoinedTrunk):
        return
    norms = [float(torch.linalg.vector_norm(own.double(), dim=1).mean()) for own in features]
    wanted = norms[0] / len(norms) ** 0.5
    scales = [float(f"{wanted / norm:.{_DIGITS}g}") if norm > 0 else 1.0 for norm in norms]
    trunk.scales.copy_(torch.tensor(scales))


_Adaptation = tuple[tuple[float, ...], tuple[float, ...]] | None
"""(factor, summand) of each channel; None where nothing changes."""


def _adaptation(first: ImageClassifier, own: ImageClassifier) -> _Adaptation:
    """From the first one's normalisation to a trunk's own: (x·s₀ + m₀ − m) / s."""
    if (own.mean, own.std) == (first.mean, first.std):
        return None
    factors = tuple(s0 / s for s0, s in zip(first.std, own.std, strict=True))
    summands = tuple((m0 - m) / s for m0, m, s in zip(first.mean, own.mean, own.std, strict=True))
    return factors, summands


def _adapted(images: Tensor, factors: Sequence[float], summands: Sequence[float]) -> Tensor:
    shape = (1, 3, 1, 1)
    factor = images.new_tensor(factors).view(shape)
    return torch.addcmul(images.new_tensor(summands).view(shape), images, factor)


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
    if len(model.backbones) > 1:
        return _joined(
            model,
            classes,
            seed,
            [
                build(model.single(name), classes, seed=seed, pretrained=pretrained, image_size=image_size)
                for name in model.backbones
            ],
        )
    loads = pretrained and model.weights != "none"
    (name,) = model.backbones
    family = family_of(name)
    with _seeded(seed):
        architecture = family.architecture(name, model.weights, image_size=image_size, initialise=not loads)
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
    if len(model.backbones) > 1:
        singles = [skeleton(model.single(name), classes, image_size=image_size) for name in model.backbones]
        with _MetaTensors():
            return _joined(model, classes, 0, singles).to("meta")
    (name,) = model.backbones
    family = family_of(name)
    with _MetaTensors():
        architecture = family.architecture(name, model.weights, image_size=image_size, initialise=False)
        classifier = ImageClassifier(architecture, classes, dropout=model.dropout)
    classifier.to("meta")
    set_noise(classifier, model.dropout, model.stochastic_depth)
    if image_size is not None:
        _refuse_size(classifier, image_size)
    return classifier.train()


def _joined(model: Model, classes: int, seed: int, singles: Sequence[ImageClassifier]) -> ImageClassifier:
    """A head on the features of several backbones' trunks."""
    with _seeded(seed):
        classifier = ImageClassifier(joined(singles), classes, dropout=model.dropout)
    classifier.weights_notes = tuple(note for single in singles for note in single.weights_notes)
    return classifier.train()


def _entries(model: Model) -> tuple[dict[str, Tensors], str]:
    """The weights that the recipe names, and what to call them in an error."""
    (name,), weights = model.backbones, model.weights
    if is_weights_file(weights):
        path = Path(weights).expanduser()
        return read_entries(path), str(path)
    return {"": family_of(name).tensors(name, weights)}, f"{name} {weights}"


def _refuse_size(classifier: ImageClassifier, size: int) -> None:
    try:
        check_size(classifier, size)
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
