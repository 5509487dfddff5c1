from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.model.small import images, random_network, training_step
from workbench.model import ImageClassifier, group_rates, parameter_groups, tune
from workbench.recipe import Finetune, Optimizer
from workbench.support.errors import UserError


def entries(classifier: ImageClassifier, **knobs: Any) -> list[dict[str, Any]]:
    return parameter_groups(classifier, Optimizer(**knobs))


def test_every_parameter_is_listed_once_also_those_frozen_now() -> None:
    classifier = random_network()
    tune(classifier, Finetune(layers="head"))
    for decay in (0.0, 0.1):
        listed = [p for entry in entries(classifier, weight_decay=decay) for p in entry["params"]]
        names = [name for entry in entries(classifier, weight_decay=decay) for name in entry["tensors"]]
        assert sorted(map(id, listed)) == sorted(map(id, classifier.parameters()))
        assert sorted(names) == sorted(name for name, _ in classifier.named_parameters())


def test_layer_decay_lowers_the_rate_group_by_group_from_the_head() -> None:
    rates = group_rates(random_network(), Optimizer(learning_rate=1e-2, layer_decay=0.5))
    assert rates == pytest.approx(
        {
            "stem": 1e-2 / 32,
            "layer1": 1e-2 / 16,
            "layer2": 1e-2 / 8,
            "layer3": 1e-2 / 4,
            "layer4": 1e-2 / 2,
            "head": 1e-2,
        }
    )


def test_layer_rates_override_both_the_common_rate_and_the_decay() -> None:
    rates = group_rates(
        random_network(),
        Optimizer(learning_rate=1e-2, layer_decay=0.5, layer_rates={"layer1": 1e-5, "head": 3e-2}),
    )
    assert rates["layer1"] == 1e-5
    assert rates["head"] == 3e-2
    assert rates["layer4"] == pytest.approx(5e-3)


@pytest.mark.parametrize("backbone", ["resnet18", "vit_b_32", "swin_t", "convnext_tiny"])
def test_weight_decay_spares_biases_norms_tokens_and_position_embeddings(backbone: str) -> None:
    classifier = random_network(backbone)
    decayed = {
        name
        for entry in entries(classifier, weight_decay=0.1)
        if entry["weight_decay"] > 0
        for name in entry["tensors"]
    }
    parameters = dict(classifier.named_parameters())
    spared = set(parameters) - decayed
    assert all(parameters[name].ndim >= 2 for name in decayed)
    special = ("class_token", "pos_embedding", "relative_position_bias_table", "layer_scale")
    assert {name for name in parameters if name.endswith(special)} <= spared
    assert all(parameters[name].ndim == 1 or name.endswith(special) for name in spared)
    assert "head.linear.weight" in decayed


@pytest.mark.parametrize(
    ("rates", "where", "told"),
    [
        ({"layer5": 1e-4}, "optimizer.layer_rates.layer5", "did you mean layer"),
        ({"fc": 1e-4}, "optimizer.layer_rates.fc", "stem, layer1"),
    ],
)
def test_rates_of_unknown_groups_are_refused(rates: dict[str, float], where: str, told: str) -> None:
    with pytest.raises(UserError, match=told) as error:
        entries(random_network(), layer_rates=rates)
    assert error.value.where == where


@pytest.mark.parametrize("rate", [0.0, -1e-3, 11.0])
def test_a_rate_that_is_none_is_refused_whatever_the_schema_lets_through(rate: float) -> None:
    optimizer = Optimizer().model_copy(update={"layer_rates": {"layer1": rate}})
    with pytest.raises(UserError, match="no learning rate") as error:
        group_rates(random_network(), optimizer)
    assert error.value.where == "optimizer.layer_rates.layer1"


def test_a_rate_for_a_group_that_never_learns_is_refused() -> None:
    classifier = random_network()
    optimizer = Optimizer(layer_rates={"layer1": 1e-5})
    with pytest.raises(UserError, match="nothing in layer1 learns"):
        parameter_groups(classifier, optimizer, Finetune(layers=("layer4", "head")))
    # Its batch norms learn, so the rate has an effect.
    parameter_groups(classifier, optimizer, Finetune(layers=("layer4", "head"), batch_norm="all"))


def test_an_optimiser_made_while_all_is_frozen_trains_what_unlocks_later() -> None:
    classifier = random_network()
    choice = Finetune(layers="all", gradual_unfreeze=1)
    tune(classifier, choice, unlocked=1)
    optimizer = torch.optim.AdamW(entries(classifier, learning_rate=1e-2, weight_decay=0.1))
    stem = classifier.trunk.get_parameter("conv1.weight")
    for unlocked, moves in ((1, False), (6, True)):
        tune(classifier, choice, unlocked=unlocked)
        before = stem.detach().clone()
        loss = torch.nn.functional.cross_entropy(classifier.train()(images()), torch.arange(4))
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        assert torch.equal(stem, before) is not moves
    training_step(classifier, images())
