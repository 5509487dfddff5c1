"""A classifier that is cut above its frozen groups computes what it computes whole."""

from __future__ import annotations

import copy

import pytest
import torch

from tests.model.small import images, random_network
from workbench.model import find_cut, set_noise, tune
from workbench.recipe import Finetune


def _up_to(stage: int) -> tuple[str, ...]:
    return "stem", *(f"stage{number}" for number in range(1, stage + 1))


@pytest.mark.parametrize(
    ("name", "layers", "groups"),
    [
        ("resnet18", ("layer4", "head"), ("stem", "layer1", "layer2", "layer3")),
        ("resnet18", ("layer1", "head"), ("stem",)),
        ("resnet50", ("layer3", "layer4", "head"), ("stem", "layer1", "layer2")),
        (
            "efficientnet_lite0",
            ("stage7", "conv_head", "head"),
            ("stem", *(f"stage{n}" for n in range(1, 7))),
        ),
        ("efficientnet_b0", ("conv_head", "head"), _up_to(7)),
        (
            "mobilenet_v2",
            ("stage6", "stage7", "conv_head", "head"),
            ("stem", *(f"stage{n}" for n in range(1, 6))),
        ),
        ("vgg11", ("head",), ("stage1", "stage2", "stage3", "stage4", "stage5", "fc")),
    ],
)
def test_both_parts_together_are_the_network_bit_for_bit(
    name: str, layers: tuple[str, ...], groups: tuple[str, ...]
) -> None:
    classifier = random_network(name)
    cut = find_cut(classifier, tune(classifier, Finetune(layers=layers, batch_norm="tuned")))
    assert cut is not None
    assert cut.groups == groups
    assert cut.is_at_features == (layers == ("head",))
    twin = copy.deepcopy(classifier)
    views = images(3, 64)
    for mode in (False, True):
        classifier.train(mode)
        twin.train(mode)
        torch.manual_seed(0)
        whole = classifier(views)
        torch.manual_seed(0)
        with torch.no_grad():
            maps = cut.prefix(twin)(views)
        apart = cut.logits(twin, maps)
        assert torch.equal(whole, apart)
        torch.autograd.backward(whole.sum())
        torch.autograd.backward(apart.sum())
    for (tensor, parameter), other in zip(classifier.named_parameters(), twin.parameters(), strict=True):
        assert (parameter.grad is None) == (other.grad is None), tensor
        assert parameter.grad is None or other.grad is None or torch.equal(parameter.grad, other.grad)


def test_groups_above_an_open_one_stay_whole() -> None:
    classifier = random_network()
    finetune = Finetune(layers=("layer2", "head"), batch_norm="tuned")
    cut = find_cut(classifier, tune(classifier, finetune))
    assert cut is not None
    assert cut.groups == ("stem", "layer1")
    assert cut.above == ("layer2", "layer3", "layer4")


@pytest.mark.parametrize("batch_norm", ["all", ("stem",)])
def test_a_group_whose_batch_norm_moves_is_not_below(batch_norm: object) -> None:
    classifier = random_network()
    finetune = Finetune(layers=("layer4", "head"), batch_norm=batch_norm)  # type: ignore[arg-type]
    assert find_cut(classifier, tune(classifier, finetune)) is None


def test_a_trunk_that_is_no_known_chain_is_not_cut() -> None:
    classifier = random_network("densenet121")
    assert find_cut(classifier, tune(classifier, Finetune(layers=("norm", "head")))) is None


def test_noise_below_is_told() -> None:
    classifier = random_network()
    cut = find_cut(classifier, tune(classifier, Finetune(layers=("layer4", "head"), batch_norm="tuned")))
    assert cut is not None
    assert cut.is_quiet(classifier)
    set_noise(classifier, dropout=0.5, stochastic_depth=0.2)
    assert not cut.is_quiet(classifier)
    set_noise(classifier, dropout=0.5, stochastic_depth=0.0)
    assert cut.is_quiet(classifier)
