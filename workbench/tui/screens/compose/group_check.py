"""Layer groups and norms that a recipe asks for and its backbone lacks: told before a run finds out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from workbench.recipe.problems import Problem
from workbench.support.clean import clean
from workbench.support.nearest import nearest
from workbench.tui.screens.compose.draft import Draft
from workbench.tui.screens.compose.networks import Network

_NAMING = (
    "finetune.layers",
    "finetune.batch_norm",
    "finetune.batch_norm_statistics",
    "finetune.layer_norm",
    "optimizer.layer_rates",
)


def with_group_check(draft: Draft, network: Network | None) -> Draft:
    """The draft with a problem for each knob that names what the network lacks; it is then not valid."""
    if network is None or draft.look()["model.backbone"] != network.name:
        return draft
    found = [problem for key in _NAMING for problem in _check(key, draft.look().written(key), network)]
    found += _check_layer_norm(draft.look()["finetune.layer_norm"], network)
    if not found:
        return draft
    return replace(draft, recipe=None, problems=(*draft.problems, *found))


def _check(key: str, value: Any, network: Network) -> list[Problem]:
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


def _check_layer_norm(value: Any, network: Network) -> list[Problem]:
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
