"""What the batch-norm switches do, told for the values they have."""

from __future__ import annotations

from typing import Any

from workbench.support.clean import clean
from workbench.tui.screens.compose.networks import Network
from workbench.tui.screens.compose.offered import Values


def norm_story(values: Values, network: Network | None) -> str:
    """Which groups' batch norms learn scale and shift, and which take up the new images' statistics."""
    if network is not None and not any(group.batch_norms for group in network.groups):
        return "This network has no batch norm: the two switches do nothing."
    learns = values["finetune.batch_norm"]
    updates = values["finetune.batch_norm_statistics"]
    updates = learns if updates == "same" else updates
    layers = values["finetune.layers"]
    scale, moving = _groups(learns, layers, network), _groups(updates, layers, network)
    if not scale and not moving:
        return "Batch norms stay as pretrained, scale, shift and statistics alike."
    scale, moving = scale or "no group", moving or "no group"
    if scale == moving:
        return f"Batch norms learn scale and shift, and follow the new images' statistics, in {scale}."
    return (
        f"Batch norms learn scale and shift in {scale}; they follow the new images' statistics in {moving}."
    )


def _groups(switch: Any, layers: Any, network: Network | None) -> str:
    """The groups with batch norms that a switch names, in words; empty for none."""
    if switch == "frozen" or switch == []:
        return ""
    if switch == "all" or (switch == "tuned" and layers == "all"):
        return "every group"
    names = layers if switch == "tuned" else switch
    listed = [names] if isinstance(names, str) else names if isinstance(names, list) else []
    if network is not None:
        normed = {group.name for group in network.groups if group.batch_norms}
        listed = [name for name in listed if name in normed]
    return " + ".join(clean(name, 40) for name in listed)
