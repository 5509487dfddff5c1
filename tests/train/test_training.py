"""What the knobs of training do to a run's weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tests.train.making import CPU, HEAD, PSEUDO, TRUNK, Trained, differing, places, tiny, train
from workbench.loader import Batch
from workbench.model import build, set_noise
from workbench.recipe import Recipe
from workbench.recipe.plan import Stage, plan
from workbench.runs.events import EpochDone, Silent, StageStarted
from workbench.runs.predictions import load_predictions
from workbench.train import run as run_module
from workbench.train.network import Ints, Network
from workbench.train.precision import Precision
from workbench.train.setup import prepare
from workbench.train.state import Best
from workbench.train.step import Stepped, Stepper

FP32 = Precision("fp32", "fp32", "for the test")
LITE = ("model.backbone='efficientnet_lite0'", "model.weights='default'", "data.image_size=64")


def _network(recipe: Recipe, home: Path) -> Network:
    return Network(prepare(recipe, places(home), Silent()), FP32, Silent())


def _beginning(recipe: Recipe) -> dict[str, Tensor]:
    return build(recipe.model, 10, seed=recipe.seed).state_dict()


def _keep_the_last_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Best, "better_than", lambda *_: False)


# -- the average of the weights


def test_the_average_is_evaluated_and_kept_instead_of_the_weights(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decay = 0.8
    seen: list[Tensor] = []

    def watched(stepper: Stepper, batch: Batch, *rest: Any) -> Stepped:
        done = step(stepper, batch, *rest)
        (weight,) = (p for n, p in stepper._module.named_parameters() if n == "linear.weight")
        seen.append(weight.detach().clone())
        return done

    step = Stepper.step
    monkeypatch.setattr(Stepper, "step", watched)
    _keep_the_last_epoch(monkeypatch)
    trained = train(tiny(HEAD, sample, f"training.ema={decay}"), tmp_path)
    average = seen[0]
    for weight in seen[1:]:
        average = decay * average + (1 - decay) * weight
    assert len(seen) == 3 * 5
    torch.testing.assert_close(trained.weights()["head.linear.weight"], average)
    assert not torch.allclose(average, seen[-1])
    # What was validated is the average too.
    network = _network(tiny(HEAD, sample), tmp_path)
    network.load({"head.linear.weight": average, "head.linear.bias": trained.weights()["head.linear.bias"]})
    probabilities = network.probabilities(
        network.setup.split.validation, network.classifier.head, task="validation"
    )
    said = load_predictions(trained.directory.predictions("val")).probabilities
    np.testing.assert_allclose(probabilities, said, atol=1e-6)


def test_the_average_of_a_trunk_has_averaged_statistics_too(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _keep_the_last_epoch(monkeypatch)
    plain = train(tiny(TRUNK, sample, "training.ema=0"), tmp_path).weights()
    averaged = train(tiny(TRUNK, sample, "training.ema=0.95"), tmp_path).weights()
    statistics = [name for name in plain if name.endswith("running_mean")]
    assert statistics
    assert all(not torch.equal(plain[name], averaged[name]) for name in statistics)


# -- which parts learn


def test_gradual_unfreezing_opens_one_group_more_at_a_time(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _keep_the_last_epoch(monkeypatch)
    changes = (
        "model.backbone='resnet18'",
        "finetune.layers=['layer3', 'layer4', 'head']",
        "finetune.gradual_unfreeze=1",
    )
    beginning = _beginning(tiny(TRUNK, sample, *changes))
    opened = []
    for epochs in (1, 2, 3):
        recipe = tiny(TRUNK, sample, *changes, f"training.epochs={epochs}")
        changed = differing(train(recipe, tmp_path).weights(), beginning)
        opened.append({name.removeprefix("trunk.").split(".")[0] for name in changed})
    assert opened == [{"head"}, {"head", "layer4"}, {"head", "layer4", "layer3"}]


def test_frozen_groups_keep_every_tensor(sample: Path, tmp_path: Path) -> None:
    recipe = tiny(HEAD, sample, "augmentation.flip=true", "model.backbone='resnet18'")
    trained = train(recipe, tmp_path)
    assert not trained.events(StageStarted)[0].features
    assert differing(trained.weights(), _beginning(recipe)) == {"head.linear.weight", "head.linear.bias"}


# -- probe first


def test_a_fine_tune_that_ruins_the_probe_falls_back_on_it_with_a_warning(
    sample: Path, tmp_path: Path
) -> None:
    changes = (
        *LITE,
        "finetune.probe_epochs=20",
        "training.epochs=1",
        "optimizer.learning_rate=1",
        "model.dropout=0",
    )
    trained = train(tiny(TRUNK, sample, *changes), tmp_path)
    results = trained.results
    assert [event.stage for event in trained.events(StageStarted)] == ["probe", "fit"]
    assert results.best_epoch == 0
    assert results.probe_val_accuracy == results.val.accuracy
    assert any("no epoch beat the probe" in text for text in results.warnings)
    assert any("keeping the probe" in text for text in trained.recorder.messages("warning"))
    changed = differing(trained.weights(), _beginning(tiny(TRUNK, sample, *LITE)))
    assert changed == {"head.linear.weight", "head.linear.bias"}


def test_the_probe_is_where_fine_tuning_begins(sample: Path, tmp_path: Path) -> None:
    changes = (*LITE, "finetune.probe_epochs=5", "training.epochs=1", "optimizer.learning_rate=1e-9")
    trained = train(tiny(TRUNK, sample, *changes, "finetune.batch_norm='frozen'"), tmp_path)
    validated = [event for event in trained.events(EpochDone) if event.split == "val"]
    probes = [event for event in validated if event.stage == "probe"]
    start, end = (event for event in validated if event.stage == "fit")
    best = max(probes, key=lambda event: (event.accuracy, -event.loss))
    assert (start.epoch, start.accuracy) == (0, best.accuracy)
    assert start.loss == pytest.approx(best.loss, abs=1e-4)
    assert end.loss == pytest.approx(best.loss, abs=1e-3)


# -- what is trained on


def test_label_smoothing_keeps_the_logits_small(sample: Path, tmp_path: Path) -> None:
    def largest(smoothing: float) -> float:
        changes = ("training.epochs=60", f"training.label_smoothing={smoothing}")
        trained = train(tiny(HEAD, sample, *changes), tmp_path)
        return float(trained.weights()["head.linear.weight"].abs().max())

    assert largest(0.3) < largest(0.0)


@pytest.mark.parametrize("wanted", ["none", "balanced"])
def test_class_weights_give_every_labelled_class_the_same_say(
    wanted: str, sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    says = np.zeros(10)
    images = np.zeros(10)

    def watched(stepper: Stepper, batch: Batch, *rest: Any) -> Stepped:
        labels = batch.targets.argmax(dim=1)
        np.add.at(says, labels.numpy(), batch.weights.numpy())
        np.add.at(images, labels.numpy(), 1)
        return step(stepper, batch, *rest)

    step = Stepper.step
    monkeypatch.setattr(Stepper, "step", watched)
    table = "[pseudo_label]\nstratified = false\nlabelled_fraction = 0.5\nstrategy = 'one_shot'\n"
    changes = (f"training.class_weights='{wanted}'", "training.epochs=1", "pseudo_label.epochs_per_round=1")
    monkeypatch.setattr(run_module, "plan", lambda recipe: plan(recipe)[:1])
    monkeypatch.setattr(run_module, "conclude", lambda *_: None)
    train(tiny(HEAD + table, sample, *changes), tmp_path)
    assert images.sum() == says.sum().round(3) == 20
    assert len(set(images)) > 1  # the plain shuffle labelled some classes more often than others
    if wanted == "none":
        np.testing.assert_array_equal(says, images)
    else:
        np.testing.assert_allclose(says[images > 0], 20 / (images > 0).sum(), rtol=1e-5)


def test_augmented_copies_are_drawn_once_so_features_of_them_are_kept(sample: Path, tmp_path: Path) -> None:
    changes = ("augmentation.flip=true", "augmentation.random_crop=[0.5, 1.0]", "data.augmented_copies=2")
    trained = train(tiny(HEAD + PSEUDO, sample, *changes), tmp_path)
    said = [(e.labelled, e.pseudo_labelled, e.features) for e in trained.events(StageStarted)]
    assert said == [(60, 0, True), (60, 8, True), (60, 16, True)]
    again = train(tiny(HEAD + PSEUDO, sample, *changes), tmp_path / "again")
    assert again.results.weights_sha256 == trained.results.weights_sha256
    without = train(tiny(HEAD + PSEUDO, sample), tmp_path)
    assert without.results.weights_sha256 != trained.results.weights_sha256


@pytest.mark.parametrize(("mode", "labelled"), [("off", 40), ("add", 80), ("only", 40)])
def test_head_crops_join_or_replace_the_whole_images(
    mode: str, labelled: int, sample: Path, tmp_path: Path
) -> None:
    trained = train(tiny(HEAD, sample, f"data.head_crops='{mode}'"), tmp_path)
    assert trained.outcome.code == 0
    (stage,) = trained.events(StageStarted)
    assert (stage.labelled, stage.features) == (labelled, True)


def test_head_crops_are_other_views_than_whole_images(sample: Path, tmp_path: Path) -> None:
    hashes = {
        train(tiny(HEAD, sample, f"data.head_crops='{mode}'"), tmp_path).results.weights_sha256
        for mode in ("off", "add", "only")
    }
    assert len(hashes) == 3


@pytest.mark.parametrize("base", [HEAD, TRUNK], ids=["features", "trunk"])
@pytest.mark.parametrize("strategy", ["one_shot", "iterative", "class_balanced"])
@pytest.mark.parametrize("student", ["continue", "fresh"])
def test_every_strategy_runs_with_hard_and_soft_labels(
    base: str, strategy: str, student: str, sample: Path, tmp_path: Path
) -> None:
    targets = "soft" if student == "fresh" else "hard"
    table = f"""
    [pseudo_label]
    strategy = "{strategy}"
    labelled_fraction = 0.5
    epochs_per_round = 1
    student = "{student}"
    targets = "{targets}"
    """
    rounds = () if strategy == "one_shot" else ("pseudo_label.rounds=2",)
    trained = train(tiny(base + table, sample, "training.epochs=1", *rounds), tmp_path)
    assert trained.outcome.code == 0, trained.outcome
    assert len(trained.results.rounds) == (1 if strategy == "one_shot" else 2)
    assert trained.results.teacher_test is not None


# -- noise


def _with_noise(dropout: float) -> str:
    return f"pseudo_label.noise={{dropout={dropout}}}"


def test_the_student_trains_with_noise_and_the_teacher_labels_without(sample: Path, tmp_path: Path) -> None:
    latest = "pseudo_label.next_teacher='latest'"  # the second round shows what the first student learned
    quiet = train(tiny(HEAD + PSEUDO, sample, _with_noise(0.0), latest), tmp_path)
    noisy = train(tiny(HEAD + PSEUDO, sample, _with_noise(0.9), latest), tmp_path)
    assert differing(quiet.weights("teacher"), noisy.weights("teacher")) == set()
    first = [_pool(trained, 1) for trained in (quiet, noisy)]
    np.testing.assert_array_equal(first[0], first[1])
    assert not np.array_equal(_pool(quiet, 2), _pool(noisy, 2))


def _pool(trained: Trained, round_number: int) -> NDArray[np.float32]:
    return load_predictions(trained.directory.predictions(f"unlabelled-{round_number:02d}")).probabilities


@pytest.mark.parametrize("part", ["head", "whole"])
def test_inference_is_free_of_noise_whatever_the_student_trains_with(
    part: str, sample: Path, tmp_path: Path
) -> None:
    network = _network(tiny(TRUNK, sample, "model.backbone='resnet18'"), tmp_path)
    classifier, positions = network.classifier, network.setup.split.validation
    module: nn.Module = classifier.head if part == "head" else classifier
    set_noise(classifier, dropout=0.0, stochastic_depth=0.0)
    expected = network.probabilities(positions, module, task="")
    set_noise(classifier, dropout=0.9, stochastic_depth=0.9)
    for _ in range(2):
        classifier.train()
        np.testing.assert_allclose(network.probabilities(positions, module, task=""), expected, atol=1e-6)


# -- cached features


@pytest.mark.parametrize("backbone", ["shufflenet_v2_x0_5", "resnet18", "efficientnet_lite0"])
def test_cached_features_give_the_probabilities_of_the_whole_network(
    backbone: str, sample: Path, tmp_path: Path
) -> None:
    weights = "default" if "lite" in backbone else "none"
    recipe = tiny(HEAD, sample, f"model.backbone='{backbone}'", f"model.weights='{weights}'")
    network = _network(recipe, tmp_path)
    positions = np.arange(len(network.setup.catalogue))
    from_features = network.probabilities(positions, network.classifier.head, task="")
    from_images = network.probabilities(positions, network.classifier, task="")
    np.testing.assert_allclose(from_features, from_images, atol=1e-5)


def test_a_head_trained_on_cached_features_is_the_head_trained_through_the_trunk(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny(HEAD, sample, *LITE)
    cached = train(recipe, tmp_path)
    monkeypatch.setattr(Stage, "has_fixed_views", property(lambda _: False))
    through = train(recipe, tmp_path)
    assert cached.events(StageStarted)[0].features
    assert not through.events(StageStarted)[0].features
    ours, theirs = cached.weights(), through.weights()
    for name in ("head.linear.weight", "head.linear.bias"):
        torch.testing.assert_close(ours[name], theirs[name], atol=2e-4, rtol=1e-3)
    assert differing(ours, theirs, ["trunk."]) == set()


def test_features_do_not_depend_on_the_pieces_in_which_the_bank_was_filled(
    sample: Path, tmp_path: Path
) -> None:
    recipe = tiny(HEAD, sample, "model.backbone='resnet18'")
    every = np.arange(70)

    def features(home: Path, pieces: Callable[[Ints], list[Ints]]) -> Tensor:
        network = _network(recipe, home)
        for piece in pieces(every):
            network.pretrained.plain(piece)
        return network.pretrained.plain(every)

    at_once = features(tmp_path / "a", lambda whole: [whole])
    assert torch.equal(features(tmp_path / "b", lambda whole: [whole[5:6], whole[30:37]]), at_once)
    shuffled = features(tmp_path / "c", lambda whole: [np.random.default_rng(0).permutation(whole)[:33]])
    assert torch.equal(shuffled, at_once)
    assert at_once.device == CPU


def test_the_bank_holds_the_pretrained_trunk_also_after_the_trunk_has_learned(
    sample: Path, tmp_path: Path
) -> None:
    network = _network(tiny(TRUNK, sample), tmp_path / "a")
    untouched = _network(tiny(TRUNK, sample), tmp_path / "b").pretrained.plain(np.arange(8))
    learned = {name: tensor + 1 for name, tensor in network.weights().items() if tensor.is_floating_point()}
    network.load(learned)
    assert torch.equal(network.pretrained.plain(np.arange(8)), untouched)
    now = network.classifier.state_dict()
    assert all(torch.equal(now[name], tensor) for name, tensor in learned.items())
