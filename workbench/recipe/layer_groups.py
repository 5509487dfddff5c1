"""What a recipe may say of a backbone's layer groups: which learn, which norms, which rates. No torch."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import workbench
from workbench.recipe.model import Finetune, Optimizer, is_weights_file
from workbench.recipe.schema import Recipe
from workbench.support.caches import read_json_cache, write_json_cache
from workbench.support.clean import clean
from workbench.support.digests import file_sha256, fingerprint
from workbench.support.errors import UserError, nearest
from workbench.support.paths import cache_home
from workbench.support.plugins import installed_plugins

_PACKAGES = ("torch", "torchvision", "timm")
"""Whose networks they are."""
# The recipe's bound on learning_rate.
_HIGHEST_RATE = 10.0


@dataclass(frozen=True, slots=True)
class LayerGroups:
    """The layer groups of a backbone with its head, input to output, and which of them have norms."""

    backbone: str
    names: tuple[str, ...]
    batch_normed: tuple[str, ...]
    layer_normed: tuple[str, ...]
    """With layer, group or RMS norms."""


@dataclass(frozen=True, slots=True)
class GroupChoice:
    """Names of the groups whose weights learn, whose norms learn, whose statistics update."""

    layers: frozenset[str]
    batch_norm: frozenset[str]
    statistics: frozenset[str]
    layer_norm: frozenset[str]

    @property
    def learning(self) -> frozenset[str]:
        """Groups of which some parameter learns."""
        return self.layers | self.batch_norm | self.layer_norm

    def above(self, boundary: Collection[str]) -> GroupChoice:
        """The choice among the groups of `boundary` alone."""
        allowed = frozenset(boundary)
        return GroupChoice(
            self.layers & allowed,
            self.batch_norm & allowed,
            self.statistics & allowed,
            self.layer_norm & allowed,
        )


def choose_groups(groups: LayerGroups, finetune: Finetune) -> GroupChoice:
    """What [finetune] means for a backbone.

    Raises:
        UserError: if a name is not a group's, a group named in a list of norms has none, or `layer_norm` is
            set for a network without any.
    """
    named = (
        ("head",)
        if finetune.layers == "head"
        else groups.names
        if finetune.layers == "all"
        else finetune.layers
    )
    layers = _known(named, groups.names, where="finetune.layers")

    def norms(value: str | tuple[str, ...], normed: tuple[str, ...], kind: str, where: str) -> frozenset[str]:
        if isinstance(value, tuple):
            chosen = _known(value, groups.names, where=where)
            without = sorted(chosen - set(normed))
            if without:
                raise UserError(
                    f"{', '.join(without)}: no {kind} norms in there",
                    where=where,
                    allowed=normed or f"{groups.backbone} has no {kind} norms",
                )
            return chosen
        return {"all": frozenset(normed), "tuned": layers & set(normed), "frozen": frozenset[str]()}[value]

    scale_and_shift = norms(finetune.batch_norm, groups.batch_normed, "batch", "finetune.batch_norm")
    wanted = finetune.batch_norm_statistics
    statistics = (
        scale_and_shift
        if wanted == "same"
        else norms(wanted, groups.batch_normed, "batch", "finetune.batch_norm_statistics")
    )
    if finetune.layer_norm != "tuned" and not groups.layer_normed:
        raise UserError(
            f"{groups.backbone} has no layer norms",
            where="finetune.layer_norm",
            allowed='"tuned", which then means nothing',
            hint="its norms are batch norms: finetune.batch_norm" if groups.batch_normed else "",
        )
    layer_norm = norms(finetune.layer_norm, groups.layer_normed, "layer", "finetune.layer_norm")
    return GroupChoice(layers, scale_and_shift, statistics, layer_norm)


def rates_of(groups: LayerGroups, optimizer: Optimizer, finetune: Finetune | None = None) -> dict[str, float]:
    """The highest learning rate of every layer group, input to output.

    `layer_decay` d gives the head the recipe's rate and the group i steps below it d^i of that (Clark et al.
    2020); `layer_rates` overrides it group by group.

    Args:
        finetune: if given, a rate for a group in which nothing ever learns is refused.

    Raises:
        UserError: if `layer_rates` names no group of this backbone, or has a rate outside (0, 10].
    """
    for name, rate in optimizer.layer_rates.items():
        _known([name], groups.names, where=f"optimizer.layer_rates.{name}")
        if not 0 < rate <= _HIGHEST_RATE:
            raise UserError(
                f"{rate} is no learning rate",
                where=f"optimizer.layer_rates.{name}",
                allowed=f"above 0, at most {_HIGHEST_RATE:g}; to freeze one, leave it out of finetune.layers",
            )
    if finetune is not None:
        learning = choose_groups(groups, finetune).learning
        idle = [name for name in optimizer.layer_rates if name not in learning]
        if idle:
            raise UserError(
                f"nothing in {', '.join(idle)} learns, so a rate has no effect",
                where=f"optimizer.layer_rates.{idle[0]}",
                allowed=[name for name in groups.names if name in learning],
                hint="add the group to finetune.layers, or take its rate out",
            )
    decay = 1.0 if optimizer.layer_decay is None else optimizer.layer_decay
    top = len(groups.names) - 1
    return {
        name: optimizer.layer_rates.get(name, optimizer.learning_rate * decay ** (top - depth))
        for depth, name in enumerate(groups.names)
    }


def kept_groups(recipe: Recipe, look: Callable[[Recipe], LayerGroups]) -> LayerGroups:
    """The layer groups of a recipe's network; from the cache if that has been asked before, else by `look`.

    What `look` says hangs on the [model], the sizes of views, and the code of the networks, which are the
    cache's key; so a refusal is kept too.

    Args:
        look: knows networks, and loads torch for it.

    Raises:
        UserError: as `look`, such as for a backbone that there is not.
    """
    file = kept_file(_asked_of(recipe))
    with contextlib.suppress(KeyError, TypeError, AttributeError):
        return _kept(read_json_cache(file))
    try:
        groups = look(recipe)
    except UserError as error:
        refusal = {"what": error.what, "where": error.where, "allowed": error.allowed, "hint": error.hint}
        if error.where in ("model.backbone", "data.image_size", "training.progressive"):
            write_json_cache(file, {"refusal": refusal})
        raise
    write_json_cache(file, asdict(groups))
    return groups


def _kept(values: dict[str, object]) -> LayerGroups:
    refusal = values.get("refusal")
    if isinstance(refusal, dict):
        words = {key: str(refusal[key]) for key in ("where", "allowed", "hint")}
        raise UserError(str(refusal["what"]), **words)
    lists = {}
    for key in ("names", "batch_normed", "layer_normed"):
        listed = values[key]
        if not isinstance(listed, list):
            raise TypeError(key)
        lists[key] = tuple(map(str, listed))
    return LayerGroups(str(values["backbone"]), **lists)


def kept_file(asked: Sequence[object]) -> Path:
    """Where the answer to a question about networks is kept, for as long as their code is the same."""
    return cache_home() / "networks" / f"{fingerprint([_code(), *asked])}.sealed"


def _asked_of(recipe: Recipe) -> list[object]:
    model = recipe.model
    weights = "default" if model.weights == "none" or is_weights_file(model.weights) else model.weights
    sides = sorted(recipe.view_sides) if recipe.training.progressive else []
    noisy = model.stochastic_depth > 0
    return [list(model.backbones), weights, noisy, recipe.data.image_size, sides]


@functools.cache
def _code() -> str:
    """A fingerprint of what decides which networks there are and what their groups are called."""
    packages = {}
    for package in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            packages[package] = version(package)
    files = sorted((Path(workbench.__file__).parent / "model").rglob("*.py"))
    others = [str(plugin) for plugin in installed_plugins("petbench.backbones")]
    return fingerprint([packages, others, [file_sha256(file) for file in files]])


def _known(names: Collection[str], groups: tuple[str, ...], *, where: str) -> frozenset[str]:
    for name in names:
        if name not in groups:
            near = nearest(name, groups)
            raise UserError(
                f"no layer group named {clean(name, 80)!r} in this backbone",
                where=where,
                allowed=groups,
                hint=f"did you mean {near}?" if near else "",
            )
    return frozenset(names)
