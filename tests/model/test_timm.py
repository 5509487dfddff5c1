from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch

from tests.model.small import images, random_network
from workbench.model import build, skeleton, tune
from workbench.model.classifier import is_stochastic_depth, outputs_at
from workbench.recipe import Finetune, Model
from workbench.support.errors import UserError

BLOCKS = " ".join(f"block{number}" for number in range(1, 13))


@pytest.mark.parametrize(
    ("name", "groups", "blocks"),
    [
        ("resnet18", "stem layer1 layer2 layer3 layer4 head", 8),
        ("vit_tiny_patch16_224", f"stem {BLOCKS} norm head", 12),
        ("convnext_atto", "stem stage1 stage2 stage3 stage4 norm head", 12),
        (
            "efficientnet_b0",
            "stem stage1 stage2 stage3 stage4 stage5 stage6 stage7 conv_head head",
            9,
        ),
        ("swin_tiny_patch4_window7_224", "stem stage1 stage2 stage3 stage4 norm head", 12),
        ("mobilenetv3_small_050", "stem stage1 stage2 stage3 stage4 stage5 stage6 conv_head head", 7),
        ("hrnet_w18_small", None, None),
        ("densenet121", "stem denseblock1 denseblock2 denseblock3 denseblock4 norm5 head", 0),
    ],
)
def test_groups_and_drop_paths_follow_timms_own_structure(
    name: str, groups: str | None, blocks: int | None
) -> None:
    depth = 0.2 if blocks else 0.0
    classifier = skeleton(Model(backbone=f"timm:{name}", weights="none", stochastic_depth=depth), 5)
    if groups is not None:
        assert " ".join(group.name for group in classifier.groups) == groups
    assert outputs_at(classifier, classifier.native_size) == (1, 5)
    if blocks:
        paths = {module.p for module in classifier.modules() if is_stochastic_depth(module)}
        assert len(paths) == blocks
        assert max(paths) == pytest.approx(0.2)


def test_a_file_of_timms_computes_what_timm_does(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs: Any = timm.create_model("resnet18").eval()
    safetensors.torch.save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    model = Model(backbone="timm:resnet18", weights=str(tmp_path / "model.safetensors"))
    ours = build(model, 5, seed=0).eval()
    with torch.no_grad():
        torch.testing.assert_close(theirs.get_classifier()(ours.features(images())), theirs(images()))
    assert ours.mean == theirs.pretrained_cfg["mean"]


def test_batch_norms_of_timm_are_frozen_like_any() -> None:
    classifier = random_network("timm:resnet18")
    assert tune(classifier, Finetune(layers="head")).trunk_fixed
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    classifier.train()(images())
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())


def test_a_fixed_size_transformer_is_built_for_the_recipes_image_size() -> None:
    model = Model(backbone="timm:vit_tiny_patch16_224", weights="none")
    assert skeleton(model, 5, image_size=96).native_size == 96


@pytest.mark.parametrize(
    ("backbone", "weights", "told"),
    [
        ("timm:resnt18", "none", "did you mean timm:resnet18"),
        ("timm:resnet18.nobody_in1k", "none", r"timm:resnet18\.a1_in1k"),
        ("timm:resnet18", "IMAGENET1K_V1", "chosen by the tag"),
    ],
)
def test_unknown_names_tags_and_weights_are_refused(backbone: str, weights: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        build(Model(backbone=backbone, weights=weights), 5, seed=0)


def test_a_missing_timm_is_told_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.setitem(sys.modules, "timm.data", None)
    with pytest.raises(UserError, match=r"pip install 'petbench\[timm\]'"):
        build(Model(backbone="timm:resnet18"), 5, seed=0)
