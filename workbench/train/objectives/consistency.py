"""What FixMatch and its successors share: the weak view's first choice teaches the strong view."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from workbench.loader import PoolBatch
from workbench.recipe.online import Consistency
from workbench.train.objectives.objective import Beginning, Labelled, Loss, Objective, Pseudo


class ConsistencyObjective(Objective):
    """(1/B) Σ H(y, p(α(x))) + λ (1/μB) Σ w(q)·H(argmax q, p(A(u))), with q = sg[p(α(u))].

    Sohn et al. 2020, Eq. 3 and 4. Each method is a way to give the weights w. All views pass the network
    together, so that batch norm sees one batch of labelled and unlabelled images.
    """

    def __init__(self, knobs: Consistency, beginning: Beginning) -> None:
        self._unlabelled_weight = knobs.unlabelled_weight
        self._label_smoothing = beginning.label_smoothing
        self._classes = beginning.classes

    def loss(self, model: nn.Module, labelled: Labelled, unlabelled: PoolBatch | None) -> Loss:
        """The labelled loss and the weighted consistency of the pool's batch."""
        assert unlabelled is not None
        count = len(unlabelled.positions)
        logits: Tensor = model(torch.cat([labelled.inputs, unlabelled.weak, unlabelled.strong])).float()
        first = len(labelled.inputs)
        certain, weak, strong = logits.tensor_split([first, first + count])
        pseudo = self.judge(torch.softmax(weak.detach(), dim=1), unlabelled.rows)
        consistency = (pseudo.weights * F.cross_entropy(strong, pseudo.labels, reduction="none")).mean()
        value = labelled.cross_entropy(certain, self._label_smoothing) + self._unlabelled_weight * consistency
        return Loss(self.completed(value, strong, pseudo), certain, pseudo)

    def judge(self, probabilities: Tensor, rows: Tensor) -> Pseudo:
        """Pseudo-labels and their weights; the method's own averages move on.

        Args:
            probabilities: (U, C) float32 of the weak views, without gradient.
            rows: (U,) int64 of the images in the pool.
        """
        raise NotImplementedError

    def completed(self, value: Tensor, strong: Tensor, pseudo: Pseudo) -> Tensor:
        """The loss with what a method adds to it; strong (U, C) are logits of the strong views."""
        return value


def histogram(labels: Tensor, weights: Tensor, classes: int) -> Tensor:
    """(C,) float32, the weight of each class among labels (U,); unlike bincount the host need not wait."""
    counts = torch.zeros(classes, dtype=torch.float32, device=labels.device)
    return counts.scatter_add_(0, labels, weights.float())
