from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.model.small import changed, images, random_network, snapshot, training_step
from workbench.model import ImageClassifier, is_trunk_fixed, set_noise, tune, unlocked_groups
from workbench.recipe import Finetune
from workbench.support.errors import UserError

STATISTICS = ("running_mean", "running_var")


def finetune(layers: Any = "all", batch_norm: Any = "tuned", statistics: Any = "same") -> Finetune:
    return Finetune(layers=layers, batch_norm=batch_norm, batch_norm_statistics=statistics)


def facts_after_a_step(classifier: ImageClassifier) -> dict[str, tuple[bool, bool, bool]]:
    """Group -> (weights moved, scale or shift moved, statistics moved), by looking at the tensors."""
    before = snapshot(classifier)
    training_step(classifier.train(), images())
    moved = changed(classifier, before)
    facts = {}
    for group in classifier.groups:
        norms = {name for name, _ in group.batch_norms(classifier)}
        mine = {name for name in moved if group.holds(name)}
        statistics = {name for name in mine if name.endswith(STATISTICS)}
        affine = {name for name in mine - statistics if name.rpartition(".")[0] in norms}
        facts[group.name] = (bool(mine - statistics - affine), bool(affine), bool(statistics))
    return facts


@pytest.mark.parametrize(
    "choice",
    [
        finetune("all", "all"),
        finetune("all", "frozen"),
        finetune("head", "tuned"),
        finetune("head", "all"),
        finetune("head", "frozen", "all"),
        finetune(("layer4", "head"), ("layer4",), ("layer1", "layer4")),
        finetune(("layer4", "layer2", "layer1", "head"), "all"),
        finetune(("layer4", "head"), ("stem", "layer3"), "frozen"),
        finetune(("layer4", "head"), "tuned", "frozen"),
        finetune(("layer2", "head"), "frozen", "tuned"),
    ],
    ids=lambda f: f"{f.layers}-{f.batch_norm}-{f.batch_norm_statistics}",
)
def test_what_tune_says_is_what_a_training_step_changes(choice: Finetune) -> None:
    classifier = random_network()
    tuning = tune(classifier, choice)
    said = {g.name: (g.learns, g.batch_norm_learns, g.statistics_update) for g in tuning.groups}
    assert facts_after_a_step(classifier) == said


def test_scale_and_shift_learn_only_in_the_groups_of_batch_norm() -> None:
    classifier = random_network()
    tune(classifier, finetune(("layer4", "head"), ("layer1",)))
    trainable = {name for name, p in classifier.named_parameters() if p.requires_grad}
    norms = {
        f"{name}.{leaf}"
        for group in classifier.groups
        for name, _ in group.batch_norms(classifier)
        for leaf in ("weight", "bias")
    }
    assert {name.split(".")[1] for name in trainable & norms} == {"layer1"}
    assert {name.split(".")[1] for name in trainable - norms} == {"layer4", "linear"}


def test_a_norm_that_keeps_its_statistics_uses_them_also_in_training_mode() -> None:
    classifier = random_network()
    tune(classifier, finetune("all", "all", "frozen"))
    batch = images()
    with torch.no_grad():
        assert torch.equal(classifier.train()(batch), classifier.eval()(batch))


@pytest.mark.parametrize("how", ["classifier", "wrapper", "trunk", "layer"])
def test_frozen_statistics_survive_every_way_of_calling_train(how: str) -> None:
    classifier = random_network()
    tune(classifier, finetune("all", "all", ("layer4",)))
    before = snapshot(classifier)
    {
        "classifier": classifier,
        "wrapper": nn.Sequential(classifier),
        "trunk": classifier.trunk,
        "layer": classifier.trunk.get_submodule("layer1"),
    }[how].train()
    classifier(images())
    moved = {name.split(".")[1] for name in changed(classifier, before)}
    assert moved <= {"layer4"}


def test_the_mode_of_frozen_norms_shows_before_any_image_goes_through() -> None:
    classifier = random_network()
    tune(classifier, finetune("all", "all", ("layer4",)))
    for wrapper in (classifier, nn.Sequential(classifier)):
        wrapper.train()
        in_training = {
            group.name
            for group in classifier.groups
            for _, norm in group.batch_norms(classifier)
            if norm.training
        }
        assert in_training == {"layer4"}
        assert classifier.training


def test_a_deep_copy_holds_its_own_norms() -> None:
    classifier = random_network()
    tune(classifier, finetune("head"))
    twin = copy.deepcopy(classifier).train()
    before = snapshot(twin)
    twin(images())
    assert changed(twin, before) == set()


def test_tuning_again_forgets_what_was_held_before() -> None:
    classifier = random_network()
    tune(classifier, finetune("head"))
    tune(classifier, finetune("all", "all"))
    assert all(facts_after_a_step(classifier)["layer1"])


