from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import models

from tests.model.small import images, random_network
from workbench.model import LayerGroup, build, skeleton
from workbench.model.classifier import Architecture, ImageClassifier, outputs_at
from workbench.model.families.lite import LITE
from workbench.model.families.torchvision_nets import torchvision_names
from workbench.recipe import Model
from workbench.support.errors import UserError

ALL = [*LITE, *torchvision_names()]


@pytest.mark.parametrize("name", ALL)
def test_every_tensor_of_every_backbone_is_in_exactly_one_group_and_the_head_fits(name: str) -> None:
    classifier = skeleton(Model(backbone=name, weights="none"), 37)
    tensors = [*classifier.named_parameters(), *classifier.named_buffers()]
    owners = {tensor: [g.name for g in classifier.groups if g.holds(tensor)] for tensor, _ in tensors}
    assert {tensor: names for tensor, names in owners.items() if len(names) != 1} == {}
    assert sum(g.parameter_count(classifier) for g in classifier.groups) == sum(
        p.numel() for p in classifier.parameters()
    )
    assert all(g.parameter_count(classifier) for g in classifier.groups), "a group without parameters"
    assert classifier.groups[-1].name == "head"
    assert all(value.is_meta for _, value in tensors), "the skeleton took memory"
    assert classifier.linear.in_features == classifier.feature_width
    assert outputs_at(classifier, classifier.native_size) == (1, 37)


@pytest.mark.parametrize("name", torchvision_names())
def test_trunk_parameters_are_the_published_network_without_its_head(name: str) -> None:
    """Against torchvision's own count of the published network: only its last layer may be missing."""
    classifier = skeleton(Model(backbone=name, weights="none"), 1000)
    published = models.get_model_weights(name).DEFAULT.meta["num_params"]
    ours = sum(p.numel() for p in classifier.parameters())
    # GoogLeNet's published count leaves its auxiliary heads out, Inception's counts them in.
    auxiliary = 3_326_696 if name == "inception_v3" else 0
    # MaxViT's last layer has no bias; ours always has one.
    bias = 1000 if name == "maxvit_t" else 0
    assert ours + auxiliary - bias == published


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        ("resnet152", "stem layer1 layer2 layer3 layer4 head"),
        ("efficientnet_b0", "stem stage1 stage2 stage3 stage4 stage5 stage6 stage7 conv_head head"),
        ("efficientnet_lite0", "stem stage1 stage2 stage3 stage4 stage5 stage6 stage7 conv_head head"),
        ("mobilenet_v2", "stem stage1 stage2 stage3 stage4 stage5 stage6 stage7 conv_head head"),
        ("convnext_tiny", "stem stage1 stage2 stage3 stage4 norm head"),
        ("swin_t", "stem stage1 stage2 stage3 stage4 norm head"),
        ("densenet121", "stem stage1 stage2 stage3 stage4 norm head"),
        ("vit_b_16", "stem " + " ".join(f"block{n}" for n in range(1, 13)) + " norm head"),
        ("maxvit_t", "stem stage1 stage2 stage3 stage4 pre_logits head"),
        ("vgg16_bn", "stage1 stage2 stage3 stage4 stage5 fc head"),
        ("squeezenet1_0", "stem stage1 stage2 stage3 head"),
        ("regnet_y_400mf", "stem stage1 stage2 stage3 stage4 head"),
    ],
)
def test_groups_are_named_from_input_to_output(name: str, groups: str) -> None:
    classifier = skeleton(Model(backbone=name, weights="none"), 2)
    assert " ".join(group.name for group in classifier.groups) == groups


