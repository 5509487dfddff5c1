"""Attention roll-out: against the same product in numpy, for torchvision's and timm's transformers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from tests.model.small import images
from workbench.model import ImageClassifier, build, tune
from workbench.model.classifier import Architecture
from workbench.model.families.torchvision_nets import torchvision_groups
from workbench.model.saliency import attention_rollout, method_for, rollout, saliency_maps
from workbench.recipe import Finetune, Model
from workbench.support.errors import UserError

Floats = NDArray[np.float64]
WIDTH, HEADS, LAYERS = 12, 3, 3


def small_vit(side: int = 32, patch: int = 8) -> ImageClassifier:
    """torchvision's own class with three layers of three heads, and weights that attend unevenly."""
    torch.manual_seed(0)
    trunk = VisionTransformer(side, patch, LAYERS, HEADS, WIDTH, 24)
    trunk.heads = nn.Identity()
    for name, value in trunk.named_parameters():
        if "in_proj_weight" in name:
            nn.init.normal_(value, std=1.0)
    return ImageClassifier(Architecture("small-vit", trunk, WIDTH, torchvision_groups(trunk), side), 5)


def in_numpy(classifier: ImageClassifier, batch: Tensor) -> Floats:
    """The map, from the parameters and the tokens that enter each block: no attention layer is asked."""
    entering: list[Floats] = []
    handles = [
        layer.register_forward_pre_hook(lambda _, args: entering.append(args[0].double().numpy()))
        for layer in classifier.trunk.get_submodule("encoder.layers").children()
    ]
    with torch.no_grad():
        classifier.eval()(batch)
    for handle in handles:
        handle.remove()
    tokens = entering[0].shape[1]
    rolled = np.eye(tokens)
    for x, layer in zip(entering, classifier.trunk.get_submodule("encoder.layers").children(), strict=True):
        own: dict[str, Floats] = {name: value.double().numpy() for name, value in layer.state_dict().items()}
        centred = x - x.mean(-1, keepdims=True)
        normed = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
        normed = normed * own["ln_1.weight"] + own["ln_1.bias"]
        projected = normed @ own["self_attention.in_proj_weight"].T + own["self_attention.in_proj_bias"]
        attention = np.zeros((len(x), tokens, tokens))
        size = WIDTH // HEADS
        for head in range(HEADS):
            part = slice(head * size, (head + 1) * size)
            query, key = projected[..., :WIDTH][..., part], projected[..., WIDTH : 2 * WIDTH][..., part]
            scores = np.exp(query @ key.transpose(0, 2, 1) / np.sqrt(size))
            attention += scores / scores.sum(-1, keepdims=True) / HEADS
        rolled = (attention / 2 + np.eye(tokens) / 2) @ rolled
    side = int(np.sqrt(tokens - 1))
    maps = rolled[:, 0, 1:].reshape(len(batch), side, side)
    scaled: Floats = maps / maps.max(axis=(1, 2), keepdims=True)
    return scaled


def test_the_map_of_a_small_transformer_is_the_product_worked_out_in_numpy() -> None:
    classifier, batch = small_vit(), images(3, 32)
    maps = attention_rollout(classifier.train(), batch)
    assert maps.shape == (3, 4, 4)
    np.testing.assert_allclose(maps.numpy(), in_numpy(classifier, batch), atol=1e-5)
    assert float(maps.std()) > 0.05, "attention that is even would prove nothing"


def test_two_layers_by_hand() -> None:
    """½W + ½I of W = [[0, 1], [1, 0]] is all ½; of W = [[1, 0], [1, 0]] it is [[1, 0], [½, ½]]."""
    swap, first = torch.tensor([[[0.0, 1], [1, 0]]]), torch.tensor([[[1.0, 0], [1, 0]]])
    assert torch.equal(rollout([first, swap]), torch.tensor([[[0.75, 0.25], [0.75, 0.25]]]))
    assert torch.equal(rollout([swap, first]), torch.tensor([[[0.5, 0.5], [0.5, 0.5]]]))


