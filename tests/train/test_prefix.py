"""Frozen groups run apart from the rest: the same run, with less work."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.train.making import CPU, TRUNK, Crash, Trained, go_on, tiny, train
from workbench.runs.events import EpochDone
from workbench.runs.predictions import load_predictions
from workbench.train import inference as prefix_module
from workbench.train import network as network_module
from workbench.train import run as run_module
from workbench.train.inference import Ints, KeptMaps, MapBatch, Prefix
from workbench.train.precision import Precision

LATE = (
    "model.backbone='resnet18'",
    "model.dropout=0.3",
    "finetune.layers=['layer4', 'head']",
    "finetune.batch_norm='tuned'",
)
CALM = ("optimizer.name='sgd'", "optimizer.learning_rate=1e-3", "data.image_size=64")
"""Adam's first steps are the gradients' signs, and batch norms of eight values amplify, what is rounding."""
SMALL = (
    *LATE,
    "model.backbone='efficientnet_lite0'",
    "finetune.layers=['conv_head', 'head']",
)
FIXED = ("augmentation.random_crop=false", "augmentation.flip=false")
COPIES = ("data.augmented_copies=1",)
FROZEN = "stem, layer1, layer2, layer3"


def _uncut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_module, "find_cut", lambda *_: None)


def _unfolded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix_module, "frozen_copy", lambda module, *_: copy.deepcopy(module).eval())


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Images of every pass of a prefix."""
    seen: list[int] = []
    maps = Prefix.maps

    def watched(prefix: Prefix, images: Tensor) -> Tensor:
        seen.append(len(images))
        found = maps(prefix, images)
        assert not found.requires_grad
        return found

    monkeypatch.setattr(Prefix, "maps", watched)
    return seen


def _said(trained: Trained) -> list[str]:
    return [text for text in trained.recorder.messages("info") if "never change" in text]


def _losses(trained: Trained) -> list[float]:
    return [event.loss for event in trained.events(EpochDone)]


def _answers(trained: Trained, split: str) -> NDArray[np.float32]:
    return load_predictions(trained.directory.predictions(split)).probabilities


def _assert_close(found: Trained, expected: Trained) -> None:
    """The documented tolerance."""
    assert _losses(found) == pytest.approx(_losses(expected), rel=1e-4)
    for split in ("val", "test"):
        np.testing.assert_allclose(_answers(found, split), _answers(expected, split), atol=1e-4)
    weights = expected.weights()
    for name, tensor in found.weights().items():
        torch.testing.assert_close(tensor, weights[name], rtol=1e-4, atol=1e-4)


def test_unfolded_a_run_is_the_uncut_one_bit_for_bit(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passes: list[int]
) -> None:
    recipe = tiny(TRUNK, sample, *LATE)
    with monkeypatch.context() as patch:
        _unfolded(patch)
        cut = train(recipe, tmp_path)
    assert passes[:5] == [8] * 5  # an epoch of fresh views
    assert _said(cut) == [f"fit: {FROZEN} never change and are computed without a backward pass"]
    _uncut(monkeypatch)
    before = len(passes)
    whole = train(recipe, tmp_path)
    assert len(passes) == before
    assert _said(whole) == []
    assert cut.results.weights_sha256 == whole.results.weights_sha256
    assert _losses(cut) == _losses(whole)