class _Watch:
    """Counts forward and backward visits to leaf modules."""

    def __init__(self, classifier: ImageClassifier) -> None:
        self.backward: set[str] = set()
        self.with_graph: set[str] = set()
        for name, module in classifier.named_modules():
            if not list(module.children()):
                module.register_forward_hook(self._hook(name))

    def _hook(self, name: str) -> Any:
        def after(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if output.requires_grad:
                self.with_graph.add(name)
                seen: Any = output
                seen.register_hook(lambda gradient: self.backward.add(name))

        return after


def test_a_frozen_prefix_builds_no_graph_and_runs_no_backward() -> None:
    classifier = random_network()
    tune(classifier, finetune(("layer4", "head")))
    watch = _Watch(classifier)
    training_step(classifier.train(), images())
    assert watch.backward == watch.with_graph
    below = {"conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3"}
    visited = {name.split(".")[1] for name in watch.backward}
    assert visited & below == set()
    assert visited >= {"layer4", "avgpool", "linear"}


def test_statistics_alone_update_below_without_any_graph() -> None:
    classifier = random_network()
    tune(classifier, finetune("head", "frozen", "all"))
    watch = _Watch(classifier)
    before = snapshot(classifier)
    training_step(classifier.train(), images())
    assert {name.split(".")[0] for name in watch.with_graph} == {"head"}
    assert any(name.startswith("trunk.layer1") for name in changed(classifier, before))


def test_trainable_counts_are_the_parameters_that_require_gradients() -> None:
    classifier = random_network()
    tuning = tune(classifier, finetune(("layer4", "layer1", "head"), ("layer3",)))
    assert tuning.parameters == sum(p.numel() for p in classifier.parameters())
    assert tuning.trainable == sum(p.numel() for p in classifier.parameters() if p.requires_grad)
    assert [g.name for g in tuning.groups if g.is_frozen] == ["stem", "layer2"]


@pytest.mark.parametrize(
    ("choice", "fixed"),
    [
        (finetune("head"), True),
        (finetune("head", "frozen"), True),
        (finetune("head", "all"), False),
        (finetune("head", "frozen", ("stem",)), False),
        (finetune(("layer4", "head")), False),
    ],
)
def test_the_trunk_is_fixed_exactly_when_its_features_stay_the_same(choice: Finetune, fixed: bool) -> None:
    classifier = random_network()
    assert tune(classifier, choice).trunk_fixed is fixed
    batch = images()
    with torch.no_grad():
        before = classifier.eval().features(batch)
    training_step(classifier.train(), images(seed=1))
    with torch.no_grad():
        assert torch.equal(classifier.eval().features(batch), before) is fixed
        assert not fixed or torch.equal(classifier.train().features(batch), before)


def test_stochastic_depth_keeps_a_frozen_trunk_from_being_fixed() -> None:
    classifier = random_network()
    assert tune(classifier, finetune("head")).trunk_fixed
    set_noise(classifier, 0.5, 0.2)
    assert not is_trunk_fixed(classifier)
    set_noise(classifier, 0.5, 0.0)
    assert is_trunk_fixed(classifier), "dropout of the head is above the features"


def test_a_frozen_vgg_keeps_its_own_dropout_quiet_and_a_tuned_one_does_not() -> None:
    classifier = random_network("vgg11")
    assert tune(classifier, finetune("head", "frozen")).trunk_fixed
    assert not tune(classifier, finetune(("fc", "head"), "frozen")).trunk_fixed
    inner = classifier.trunk.get_submodule("classifier.2")
    assert isinstance(inner, nn.Dropout)
    classifier.train()
    assert inner.training


@pytest.mark.parametrize(
    ("choice", "where", "told"),
    [
        (finetune(("layer5", "head")), "finetune.layers", "stem, layer1, layer2, layer3, layer4, head"),
        (finetune("all", ("layr2",)), "finetune.batch_norm", "did you mean layer2"),
        (finetune("all", "all", ("fc",)), "finetune.batch_norm_statistics", "no layer group named 'fc'"),
        (finetune("all", ("layer1", "head")), "finetune.batch_norm", "head: no batch norms"),
    ],
)
def test_names_that_the_backbone_lacks_are_refused(choice: Finetune, where: str, told: str) -> None:
    with pytest.raises(UserError, match=told) as error:
        tune(random_network(), choice)
    assert error.value.where == where


def test_a_choice_by_which_nothing_would_learn_is_refused() -> None:
    """DenseNet's last group is a batch norm and nothing else."""
    with pytest.raises(UserError, match="nothing would learn") as error:
        tune(random_network("densenet121"), finetune(("norm",), "frozen"))
    assert error.value.where == "finetune.layers"


def test_groups_unlock_from_the_head_downwards() -> None:
    choice = Finetune(layers=("layer2", "layer4", "head"), batch_norm="all", gradual_unfreeze=2)
    assert [unlocked_groups(choice, epoch) for epoch in range(6)] == [1, 1, 2, 2, 3, 3]
    classifier = random_network()

    def open_groups(unlocked: int | None) -> list[str]:
        tuning = tune(classifier, choice, unlocked=unlocked)
        return [group.name for group in tuning.groups if not group.is_frozen]

    assert open_groups(1) == ["head"]
    assert open_groups(2) == ["layer4", "head"]
    assert open_groups(3) == ["stem", "layer1", "layer2", "layer3", "layer4", "head"]
    assert open_groups(99) == open_groups(None) == open_groups(3)


def test_without_gradual_unfreezing_all_is_open_from_the_start() -> None:
    assert unlocked_groups(Finetune(layers="all"), 0) is None
