"""A learning rate for each layer group, and which tensors weight decay spares."""

from __future__ import annotations

from typing import Any

from torch import nn

from workbench.model.classifier import ImageClassifier
from workbench.model.finetune import groups_that_may_learn
from workbench.recipe import Finetune, Optimizer
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.nearest import nearest

# Weights with several dimensions that are no matrix: tokens, position embeddings and biases, layer scales.
_SPARED = frozenset(
    {"class_token", "cls_token", "reg_token", "dist_token", "pos_embedding", "pos_embed"}
    | {"relative_position_bias_table", "layer_scale", "logit_scale"}
)
# The recipe's bound on learning_rate.
_HIGHEST_RATE = 10.0


def group_rates(
    classifier: ImageClassifier, optimizer: Optimizer, finetune: Finetune | None = None
) -> dict[str, float]:
    """The highest learning rate of every layer group, input to output.

    `layer_decay` d gives the head the recipe's rate and the group i steps below it d^i of that (Clark et al.
    2020); `layer_rates` overrides it group by group.

    Args:
        finetune: if given, a rate for a group in which nothing ever learns is refused.

    Raises:
        UserError: if `layer_rates` names no group of this backbone, or has a rate outside (0, 10].
    """
    names = [group.name for group in classifier.groups]
    for name, rate in optimizer.layer_rates.items():
        if name not in names:
            near = nearest(name, names)
            raise UserError(
                f"no layer group named {clean(name, 80)!r} in this backbone",
                where="optimizer.layer_rates",
                allowed=names,
                hint=f"did you mean {near}?" if near else "",
            )
        if not 0 < rate <= _HIGHEST_RATE:
            raise UserError(
                f"{rate} is no learning rate",
                where=f"optimizer.layer_rates.{name}",
                allowed=f"above 0, at most {_HIGHEST_RATE:g}; to freeze one, leave it out of finetune.layers",
            )
    if finetune is not None:
        learning = groups_that_may_learn(classifier, finetune)
        idle = [name for name in optimizer.layer_rates if name not in learning]
        if idle:
            raise UserError(
                f"nothing in {', '.join(idle)} learns, so a rate has no effect",
                where="optimizer.layer_rates",
                allowed=[name for name in names if name in learning],
                hint="add the group to finetune.layers, or take its rate out",
            )
    decay = 1.0 if optimizer.layer_decay is None else optimizer.layer_decay
    top = len(names) - 1
    return {
        name: optimizer.layer_rates.get(name, optimizer.learning_rate * decay ** (top - depth))
        for depth, name in enumerate(names)
    }


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