@pytest.mark.parametrize("name", ["convnext_tiny", "swin_t"])
def test_downsampling_belongs_to_the_stage_it_leads_into(name: str) -> None:
    groups = {g.name: g.parts for g in skeleton(Model(backbone=name, weights="none"), 2).groups}
    assert groups["stage1"] == ("trunk.features.1",)
    assert groups["stage2"] == ("trunk.features.2", "trunk.features.3")


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("resnet18", 64),
        ("mobilenet_v2", 64),
        ("mobilenet_v3_small", 64),
        ("efficientnet_b0", 64),
        ("efficientnet_lite0", 64),
        ("convnext_tiny", 64),
        pytest.param("vit_b_16", 224, marks=pytest.mark.slow),
        ("swin_t", 64),
        ("squeezenet1_0", 64),
        ("densenet121", 64),
        ("googlenet", 64),
        ("inception_v3", 96),
    ],
)
def test_images_become_features_and_logits_in_both_modes(name: str, side: int) -> None:
    classifier = random_network(name)
    batch = images(2, side)
    for training in (True, False):
        classifier.train(training)
        with torch.no_grad():
            features = classifier.features(batch)
            logits = classifier(batch)
        assert features.shape == (2, classifier.feature_width)
        assert logits.shape == (2, 5)
        assert torch.isfinite(logits).all()


@pytest.mark.parametrize("name", ["mobilenet_v2", "efficientnet_b0", "vgg11", "mobilenet_v3_small"])
def test_the_published_dropout_before_the_head_gives_way_to_the_recipes(name: str) -> None:
    classifier = skeleton(Model(backbone=name, weights="none", dropout=0.3), 5)
    rates = [module.p for module in classifier.modules() if isinstance(module, nn.Dropout)]
    inner = [0.5] if name == "vgg11" else []
    assert rates == [*inner, 0.3]


def test_the_head_is_seeded_whatever_the_global_generators_are_at_and_leaves_them_alone() -> None:
    model = Model(backbone="mobilenet_v3_small", weights="none")
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = build(model, 5, seed=7)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    random.seed(2)
    np.random.seed(2)
    again, other = build(model, 5, seed=7), build(model, 5, seed=8)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.linear.weight, other.linear.weight)


def test_the_head_does_not_depend_on_the_trunks_weights() -> None:
    pretrained = build(Model(backbone="efficientnet_lite0"), 5, seed=7)
    random_trunk = build(Model(backbone="efficientnet_lite0", weights="none"), 5, seed=7)
    assert torch.equal(pretrained.linear.weight, random_trunk.linear.weight)
    assert not torch.equal(next(pretrained.trunk.parameters()), next(random_trunk.trunk.parameters()))


def test_a_misspelt_backbone_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UserError, match="did you mean resnet152") as error:
        build(Model(backbone="resnet_152"), 5, seed=0)
    assert error.value.where == "model.backbone"


def test_a_transformer_is_built_for_the_recipes_image_size() -> None:
    classifier = skeleton(Model(backbone="vit_b_32", weights="none"), 5, image_size=64)
    assert dict(classifier.named_parameters())["trunk.encoder.pos_embedding"].shape == (1, 2 * 2 + 1, 768)
    assert classifier.native_size == 64


@pytest.mark.parametrize(
    ("name", "size"), [("vit_b_16", 100), ("maxvit_t", 100), ("inception_v3", 64), ("alexnet", 32)]
)
def test_an_image_size_that_a_network_cannot_take_is_refused(name: str, size: int) -> None:
    with pytest.raises(UserError, match=f"{size} × {size}") as error:
        skeleton(Model(backbone=name, weights="none"), 5, image_size=size)
    assert error.value.where == "data.image_size"


def test_checking_a_size_changes_no_tensor_and_no_mode() -> None:
    classifier = random_network("mobilenet_v3_small").train()
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    assert outputs_at(classifier, 64) == (1, 5)
    assert classifier.training
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())


@pytest.mark.parametrize(
    ("groups", "complaint"),
    [
        ((LayerGroup("a", ("0",)),), "1.weight"),
        ((LayerGroup("a", ("0", "1")), LayerGroup("b", ("1",))), "1.weight"),
        ((LayerGroup("a", ("0",)), LayerGroup("a", ("1",))), "one name"),
    ],
)
def test_groups_that_miss_or_share_a_tensor_are_refused(
    groups: tuple[LayerGroup, ...], complaint: str
) -> None:
    trunk = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    architecture = Architecture("toy", trunk, feature_width=2, groups=groups, native_size=1)
    with pytest.raises(ValueError, match=complaint):
        ImageClassifier(architecture, 2)
