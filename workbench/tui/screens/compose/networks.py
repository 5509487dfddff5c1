"""Backbones as petbench tells of them, and what a recipe's knobs come to on one: norms, groups it lacks."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import workbench
from workbench.recipe.layer_groups import kept_file
from workbench.recipe.problems import Problem
from workbench.support.caches import read_json_cache, write_json_cache
from workbench.support.clean import clean
from workbench.support.errors import UserError, nearest
from workbench.support.units import human_count, in_percent
from workbench.tui.helper import run_petbench, told_problem
from workbench.tui.screens.compose.knob_fields import Values

_BETWEEN = "+"
"""What stands between the names of several backbones side by side."""
_NAMING = (
    "finetune.layers",
    "finetune.batch_norm",
    "finetune.batch_norm_statistics",
    "finetune.layer_norm",
    "optimizer.layer_rates",
)
"""Knobs that name layer groups."""


@dataclass(frozen=True, slots=True)
class LayerGroup:
    """A group of layers that learns or stays as a whole."""

    name: str
    parameters: int
    batch_norms: int
    layer_norms: int
    """Group and RMS norms too."""


@dataclass(frozen=True, slots=True)
class Network:
    """A backbone with a head for 37 classes."""

    name: str
    parameters: int
    native_size: int
    groups: tuple[LayerGroup, ...]

    @property
    def group_names(self) -> list[str]:
        """From the input to the head."""
        return [group.name for group in self.groups]

    def learning(self, layers: object) -> list[str]:
        """The groups that a `finetune.layers` value lets learn."""
        if layers == "all":
            return self.group_names
        wanted = [layers] if isinstance(layers, str) else layers if isinstance(layers, list) else []
        return [name for name in self.group_names if name in wanted]


@dataclass(frozen=True, slots=True)
class BackboneRow:
    """A backbone to choose."""

    name: str
    parameters: int | None
    accuracy: float | None
    """ImageNet top-1 of its default weights."""
    source: str

    @property
    def words(self) -> str:
        """How it reads in a list."""
        size = "" if self.parameters is None else human_count(self.parameters)
        accuracy = "" if self.accuracy is None else f"{in_percent(self.accuracy, 1)} ImageNet"
        return f"{clean(self.name, 34):<34} {size:>9}  {accuracy:<16} {self.source}"


def network_name(backbone: object) -> str | None:
    """What `Network.name` is for a value of `model.backbone`; None for one that cannot be."""
    if isinstance(backbone, list) and all(isinstance(name, str) for name in backbone):
        return _BETWEEN.join(backbone)
    return backbone if isinstance(backbone, str) else None


def cached_network(backbone: str) -> Network | None:
    """What the cache has of a backbone."""
    values = read_json_cache(_file("network", backbone))
    with contextlib.suppress(KeyError, TypeError, ValueError):
        return _network(backbone, values)
    return None


async def fetch_network(backbone: str) -> Network:
    """Ask petbench for a backbone's groups; takes as long as loading torch does.

    Raises:
        UserError: there is no such backbone, or its library is not installed.
    """
    names = backbone.split(_BETWEEN)
    values = await _ask(_file("network", backbone), "model", "show", "--json", "--", *names)
    return _network(backbone, values)


def cached_backbones() -> tuple[BackboneRow, ...]:
    """Every backbone in the cache's list; empty where there is none yet."""
    with contextlib.suppress(KeyError, TypeError, ValueError):
        return _rows(read_json_cache(_file("backbones", ""))["backbones"])
    return ()


async def fetch_backbones() -> tuple[BackboneRow, ...]:
    """Ask petbench which backbones there are.

    Raises:
        UserError: the helper process failed.
    """
    return _rows((await _ask(_file("backbones", ""), "backbones", "--json"))["backbones"])


async def _ask(file: Path, *arguments: str) -> Any:
    result = await run_petbench(*arguments)
    if not result.ok:
        raise UserError(told_problem(result, arguments[0]))
    values = result.json()
    write_json_cache(file, values)
    return values


