"""Transformers and their like: whose layer norms learn, and that blocks are groups like any."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.model.small import changed, images, snapshot, training_step
from workbench.model import ImageClassifier, build, parameter_groups, skeleton, tune
from workbench.recipe import Finetune, Model, Optimizer
from workbench.support.errors import UserError

VIT = "timm:vit_tiny_patch16_224"
BLOCKS = [f"block{number}" for number in range(1, 13)]


def network(backbone: str = VIT) -> ImageClassifier:
    return build(Model(backbone=backbone, weights="none"), 5, seed=0, image_size=64)


def facts_after_a_step(classifier: ImageClassifier) -> dict[str, tuple[bool, bool]]:
    """Group -> (weights moved, a layer norm's scale or shift moved), by looking at the tensors."""
    before = snapshot(classifier)
    training_step(classifier.train(), images())
    moved = changed(classifier, before)
    facts = {}
    for group in classifier.groups:
        norms = {name for name, _ in group.layer_norms(classifier)}
        mine = {name for name in moved if group.holds(name)}
        affine = {name for name in mine if name.rpartition(".")[0] in norms}
        facts[group.name] = (bool(mine - affine), bool(affine))
    return facts


@pytest.mark.parametrize(
    ("layers", "layer_norm"),
    [
        ("all", "tuned"),
        ("all", "frozen"),
        ("head", "tuned"),
        ("head", "all"),
        (("block11", "block12", "norm", "head"), ("block1", "norm")),
        (("block12", "head"), "frozen"),
    ],
)
def test_what_tune_says_of_layer_norms_is_what_a_training_step_changes(layers: Any, layer_norm: Any) -> None:
    classifier = network()
    tuning = tune(classifier, Finetune(layers=layers, layer_norm=layer_norm))
    said = {
        g.name: (g.learns and g.parameters > 2 * 192, g.layer_norm_learns) for g in tuning.groups
    }  # the group "norm" has a layer norm and nothing else
    assert facts_after_a_step(classifier) == said
    assert tuning.trainable == sum(p.numel() for p in classifier.parameters() if p.requires_grad)


def test_by_default_layer_norms_are_ordinary_parameters_of_their_groups() -> None:
    classifier = network("convnext_tiny")
    tuning = tune(classifier, Finetune(layers=("stage4", "norm", "head")))
    assert all(g.batch_norms == 0 and not g.statistics_update for g in tuning.groups)
    open_groups = [group for group in classifier.groups if group.name in ("stage4", "norm", "head")]
    expected = {name for group in open_groups for name, _ in group.named_parameters(classifier)}
    assert {name for name, p in classifier.named_parameters() if p.requires_grad} == expected


def test_a_head_with_all_layer_norms_trains_them_and_leaves_attention_as_it_is() -> None:
    classifier = network()
    tuning = tune(classifier, Finetune(layers="head", layer_norm="all"))
    assert not tuning.trunk_fixed
    assert tuning.trainable == 25 * 2 * 192 + 5 * 193  # two norms a block and one after, and the head
    before = snapshot(classifier)
    training_step(classifier.train(), images())
    moved = {name for name in changed(classifier, before) if not name.startswith("head.")}
    assert moved
    assert all(".norm" in name for name in moved)


@pytest.mark.parametrize(
    ("backbone", "norms"),
    [
        ("vit_b_16", 25),
        ("swin_t", 29),
        ("convnext_tiny", 23),
        ("maxvit_t", 45),
        (VIT, 25),
        ("timm:convnext_atto", 17),
        ("timm:resnetv2_50x1_bit", 49),
        ("timm:test_vit4", 19),
        ("resnet18", 0),
    ],
)
def test_every_kind_of_norm_without_statistics_is_counted(backbone: str, norms: int) -> None:
    classifier = skeleton(Model(backbone=backbone, weights="none"), 5)
    counted = [name for group in classifier.groups for name, _ in group.layer_norms(classifier)]
    assert len(counted) == len(set(counted)) == norms


def test_layer_norms_that_the_network_lacks_are_refused() -> None:
    resnet = skeleton(Model(backbone="resnet18", weights="none"), 5)
    tune(resnet, Finetune(layers="all"))
    for value in ("all", "frozen", ("layer1",)):
        with pytest.raises(UserError, match="resnet18 has no layer norms") as error:
            tune(resnet, Finetune(layers="all", layer_norm=value))
        assert error.value.where == "finetune.layer_norm"
    vit = skeleton(Model(backbone=VIT, weights="none"), 5)
    with pytest.raises(UserError, match="stem: no layer norms in there") as error:
        tune(vit, Finetune(layers="all", layer_norm=("stem", "norm")))
    assert "block1, block2" in str(error.value)
    with pytest.raises(UserError, match="did you mean block1"):
        tune(vit, Finetune(layers="all", layer_norm=("blok1",)))
    with pytest.raises(UserError, match="has no batch norms"):
        tune(vit, Finetune(layers="all", batch_norm=("block1",)))


@pytest.mark.parametrize("backbone", ["vit_b_32", VIT])
def test_a_transformers_blocks_decay_and_unfreeze_from_the_head_downwards(backbone: str) -> None:
    classifier = network(backbone)
    optimizer = Optimizer(name="adamw", learning_rate=1e-3, layer_decay=0.5, weight_decay=0.05)
    rates: dict[str, set[float]] = {}
    for entry in parameter_groups(classifier, optimizer, Finetune(layers="all")):
        rates.setdefault(entry["group"], set()).add(entry["lr"])
        spared = [n for n, p in zip(entry["tensors"], entry["params"], strict=True) if p.ndim <= 1]
        assert not spared or entry["weight_decay"] == 0
    order = ["stem", *BLOCKS, "norm", "head"]
    assert list(rates) == order
    assert [rate for name in order for rate in rates[name]] == [
        pytest.approx(1e-3 * 0.5 ** (14 - depth)) for depth in range(15)
    ]
    choice = Finetune(layers=("block11", "block12", "norm", "head"), layer_norm="all", gradual_unfreeze=1)

    def open_groups(unlocked: int | None) -> list[str]:
        return [g.name for g in tune(classifier, choice, unlocked=unlocked).groups if not g.is_frozen]

    assert open_groups(1) == ["head"]
    assert open_groups(2) == ["norm", "head"]
    assert open_groups(3) == ["block12", "norm", "head"]
    assert open_groups(4) == open_groups(None) == [*BLOCKS, "norm", "head"]
    tune(classifier, choice, unlocked=3)
    before = snapshot(classifier)
    training_step(classifier.train(), images())
    moved = {group.name for group in classifier.groups for n in changed(classifier, before) if group.holds(n)}
    assert moved == {"block12", "norm", "head"}
    assert torch.isfinite(classifier(images())).all()
