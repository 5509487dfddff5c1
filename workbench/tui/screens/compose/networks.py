"""What petbench knows of backbones, asked of a helper process once and kept in the cache."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import workbench
from workbench.recipe.layer_groups import kept_file
from workbench.support.caches import read_json_cache, write_json_cache
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.tui.helper import run_petbench
from workbench.tui.screens.compose.failing import told_problem


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
    values = await _ask(_file("network", backbone), "model", "show", "--json", "--", backbone)
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
