"""Mixup and CutMix."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from workbench.loader.augmentation import Mixing, Mixture


def _batch(count: int = 6, side: int = 20) -> tuple[Tensor, Tensor, Tensor]:
    """Image i is i everywhere and of class i."""
    inputs = torch.arange(count, dtype=torch.float32).view(-1, 1, 1, 1).expand(count, 3, side, side)
    return inputs.clone(), torch.eye(count), torch.ones(count)


def _mix(
    batch: tuple[Tensor, Tensor, Tensor], kind: Mixing, step: int, alpha: float = 1.0, epoch: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    inputs, targets, weights = batch
    mixture = Mixture.of(kind, alpha, len(inputs), inputs.shape[-1], seed=0, epoch=epoch, step=step)
    partners = inputs[torch.from_numpy(mixture.partners)]
    return mixture.images(inputs, partners), *mixture.labels(targets, weights)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_targets_say_how_much_of_each_image_is_there(kind: Mixing) -> None:
    batch = _batch()
    for step in range(30):
        inputs, targets, weights = _mix(batch, kind, step)
        torch.testing.assert_close(targets.sum(dim=1), torch.ones(6))
        torch.testing.assert_close(weights, torch.ones(6))
        # Image i being i everywhere, the mean of a blend is the mean class.
        means = inputs.mean(dim=(1, 2, 3))
        torch.testing.assert_close(means, targets @ torch.arange(6.0), atol=1e-4, rtol=1e-4)


def test_cutmix_pastes_one_rectangle() -> None:
    own = torch.arange(6.0).view(-1, 1, 1, 1)
    areas = []
    for step in range(60):
        inputs, _, _ = _mix(_batch(), "cutmix", step)
        pasted = (inputs != own).any(dim=1)  # (B, H, W)
        for mask in pasted:
            assert mask.sum() == mask.any(dim=1).sum() * mask.any(dim=0).sum()
        areas.append(pasted.flatten(1).float().mean(dim=1).max().item())
    assert len(set(areas)) > 20


def test_the_arguments_are_left_as_they_are() -> None:
    batch = _batch()
    copies = [tensor.clone() for tensor in batch]
    _mix(batch, "cutmix", 3)
    _mix(batch, "mixup", 3)
    for before, after in zip(copies, batch, strict=True):
        assert torch.equal(before, after)


def test_shares_follow_the_beta_distribution_and_repeat_for_the_same_step() -> None:
    def share(step: int, epoch: int = 0) -> float:
        _, targets, _ = _mix(_batch(), "mixup", step, alpha=0.4, epoch=epoch)
        return float(targets.diagonal().min())

    shares = np.array([share(step) for step in range(500)])
    # Beta(a, a) has mean 1/2 and variance 1 / (4 (2 a + 1)).
    assert abs(shares.mean() - 0.5) < 0.06
    assert abs(shares.var() - 1 / (4 * 1.8)) < 0.02
    assert share(7) == shares[7]
    assert share(7, epoch=1) != shares[7]


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_the_mixed_loss_is_the_mix_of_the_weighted_losses(kind: Mixing) -> None:
    inputs, targets, _ = _batch()
    weights = torch.tensor([1.0, 0.0, 2.0, 0.5, 0.0, 3.0])
    mixed, mixed_targets, mixed_weights = _mix((inputs, targets, weights), kind, 2)
    _, shares, _ = _mix((inputs, targets, torch.ones(6)), kind, 2)
    costs = torch.rand(6, 6)  # any loss that is linear in the targets
    expected = ((shares * weights) * costs).sum(dim=1)
    torch.testing.assert_close(mixed_weights * (mixed_targets * costs).sum(dim=1), expected)
    assert torch.isfinite(mixed_targets).all()
    assert mixed.shape == inputs.shape
