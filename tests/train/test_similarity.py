"""What images are compared by, from the recipe's word to the numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.pseudo.pools import knobs
from workbench.model import build
from workbench.model.classifier import PublishedHead
from workbench.pseudo import beside_classes
from workbench.recipe import Model
from workbench.support.errors import UserError
from workbench.train.teacher import compared

FEATURES = np.random.default_rng(0).normal(size=(4, 512)).astype(np.float32)
BESIDE = knobs("prototype", similarity="features+classes")


def test_features_alone_are_compared_as_they_are() -> None:
    classifier = build(Model(backbone="resnet18", weights="none"), 3, seed=0)
    assert compared(classifier, knobs("prototype"), FEATURES) is FEATURES


def test_the_published_classifier_answers_beside_the_features() -> None:
    classifier = build(Model(backbone="resnet18", weights="none"), 3, seed=0)
    head = PublishedHead(torch.randn(7, 512), torch.randn(7))
    classifier.published_head = head
    expected = beside_classes(FEATURES, head.weight.numpy(), head.bias.numpy())
    np.testing.assert_array_equal(compared(classifier, BESIDE, FEATURES), expected)


def test_a_backbone_without_its_published_classifier_is_told() -> None:
    classifier = build(Model(backbone="resnet18", weights="none"), 3, seed=0)
    with pytest.raises(UserError, match="without their published classifier") as caught:
        compared(classifier, BESIDE, FEATURES)
    assert caught.value.where == "pseudo_label.similarity"


def test_the_lite_weights_come_with_their_classifier() -> None:
    classifier = build(Model(backbone="efficientnet_lite0"), 3, seed=0)
    assert classifier.published_head is not None
    assert classifier.published_head.weight.shape == (1000, 1280)
