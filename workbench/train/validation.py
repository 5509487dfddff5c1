"""What a network is worth as it trains, by the validation images."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from workbench.train.metrics import confusion_matrix, negative_log_likelihood
from workbench.train.network import Network


@dataclass(frozen=True, slots=True)
class Validation:
    """What the validation images say of a network."""

    loss: float
    accuracy: float
    confusion: list[list[int]]
    """Images of each true class (rows) by prediction (columns)."""


def validate(network: Network, module: nn.Module, *, trunk_fixed: bool, task: str) -> Validation:
    """Evaluate `module`, the network's classifier, an average of it, or a head.

    Args:
        task: what the reporter calls it.
    """
    setup = network.setup
    positions = setup.split.validation
    evaluated = network.evaluated(module, trunk_fixed=trunk_fixed)
    probabilities = network.probabilities(positions, evaluated, task=task)
    labels = setup.labels[positions]
    predicted = probabilities.argmax(axis=1)
    return Validation(
        loss=negative_log_likelihood(probabilities, labels),
        accuracy=float((predicted == labels).mean()),
        confusion=confusion_matrix(predicted, labels, len(setup.classes)).tolist(),
    )
