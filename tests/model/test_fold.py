"""A folded trunk computes what the trunk computes."""

from __future__ import annotations

import copy
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from tests.model.small import random_network
from workbench.model.cut import folded, frozen_copy


def _moved(trunk: nn.Module) -> nn.Module:
    """The trunk with statistics, scales and shifts as training leaves them."""
    random = torch.Generator().manual_seed(1)
    for module in trunk.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            shape = module.running_mean.shape
            module.running_mean.copy_(torch.randn(shape, generator=random) * 0.1)
            module.running_var.copy_(torch.rand(shape, generator=random) + 0.5)
            module.weight.data.copy_(torch.rand(shape, generator=random) + 0.5)
            module.bias.data.copy_(torch.randn(shape, generator=random) * 0.1)
    return trunk


def _norms(module: nn.Module) -> int:
    return sum(isinstance(child, nn.BatchNorm2d) for child in module.modules())


def test_a_convolution_and_its_norm_by_hand() -> None:
    convolution, norm = nn.Conv2d(3, 1, 1, bias=False), nn.BatchNorm2d(1, eps=0.0)
    with torch.no_grad():
        convolution.weight.fill_(2)
        for tensor, value in zip((norm.weight, norm.bias), (3.0, 1.0), strict=True):
            tensor.fill_(value)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.fill_(5)
        norm.running_var.fill_(4)
    trunk = nn.Sequential(convolution, norm, nn.Flatten())
    layer = folded(trunk, 2)[0]  # type: ignore[index]
    # 3 · (2x − 5) / 2 + 1 = 3x − 6.5
    torch.testing.assert_close(layer.weight.flatten(), torch.full((3,), 3.0))
    torch.testing.assert_close(layer.bias, torch.tensor([-6.5]))
    assert _norms(trunk) == 1  # the trunk itself stays as it was


@pytest.mark.parametrize(
    "name", ["resnet18", "efficientnet_lite0", "mobilenet_v2", "shufflenet_v2_x0_5", "densenet121"]
)
def test_features_agree_to_rounding(name: str) -> None:
    trunk = _moved(random_network(name).trunk).eval()
    images = torch.randn(2, 3, 64, 64)
    twin = folded(trunk, 64)
    assert _norms(twin) < _norms(trunk)
    with torch.inference_mode():
        expected, found = trunk(images), twin(images)
    assert torch.linalg.vector_norm(found - expected) < 1e-4 * torch.linalg.vector_norm(expected)


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_only_float32_is_folded(dtype: Literal["fp32", "bf16"]) -> None:
    trunk = _moved(random_network("resnet18").trunk).train()
    twin = frozen_copy(trunk, 32, dtype)
    assert (_norms(twin) == 0) is (dtype == "fp32")
    assert trunk.training
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bf16"):
        expected, found = trunk.eval()(images), twin(images)
    if dtype == "bf16":
        assert torch.equal(found, expected)
    else:
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_trunk_in_training_mode_is_folded_for_evaluation_and_left_as_it_was() -> None:
    trunk = _moved(random_network("resnet18").trunk).train()
    before = copy.deepcopy(trunk.state_dict())
    twin = folded(trunk, 32)
    assert trunk.training
    assert not any(module.training for module in twin.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in trunk.state_dict().items())


class _Backwards(nn.Module):
    """Its children are listed in another order than they are used in."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 1)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.convolution(torch.relu(self.norm(images))).flatten(1)
        return features


def test_a_network_whose_order_misleads_is_copied_as_it_is() -> None:
    trunk = _moved(_Backwards()).eval()
    images = torch.randn(2, 3, 8, 8)
    twin = folded(trunk, 8)
    assert _norms(twin) == 1
    assert torch.equal(twin(images), trunk(images))


def test_a_network_without_norms_is_copied() -> None:
    trunk = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten())
    twin = folded(trunk, 4)
    assert twin is not trunk
    images = torch.randn(1, 3, 4, 4)
    assert torch.equal(twin(images), trunk(images))