def test_in_bf16_a_run_is_the_uncut_one_bit_for_bit(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny(TRUNK, sample, *LATE, "training.precision='bf16'")
    cut = train(recipe, tmp_path)
    assert _said(cut)
    _uncut(monkeypatch)
    whole = train(recipe, tmp_path)
    assert cut.results.weights_sha256 == whole.results.weights_sha256
    assert _losses(cut) == _losses(whole)


@pytest.mark.parametrize("views", [(), FIXED], ids=["fresh", "fixed"])
def test_steps_see_the_arithmetic_of_training_whatever_inference_uses(
    views: tuple[str, ...], sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed = Precision("fp32", "bf16", "for the test")
    monkeypatch.setattr(run_module, "decide_precision", lambda *_: mixed)
    recipe = tiny(TRUNK, sample, *LATE, *CALM, *views)
    cut = train(recipe, tmp_path)
    assert _said(cut)
    _uncut(monkeypatch)
    whole = train(recipe, tmp_path)
    trained = [[e.loss for e in one.events(EpochDone) if e.split == "train"] for one in (cut, whole)]
    assert trained[0] == pytest.approx(trained[1], rel=1e-5)


@pytest.mark.parametrize("views", [(), FIXED, COPIES], ids=["fresh", "fixed", "copies"])
def test_folded_a_run_is_the_uncut_one_to_rounding(
    views: tuple[str, ...], sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny(TRUNK, sample, *LATE, *CALM, *views)
    cut = train(recipe, tmp_path)
    _uncut(monkeypatch)
    _assert_close(cut, train(recipe, tmp_path))


@pytest.mark.parametrize(("views", "samples"), [(FIXED, 40), (COPIES, 80)], ids=["fixed", "copies"])
def test_fixed_views_pass_the_frozen_groups_once(
    views: tuple[str, ...], samples: int, sample: Path, tmp_path: Path, passes: list[int]
) -> None:
    trained = train(tiny(TRUNK, sample, *LATE, *views, "training.epochs=4"), tmp_path)
    assert trained.outcome.code == 0, trained.outcome
    assert sum(passes) == samples + 10 + 20  # validation and test images too
    assert _said(trained) == [f"fit: {FROZEN} never change and are computed once an image"]


def test_maps_that_are_too_large_to_keep_are_computed_by_each_step(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passes: list[int]
) -> None:
    recipe = tiny(TRUNK, sample, *LATE, *CALM, *FIXED)
    kept = train(recipe, tmp_path)
    passes.clear()
    bytes_an_image = 256 * 4 * 4 * 4  # layer3's maps of 64 pixels a side
    monkeypatch.setattr(prefix_module, "TRAINING_BYTES", 40 * bytes_an_image - 1)
    anew = train(recipe, tmp_path)
    assert sum(passes[1:]) == 2 * 40 + 10 + 20
    _assert_close(anew, kept)
    monkeypatch.setattr(prefix_module, "TRAINING_BYTES", 40 * bytes_an_image)
    again = train(recipe, tmp_path)
    assert again.results.weights_sha256 == kept.results.weights_sha256


def test_evaluation_says_the_same_whether_maps_are_kept_or_not(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passes: list[int]
) -> None:
    recipe = tiny(TRUNK, sample, *LATE, "training.epochs=3")
    kept = train(recipe, tmp_path)
    assert sum(passes) == 3 * 40 + 10 + 20
    passes.clear()
    monkeypatch.setattr(prefix_module, "EVALUATION_BYTES", 0)
    anew = train(recipe, tmp_path)
    assert sum(passes) == 3 * 40 + 4 * 10 + 20  # validation once an epoch and in the end
    assert anew.results.weights_sha256 == kept.results.weights_sha256
    np.testing.assert_array_equal(_answers(kept, "test"), _answers(anew, "test"))


@pytest.mark.parametrize("views", [(), COPIES], ids=["fresh", "copies"])
def test_resumed_it_ends_as_if_undisturbed(views: tuple[str, ...], sample: Path, tmp_path: Path) -> None:
    recipe = tiny(TRUNK, sample, *SMALL, *views, "training.checkpoint_seconds=0")
    undisturbed = train(recipe, tmp_path / "undisturbed")
    crashed = train(recipe, tmp_path / "crashed", recorder=Crash(7))
    assert "power" in crashed.outcome.reason
    resumed = go_on(crashed.directory, recipe, tmp_path / "crashed")
    assert resumed.results.weights_sha256 == undisturbed.results.weights_sha256


PSEUDO = """
[pseudo_label]
strategy = "one_shot"
labelled_fraction = 0.5
epochs_per_round = 1
"""


def test_a_teacher_labels_from_kept_maps(sample: Path, tmp_path: Path, passes: list[int]) -> None:
    trained = train(tiny(TRUNK + PSEUDO, sample, *LATE), tmp_path)
    assert trained.outcome.code == 0, trained.outcome
    teacher, student, pool, validation, test = 2 * 20, 40, 20, 10, 20
    assert sum(passes) == teacher + student + pool + validation + test


@pytest.mark.parametrize(
    "changes",
    [
        ("model.stochastic_depth=0.2",),
        ("finetune.layers=['stem', 'head']",),
        ("model.backbone='shufflenet_v2_x0_5'", "finetune.layers=['conv_head', 'head']"),
    ],
    ids=["noise below", "nothing frozen below", "no known chain"],
)
def test_steps_that_must_go_through_the_whole_network_do(
    changes: tuple[str, ...], sample: Path, tmp_path: Path
) -> None:
    trained = train(tiny(TRUNK, sample, *LATE, *changes), tmp_path)
    assert trained.outcome.code == 0, trained.outcome
    assert _said(trained) == []


@pytest.mark.parametrize(
    ("strategy", "step"),
    [("fixmatch", [8 + 2 * 20]), ("mean_teacher", [8 + 20, 8 + 20])],  # one batch; one each of two networks
)
def test_an_online_students_views_pass_the_frozen_groups_once_and_it_is_evaluated_from_kept_maps(
    sample: Path, tmp_path: Path, passes: list[int], strategy: str, step: list[int]
) -> None:
    online = PSEUDO.replace("one_shot", strategy)
    trained = train(tiny(TRUNK + online, sample, *LATE), tmp_path)
    assert trained.outcome.code == 0, trained.outcome
    never = f"{FROZEN} never change and are computed without a backward pass"
    assert _said(trained) == [f"teacher: {never}", f"student r1: {never}"]
    teacher, validation, pool, test = [8, 8, 4], 10, 20, 20
    # Validation is asked after both of the teacher's epochs, the student's, and in the end.
    assert passes == [*teacher, validation, *teacher, *step, pool, test]


def test_a_frozen_trunk_under_fresh_views_is_folded_too(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passes: list[int]
) -> None:
    recipe = tiny(TRUNK, sample, *CALM, "finetune.layers=['head']", "finetune.batch_norm='tuned'")
    cut = train(recipe, tmp_path)
    assert sum(passes) == 2 * 40
    _uncut(monkeypatch)
    _assert_close(cut, train(recipe, tmp_path))


def test_sets_of_maps_are_kept_while_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix_module, "EVALUATION_BYTES", 5 * 4)
    kept = KeptMaps(CPU)
    computed: list[int] = []

    def batches(positions: Ints) -> Iterator[MapBatch]:
        for start in range(0, len(positions), 2):
            computed.extend(positions[start : start + 2].tolist())
            yield torch.from_numpy(positions[start : start + 2]).float(), positions[start : start + 2]

    for _ in range(2):
        for positions in (np.array([4, 1, 7]), np.array([2, 3, 5]), np.array([9, 8])):
            found = list(kept.batches(positions, batches(positions)))
            assert [len(batch) for _, batch in found] == [2, 1][: len(found)]
            assert torch.cat([maps for maps, _ in found]).tolist() == positions.tolist()
    assert computed == [4, 1, 7, 2, 3, 5, 9, 8, 2, 3, 5]