@pytest.mark.parametrize(
    ("backbone", "size", "grid"),
    [
        ("vit_b_32", 64, 2),
        ("timm:vit_tiny_patch16_224", 64, 4),
        ("timm:deit_tiny_distilled_patch16_224", 64, 4),
        ("timm:vit_tiny_r_s16_p8_224", 64, 2),
        ("timm:vit_dwee_patch16_reg1_gap_256", 64, 4),
        ("timm:eva02_tiny_patch14_224", 56, 4),
    ],
)
def test_every_plain_transformer_has_a_map_and_is_left_as_it_was(backbone: str, size: int, grid: int) -> None:
    classifier = build(Model(backbone=backbone, weights="none"), 5, seed=0, image_size=size)
    tune(classifier, Finetune(layers=("head",)))
    learning = {name for name, value in classifier.named_parameters() if value.requires_grad}
    batch = images(2, size)
    with torch.no_grad():
        before = classifier.eval()(batch)
    classifier.train()
    assert method_for(classifier, batch[:1]) == "attention-rollout"
    maps = saliency_maps(classifier, batch, torch.tensor([0, 1]), "attention-rollout")
    assert maps.shape == (2, grid, grid)
    assert ((maps > 0) & (maps <= 1)).all()
    assert torch.allclose(maps[1:], attention_rollout(classifier, batch[1:]), atol=1e-4)
    assert classifier.training
    assert {name for name, value in classifier.named_parameters() if value.requires_grad} == learning
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in classifier.modules())
    with torch.no_grad():
        assert torch.equal(classifier.eval()(batch), before)


def test_timms_map_follows_from_its_own_queries_and_keys() -> None:
    classifier = build(Model(backbone="timm:vit_tiny_patch16_224", weights="none"), 5, seed=0, image_size=64)
    trunk: Any = classifier.eval().trunk
    batch, rolled = images(2, 64), torch.eye(17)
    entering: list[Tensor] = []
    for block in trunk.blocks:
        block.attn.register_forward_pre_hook(lambda _, args: entering.append(args[0]))
    with torch.no_grad():
        trunk(batch)
        for block, x in zip(trunk.blocks, entering, strict=True):
            query, key, _ = block.attn.qkv(x).unflatten(2, (3, 3, 64)).permute(2, 0, 3, 1, 4)
            attention = torch.softmax(query @ key.transpose(2, 3) / 8, dim=3).mean(dim=1)
            rolled = (attention + torch.eye(17)) / 2 @ rolled
    expected = rolled[:, 0, 1:].reshape(2, 4, 4)
    maps = attention_rollout(classifier, batch)
    assert torch.allclose(maps, expected / expected.amax(dim=(1, 2), keepdim=True), atol=1e-5)


@pytest.mark.parametrize(
    ("backbone", "method"),
    [
        ("resnet18", "grad-cam"),
        ("swin_t", "grad-cam"),
        ("timm:swin_tiny_patch4_window7_224", "grad-cam"),
        ("vit_b_32", "attention-rollout"),
    ],
)
def test_the_network_decides_the_method(backbone: str, method: str) -> None:
    size = 224 if "swin_tiny" in backbone else 64
    classifier = build(Model(backbone=backbone, weights="none"), 5, seed=0, image_size=size)
    assert method_for(classifier, images(1, size)) == method


@pytest.mark.parametrize(
    ("backbone", "why"),
    [
        ("timm:xcit_nano_12_p16_224", "do not attend to all tokens"),
        ("timm:cait_xxs24_224", "do not attend to all tokens"),
        ("timm:mixer_s32_224", "no attention layers"),
    ],
)
def test_other_token_networks_are_refused_in_words(backbone: str, why: str) -> None:
    classifier = build(Model(backbone=backbone, weights="none"), 5, seed=0, image_size=224)
    batch = images(1, 224)
    assert method_for(classifier, batch) == "attention-rollout"
    with pytest.raises(UserError, match=why) as error:
        attention_rollout(classifier, batch)
    assert error.value.where == "model.backbone"
