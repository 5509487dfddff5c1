"""Grad-CAM: right where its map can be worked out by hand, and for every kind of convolutional network."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from workbench.model import ImageClassifier, build, tune
from workbench.model.classifier import Architecture, LayerGroup
from workbench.model.saliency import grad_cam
from workbench.recipe import Finetune, Model
from workbench.support.errors import UserError


class Channels(nn.Module):
    """Feature maps that are the image's own channels, averaged over their places."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.maps = layer
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, images: Tensor) -> Tensor:
        pooled: Tensor = self.pool(self.maps(images)).flatten(1)
        return pooled


def _identity_maps() -> nn.Conv2d:
    convolution = nn.Conv2d(3, 3, 1)
    with torch.no_grad():
        convolution.weight.copy_(torch.eye(3).view(3, 3, 1, 1))
        convolution.bias.zero_()  # type: ignore[union-attr]
    return convolution


def _by_hand(trunk: nn.Module, head: Tensor) -> ImageClassifier:
    classifier = ImageClassifier(
        Architecture("by-hand", trunk, 3, (LayerGroup("stem", ("maps",)),), 8), len(head)
    )
    with torch.no_grad():
        classifier.linear.weight.copy_(head)
    return classifier


HEAD = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]])


def test_the_map_is_the_one_that_follows_from_the_equations() -> None:
    """With A_k the channels and y_c = Σ_k w_ck mean(A_k), α_k = w_ck / Z: the map is ReLU(Σ_k w_ck A_k)."""
    images = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    classes = torch.tensor([0, 1, 1, 0])
    maps = grad_cam(_by_hand(Channels(_identity_maps()), HEAD), images, classes)
    expected = torch.relu(torch.einsum("bk,bkhw->bhw", HEAD[classes], images))
    expected = expected / expected.amax(dim=(1, 2), keepdim=True)
    assert maps.shape == (4, 6, 6)
    assert torch.allclose(maps, expected, atol=1e-6)


def test_the_last_map_counts_not_one_before_it_and_layers_may_work_in_place() -> None:
    trunk = Channels(
        nn.Sequential(_identity_maps(), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.ReLU(inplace=True))
    )
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    maps = grad_cam(_by_hand(trunk, HEAD), images, torch.tensor([0, 0]))
    pooled = nn.functional.max_pool2d(torch.relu(images), 2)
    expected = torch.relu(torch.einsum("k,bkhw->bhw", HEAD[0], pooled))
    assert torch.allclose(maps, expected / expected.amax(dim=(1, 2), keepdim=True), atol=1e-6)


def test_an_image_without_anything_that_speaks_for_the_class_has_an_empty_map() -> None:
    classifier = _by_hand(Channels(_identity_maps()), HEAD)
    maps = grad_cam(
        classifier, -torch.ones(1, 3, 6, 6) * torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1), torch.tensor([0])
    )
    assert not maps.any()


def test_maps_with_the_channels_last_are_understood() -> None:
    class ChannelsLast(nn.Module):
        """As Swin: (B, h, w, K), averaged over h and w."""

        def __init__(self) -> None:
            super().__init__()
            self.maps = nn.LayerNorm(3, elementwise_affine=False)

        def forward(self, images: Tensor) -> Tensor:
            normed: Tensor = self.maps(images.permute(0, 2, 3, 1))
            return normed.mean(dim=(1, 2))

    images = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(2))
    maps = grad_cam(_by_hand(ChannelsLast(), HEAD), images, torch.tensor([1, 1]))
    normed = nn.functional.layer_norm(images.permute(0, 2, 3, 1), [3])
    expected = torch.relu(normed @ HEAD[1])
    assert torch.allclose(maps, expected / expected.amax(dim=(1, 2), keepdim=True), atol=1e-5)


@pytest.mark.parametrize(
    ("backbone", "side"),
    [
        ("resnet18", 2),
        ("efficientnet_lite0", 2),
        ("mobilenet_v3_small", 2),
        ("densenet121", 2),
        ("squeezenet1_1", 3),
        ("timm:resnet10t", 2),
    ],
)
def test_every_convolutional_family_has_a_map_for_each_image(backbone: str, side: int) -> None:
    classifier = build(Model(backbone=backbone, weights="none"), 5, seed=0)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    maps = grad_cam(classifier, images, torch.tensor([0, 4]))
    assert maps.shape == (2, side, side)
    assert maps.isfinite().all()
    assert ((maps >= 0) & (maps <= 1)).all()
    alone = grad_cam(classifier, images[1:], torch.tensor([4]))
    assert torch.allclose(maps[1:], alone, atol=1e-3)


def test_a_vision_transformer_is_refused_in_words() -> None:
    classifier = build(Model(backbone="vit_b_32", weights="none"), 5, seed=0, image_size=64)
    with pytest.raises(UserError, match=r"vit_b_32 ends in tokens") as raised:
        grad_cam(classifier, torch.zeros(1, 3, 64, 64), torch.tensor([0]))
    assert "petbench saliency" in str(raised.value)


def test_the_network_is_left_as_it_was() -> None:
    classifier = build(Model(backbone="shufflenet_v2_x0_5", weights="none"), 5, seed=0)
    tune(classifier, Finetune(layers=("head",)))
    learning = {name for name, value in classifier.named_parameters() if value.requires_grad}
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    grad_cam(classifier, torch.randn(2, 3, 64, 64), torch.tensor([0, 1]))
    assert classifier.training
    assert {name for name, value in classifier.named_parameters() if value.requires_grad} == learning
    assert all(value.grad is None for value in classifier.parameters())
    assert all(torch.equal(before[name], value) for name, value in classifier.state_dict().items())
    assert not any(module._forward_hooks for module in classifier.modules())
