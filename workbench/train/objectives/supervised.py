"""Objectives of labelled images alone: cross-entropy, and gradients kept on the pet."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from workbench.compute import full_precision
from workbench.loader import HeadMasks, PoolBatch
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


class SaliencyGuided(Objective):
    """The supervised loss + λ · Σ_i s_i Σ_{c,u,v} |∂ log p_{y_i} / ∂x_i(c,u,v)| · outside_i(u,v).

    s_i is an image's share in the mean over the batch's images with a head box; x are normalised pixels, y
    the target without label smoothing (for soft targets log p_y is Σ_k y_k log p_k). A sum over pixels, not a
    mean: it says how much log p_y could change were every pixel beside the head to change by one standard
    deviation, and is about the same at every image size.

    After Ghaeini et al. 2019 (saliency learning), who penalise max(0, −∂f_y/∂x · z) on what explains a label
    (z = 1) and thereby only its sign. A head box says where the evidence is and nothing of the sign of a
    pixel's gradient; so here, as in Ross et al. 2017 (Eq. 1, with squares and Σ_k log p_k), what lies
    outside is penalised. A layer that mixes the images of a batch (batch norm while it learns statistics)
    mixes their gradients too: x_i then also answers for what it changes in the others.

    Args:
        supervised: the loss that is added to.
        weight: λ.
    """

    can_be_cut = True

    def __init__(self, supervised: Supervised, weight: float) -> None:
        self._supervised = supervised
        self._weight = weight

    def loss(self, model: nn.Module, labelled: Labelled, unlabelled: PoolBatch | None) -> Loss:
        """The batch's own loss, and what its gradients beside the heads cost."""
        assert labelled.heads is not None  # the stage's batches have them
        inputs = labelled.inputs.detach().requires_grad_()
        # Fused attention cannot be differentiated twice.
        with sdpa_kernel(SDPBackend.MATH):
            found = self._supervised.loss(model, replace(labelled, inputs=inputs), unlabelled)
            penalty = gradient_outside(found.logits, inputs, labelled.targets, labelled.heads)
        return Loss(found.value + self._weight * penalty, found.logits)


def gradient_outside(logits: Tensor, inputs: Tensor, targets: Tensor, heads: HeadMasks) -> Tensor:
    """() float32: the sum above without λ; it can be differentiated again.

    Args:
        logits: (B, C), computed from `inputs`.
        inputs: (B, 3, side, side) float32 that ask for a gradient.
        targets: (B, C) float32; what rows say that an image is not (negative) is left out.
    """
    chosen = (heads.shares > 0)[:, None] * targets.clamp(min=0)
    said = (chosen * torch.log_softmax(logits.float(), dim=1)).sum()
    with full_precision(inputs.device):
        (gradient,) = torch.autograd.grad(said, inputs, create_graph=True)
    each = (gradient.abs() * heads.outside).flatten(1).sum(dim=1)  # (B,)
    return (heads.shares * each).sum()
