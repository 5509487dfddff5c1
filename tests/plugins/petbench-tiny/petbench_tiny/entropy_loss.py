"""What `entropy` minimises."""

import torch
from torch import nn

from workbench.loader import PoolBatch
from workbench.train.objectives import Beginning, Labelled, Loss, Objective, Pseudo, objective_for

from .entropy import Entropy


@objective_for(Entropy)
class EntropyObjective(Objective):
    """H(y, p(x)) + λ·mean H(p(u))."""

    def __init__(self, knobs: Entropy, beginning: Beginning) -> None:
        self._weight = knobs.entropy_weight
        self._label_smoothing = beginning.label_smoothing

    def loss(self, model: nn.Module, labelled: Labelled, unlabelled: PoolBatch | None) -> Loss:
        """One batch of either; the pool's weak views."""
        assert unlabelled is not None  # an online student always has a pool
        logits = model(torch.cat([labelled.inputs, unlabelled.weak])).float()
        certain, unsure = logits.tensor_split([len(labelled.inputs)])
        log_shares = torch.log_softmax(unsure, dim=1)
        entropy = -(log_shares.exp() * log_shares).sum(dim=1)
        value = labelled.cross_entropy(certain, self._label_smoothing) + self._weight * entropy.mean()
        return Loss(value, certain, Pseudo(unsure.argmax(dim=1), torch.ones_like(entropy)))
