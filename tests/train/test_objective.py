"""The loss against torch's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from workbench.train.objective import weighted_cross_entropy


def _batch(images: int = 12, classes: int = 5) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    return torch.randn(images, classes, generator=random), torch.randint(classes, (images,), generator=random)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_hard_labels_of_equal_weight_give_torchs_cross_entropy(smoothing: float) -> None:
    logits, labels = _batch()
    targets, weights = functional.one_hot(labels, 5).float(), torch.ones(12)
    found = weighted_cross_entropy(logits, targets, weights, float(weights.sum()), label_smoothing=smoothing)
    torch.testing.assert_close(found, functional.cross_entropy(logits, labels, label_smoothing=smoothing))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_soft_labels_give_torchs_cross_entropy(smoothing: float) -> None:
    logits, _ = _batch()
    targets = torch.softmax(torch.randn(12, 5, generator=torch.Generator().manual_seed(1)), dim=1)
    weights = torch.full((12,), 3.0)
    found = weighted_cross_entropy(logits, targets, weights, float(weights.sum()), label_smoothing=smoothing)
    torch.testing.assert_close(found, functional.cross_entropy(logits, targets, label_smoothing=smoothing))


def test_weights_make_a_weighted_mean() -> None:
    logits, labels = _batch()
    weights = torch.rand(12, generator=torch.Generator().manual_seed(2)) + 0.1
    each = functional.cross_entropy(logits, labels, reduction="none")
    found = weighted_cross_entropy(
        logits, functional.one_hot(labels, 5).float(), weights, float(weights.sum())
    )
    torch.testing.assert_close(found, (each * weights).sum() / weights.sum())


def test_the_losses_of_the_parts_add_up_to_the_batchs() -> None:
    logits, labels = _batch()
    targets = functional.one_hot(labels, 5).float()
    weights = torch.rand(12, generator=torch.Generator().manual_seed(3)) + 0.1
    whole = weighted_cross_entropy(logits, targets, weights, float(weights.sum()), label_smoothing=0.1)
    for parts in (2, 3, 5):
        cut = zip(
            logits.tensor_split(parts), targets.tensor_split(parts), weights.tensor_split(parts), strict=True
        )
        losses = [
            weighted_cross_entropy(*part, total_weight=float(weights.sum()), label_smoothing=0.1)
            for part in cut
        ]
        torch.testing.assert_close(torch.stack(losses).sum(), whole)


def test_the_loss_of_half_precision_logits_is_computed_in_single_precision() -> None:
    logits, labels = _batch()
    targets, weights = functional.one_hot(labels, 5).float(), torch.ones(12)
    found = weighted_cross_entropy(logits.bfloat16(), targets, weights, float(weights.sum()))
    assert found.dtype == torch.float32
    expected = functional.cross_entropy(logits.bfloat16().float(), labels)
    torch.testing.assert_close(found, expected)