def _network(name: str, values: Any) -> Network:
    groups = (
        LayerGroup(
            str(row["group"]), int(row["parameters"]), int(row["batch_norms"]), int(row["layer_norms"])
        )
        for row in values["groups"]
    )
    return Network(name, int(values["parameters"]), int(values["native_size"]), tuple(groups))


def _rows(values: Any) -> tuple[BackboneRow, ...]:
    return tuple(
        BackboneRow(str(row["name"]), row["parameters"], row["accuracy"], clean(row["source"], 40))
        for row in values or ()
    )


def _file(kind: str, name: str) -> Path:
    return kept_file([workbench.__version__, kind, name])


def network_problems(values: Values, network: Network) -> list[Problem]:
    """Layer groups and norms that the values ask for and the network lacks, a problem for each knob."""
    found = [problem for key in _NAMING for problem in _lacking(key, values.written(key), network)]
    return [*found, *_lacking_layer_norms(values["finetune.layer_norm"], network)]


def _lacking(key: str, value: Any, network: Network) -> list[Problem]:
    if not isinstance(value, list | dict):
        return []  # a word that stands for groups
    strange = [name for name in value if isinstance(name, str) and name not in network.group_names]
    if not strange:
        return []
    near = nearest(strange[0], network.group_names)
    return [
        Problem(
            key=key,
            where="",
            line=None,
            what=f"{clean(network.name, 60)} has no layer group {clean(strange[0], 60)}",
            allowed=", ".join(network.group_names),
            hint=f"did you mean {near}?" if near else "",
        )
    ]


def _lacking_layer_norms(value: Any, network: Network) -> list[Problem]:
    if value == "tuned" or any(group.layer_norms for group in network.groups):
        return []
    return [
        Problem(
            key="finetune.layer_norm",
            where="",
            line=None,
            what=f"{clean(network.name, 60)} has no layer norms",
            allowed='"tuned", which then means nothing',
            hint="",
        )
    ]


def norm_story(values: Values, network: Network | None) -> str:
    """Which groups' norms learn scale and shift, and which take up the new images' statistics."""
    if network is None:
        return _batch_norm_story(values, None)
    batch = any(group.batch_norms for group in network.groups)
    layer = any(group.layer_norms for group in network.groups)
    told = [_batch_norm_story(values, network)] if batch else []
    if layer:
        told.append(_layer_norm_story(values, network))
    if not batch:
        told.append("This network has no batch norm: its two switches do nothing.")
    return " ".join(told)


def _layer_norm_story(values: Values, network: Network) -> str:
    normed = [group.name for group in network.groups if group.layer_norms]
    where = _switched_groups(values["finetune.layer_norm"], values["finetune.layers"], normed)
    return f"Layer norms learn scale and shift in {where}." if where else "Layer norms stay as pretrained."


def _batch_norm_story(values: Values, network: Network | None) -> str:
    normed = None if network is None else [group.name for group in network.groups if group.batch_norms]
    learns = values["finetune.batch_norm"]
    updates = values["finetune.batch_norm_statistics"]
    updates = learns if updates == "same" else updates
    layers = values["finetune.layers"]
    scale, moving = _switched_groups(learns, layers, normed), _switched_groups(updates, layers, normed)
    if not scale and not moving:
        return "Batch norms stay as pretrained, scale, shift and statistics alike."
    scale, moving = scale or "no group", moving or "no group"
    if scale == moving:
        return f"Batch norms learn scale and shift, and follow the new images' statistics, in {scale}."
    return (
        f"Batch norms learn scale and shift in {scale}; they follow the new images' statistics in {moving}."
    )


def _switched_groups(switch: Any, layers: Any, normed: Collection[str] | None) -> str:
    """The groups that a switch names, of those that have such norms (None: unknown), in words."""
    if switch == "frozen" or switch == []:
        return ""
    if switch == "all" or (switch == "tuned" and layers == "all"):
        return "every group"
    names = layers if switch == "tuned" else switch
    listed = [names] if isinstance(names, str) else names if isinstance(names, list) else []
    if normed is not None:
        listed = [name for name in listed if name in normed]
    return " + ".join(clean(name, 40) for name in listed)
