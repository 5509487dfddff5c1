"""A learning rate for each layer group, and which tensors weight decay spares."""

from __future__ import annotations

from typing import Any

from torch import nn

from workbench.model.classifier import ImageClassifier
from workbench.model.finetune import layer_groups
from workbench.recipe import Finetune, Optimizer
from workbench.recipe.layer_groups import rates_of

# Weights with several dimensions that are no matrix: tokens, position embeddings and biases, layer scales.
_SPARED = frozenset(
    {"class_token", "cls_token", "reg_token", "dist_token", "pos_embedding", "pos_embed"}
    | {"relative_position_bias_table", "layer_scale", "logit_scale"}
)


def group_rates(
    classifier: ImageClassifier, optimizer: Optimizer, finetune: Finetune | None = None
) -> dict[str, float]:
    """The highest learning rate of every layer group, as `rates_of` tells it."""
    return rates_of(layer_groups(classifier), optimizer, finetune)


def parameter_groups(
    classifier: ImageClassifier, optimizer: Optimizer, finetune: Finetune | None = None
) -> list[dict[str, Any]]:
    """Parameter groups for a torch optimiser: every parameter once, also those that are frozen now.

    Frozen parameters have no gradient, so optimisers skip them at no cost, and the optimiser's state keeps
    its shape when groups unlock later. Clear gradients with `set_to_none=True`.

    Returns:
        torch's keys "params", "lr", "weight_decay", and for reports "group" (the layer group's name) and
        "tensors" (dotted names). A layer group comes twice, with decay and without, only where the recipe
        has a decay.

    Raises:
        UserError: as `group_rates`.
    """
    rates = group_rates(classifier, optimizer, finetune)
    spared_by_name = _names_spared_by_network(classifier.trunk)
    entries: list[dict[str, Any]] = []
    for group in classifier.groups:
        named = list(group.named_parameters(classifier))
        spared = {
            name: parameter
            for name, parameter in named
            if optimizer.weight_decay > 0 and (_is_spared(name, parameter) or name in spared_by_name)
        }
        decayed = {name: parameter for name, parameter in named if name not in spared}
        for members, decay in ((decayed, optimizer.weight_decay), (spared, 0.0)):
            if members:
                entries.append(
                    {
                        "params": list(members.values()),
                        "lr": rates[group.name],
                        "weight_decay": decay,
                        "group": group.name,
                        "tensors": list(members),
                    }
                )
    return entries


def _is_spared(name: str, parameter: nn.Parameter) -> bool:
    """Biases, norms, tokens, position embeddings: decay would shrink what has no reason to be small."""
    return parameter.ndim <= 1 or name.rsplit(".", 1)[-1] in _SPARED


def _names_spared_by_network(trunk: nn.Module) -> frozenset[str]:
    """timm's networks name further tensors that were trained without decay."""
    named = getattr(trunk, "no_weight_decay", None)
    return frozenset(f"trunk.{name}" for name in named()) if callable(named) else frozenset()
