from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from tests.model.small import images, random_network, snapshot
from workbench.model import ImageClassifier, set_noise, skeleton
from workbench.model.classifier import is_stochastic_depth, noisy_modules
from workbench.recipe import Model
from workbench.support.errors import UserError

# Backbone -> residual blocks that add their input, counted in the papers' tables.
RESIDUAL = {
    "resnet18": 8,
    "resnet50": 16,
    "wide_resnet50_2": 16,
    "mobilenet_v2": 10,
    "mobilenet_v3_small": 6,
    "mnasnet0_5": 10,
    "regnet_y_400mf": 16,
    "efficientnet_b0": 9,
    "efficientnet_lite0": 9,
    "convnext_tiny": 18,
    "swin_t": 12,
    "vit_b_16": 12,
}
PLAIN = [
    "alexnet",
    "vgg11_bn",
    "densenet121",
    "squeezenet1_0",
    "googlenet",
    "inception_v3",
    "shufflenet_v2_x0_5",
]


def rates(classifier: ImageClassifier) -> list[float]:
    return [module.p for module in classifier.trunk.modules() if is_stochastic_depth(module)]


@pytest.mark.parametrize("name", list(RESIDUAL))
def test_the_drop_rate_grows_linearly_from_0_at_the_first_block(name: str) -> None:
    classifier = skeleton(Model(backbone=name, weights="none", stochastic_depth=0.2), 5)
    count = RESIDUAL[name]
    active = sorted({round(rate, 9) for rate in rates(classifier)})
    assert active == [round(0.2 * index / (count - 1), 9) for index in range(count)]


@pytest.mark.parametrize("name", PLAIN)
def test_networks_without_residual_blocks_refuse_stochastic_depth(name: str) -> None:
    with pytest.raises(UserError, match="no residual blocks") as error:
        skeleton(Model(backbone=name, weights="none", stochastic_depth=0.2), 5)
    assert error.value.where == "model.stochastic_depth"
    skeleton(Model(backbone=name, weights="none", dropout=0.5), 5)


@pytest.mark.parametrize("name", ["convnext_tiny", "efficientnet_b0", "swin_t", "maxvit_t"])
def test_the_published_networks_own_rates_give_way_to_the_recipes_zero(name: str) -> None:
    classifier = skeleton(Model(backbone=name, weights="none"), 5)
    assert noisy_modules(classifier) == []


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("resnet18", 64),
        ("mobilenet_v2", 64),
        ("efficientnet_lite0", 64),
        ("regnet_y_400mf", 64),
        ("vit_b_32", 64),
    ],
)
def test_a_dropped_branch_leaves_the_block_its_input(name: str, side: int) -> None:
    """At a rate of (nearly) 1 in every block, training-mode outputs equal those with all branches cut off."""
    from workbench.model import build

    model = Model(backbone=name, weights="none", stochastic_depth=0.5)
    classifier = build(model, 5, seed=0, image_size=side)
    for module in classifier.modules():
        if is_stochastic_depth(module):
            module.p = 1.0
        elif isinstance(module, nn.BatchNorm2d):
            module.track_running_stats = False
    blocks = [
        block
        for block in classifier.trunk.modules()
        if is_stochastic_depth(getattr(block, "drop_path", getattr(block, "stochastic_depth", None)))
        and getattr(block, "use_res_connect", True)
    ]
    seen: list[bool] = []

    def same(block: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        if inputs[0].shape == output.shape:
            # The ReLU that ends a block of ResNet or RegNet changes nothing after another ReLU.
            seen.append(torch.equal(output, inputs[0]))

    for block in blocks:
        block.register_forward_hook(same)
    with torch.no_grad():
        classifier.train().features(images(2, side))
    assert len(seen) >= 4
    assert all(seen)


def test_a_branch_is_dropped_by_whole_samples_at_its_rate_and_scaled_to_keep_the_mean() -> None:
    classifier = random_network("resnet18", stochastic_depth=0.3)
    set_noise(classifier, 0.0, 0.3)
    last = classifier.trunk.get_submodule("layer4.1")
    outputs: list[torch.Tensor] = []
    branch = last.get_submodule("bn2")
    torch.nn.init.zeros_(branch.get_parameter("weight"))
    torch.nn.init.ones_(branch.get_parameter("bias"))
    branch.register_forward_hook(lambda module, inputs, output: outputs.append(output.clone()))
    torch.manual_seed(0)
    with torch.no_grad():
        last.train()(torch.rand(2000, 512, 1, 1))
    samples = outputs[0].flatten(1)
    assert torch.equal(samples.min(1).values, samples.max(1).values), "within a sample all or nothing"
    kept = (samples[:, 0] > 0).float().mean().item()
    # 3.9 standard errors of a share of 0.7 in 2,000.
    assert kept == pytest.approx(0.7, abs=0.04)
    assert samples[:, 0].max().item() == pytest.approx(1 / 0.7)


def test_evaluation_mode_has_no_noise_and_names_in_the_state_dict_stay() -> None:
    quiet, noisy = random_network(), random_network(dropout=0.5, stochastic_depth=0.5)
    assert list(quiet.state_dict()) == list(noisy.state_dict())
    batch = images()
    with torch.no_grad():
        assert torch.equal(quiet.eval()(batch), noisy.eval()(batch))
        torch.manual_seed(0)
        first = noisy.train()(batch)
        assert not torch.equal(first, noisy(batch))


def test_noise_can_be_raised_lowered_and_switched_off_again() -> None:
    classifier = random_network()
    before = snapshot(classifier)
    for dropout, depth in ((0.5, 0.4), (0.1, 0.2), (0.0, 0.0), (0.0, 0.3)):
        set_noise(classifier, dropout, depth)
        set_noise(classifier, dropout, depth)
        assert max(rates(classifier)) == pytest.approx(depth)
        assert len(rates(classifier)) == 8
        head = classifier.head.get_submodule("dropout")
        assert isinstance(head, nn.Dropout)
        assert head.p == dropout
        # A hook added twice would drop, and scale, twice.
        assert len(classifier.trunk.get_submodule("layer4.1.bn2")._forward_hooks) == 1
    assert before.keys() == classifier.state_dict().keys()


def test_a_copy_has_noise_of_its_own() -> None:
    teacher = random_network(stochastic_depth=0.5)
    student = copy.deepcopy(teacher)
    set_noise(teacher, 0.0, 0.0)
    assert noisy_modules(teacher) == []
    assert max(rates(student)) == 0.5
    batch = images()
    with torch.no_grad():
        assert torch.equal(teacher.train()(batch), teacher(batch))
        assert not torch.equal(student.train()(batch), student(batch))


def test_drop_paths_added_in_evaluation_mode_follow_the_trunks_mode() -> None:
    classifier = random_network().eval()
    set_noise(classifier, 0.0, 0.5)
    batch = images()
    with torch.no_grad():
        assert torch.equal(classifier(batch), classifier(batch))
