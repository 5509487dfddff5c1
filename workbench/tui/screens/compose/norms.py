"""What the switches of the norms do, told for the values they have."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from workbench.support.clean import clean
from workbench.tui.screens.compose.networks import Network
from workbench.tui.screens.compose.offered import Values


def norm_story(values: Values, network: Network | None) -> str:
    """Which groups' norms learn scale and shift, and which take up the new images' statistics."""
    if network is None:
        return _batch_norms(values, None)
    batch = any(group.batch_norms for group in network.groups)
    layer = any(group.layer_norms for group in network.groups)
    told = [_batch_norms(values, network)] if batch else []
    if layer:
        told.append(_layer_norms(values, network))
    if not batch:
        told.append("This network has no batch norm: its two switches do nothing.")
    return " ".join(told)


def _layer_norms(values: Values, network: Network) -> str:
    normed = [group.name for group in network.groups if group.layer_norms]
    where = _groups(values["finetune.layer_norm"], values["finetune.layers"], normed)
    return f"Layer norms learn scale and shift in {where}." if where else "Layer norms stay as pretrained."


def _batch_norms(values: Values, network: Network | None) -> str:
    normed = None if network is None else [group.name for group in network.groups if group.batch_norms]
    learns = values["finetune.batch_norm"]
    updates = values["finetune.batch_norm_statistics"]
    updates = learns if updates == "same" else updates
    layers = values["finetune.layers"]
    scale, moving = _groups(learns, layers, normed), _groups(updates, layers, normed)
    if not scale and not moving:
        return "Batch norms stay as pretrained, scale, shift and statistics alike."
    scale, moving = scale or "no group", moving or "no group"
    if scale == moving:
        return f"Batch norms learn scale and shift, and follow the new images' statistics, in {scale}."
    return (
        f"Batch norms learn scale and shift in {scale}; they follow the new images' statistics in {moving}."
    )


def _groups(switch: Any, layers: Any, normed: Collection[str] | None) -> str:
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
