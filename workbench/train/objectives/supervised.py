"""Images with given labels alone: cross-entropy with hard or soft targets, and negative ones."""

from __future__ import annotations

from torch import Tensor, nn

from workbench.loader import PoolBatch
from workbench.train.objective import positive_and_negative_loss, weighted_cross_entropy
from workbench.train.objectives.objective import Labelled, Loss, Objective


class Supervised(Objective):
    """Σ w·H(y, p(x)) / W, with W what such a batch weighs on average.

    Args:
        negative_labels: whether targets may say what an image is not (see `positive_and_negative_loss`).
        logit_offsets: (C,) float32, added to the logits in the loss alone (see `pseudo.prior.logit_offsets`).
    """

    can_be_cut = True

    def __init__(
        self,
        label_smoothing: float = 0.0,
        *,
        negative_labels: bool = False,
        logit_offsets: Tensor | None = None,
    ) -> None:
        self.label_smoothing = label_smoothing
        self.logit_offsets = logit_offsets
        self.is_cross_entropy = not negative_labels
        self._function = positive_and_negative_loss if negative_labels else weighted_cross_entropy

    def loss(self, model: nn.Module, labelled: Labelled, unlabelled: PoolBatch | None) -> Loss:
        """The batch's own loss; there is no pool."""
        logits = model(labelled.inputs)
        value = self._function(
            logits if self.logit_offsets is None else logits.float() + self.logit_offsets,
            labelled.targets,
            labelled.weights,
            labelled.total_weight,
            label_smoothing=self.label_smoothing,
        )
        return Loss(value, logits)
