"""Low resolution first, in whole runs: what the network trains on, what it is judged on, and resuming."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.train.making import TRUNK, Crash, Trained, go_on, tiny, train
from workbench.loader import Batch, PoolBatch
from workbench.model import check_network
from workbench.recipe import Recipe
from workbench.support.errors import UserError
from workbench.train.inference import shares_of
from workbench.train.step import Stepped, Stepper

GROWING = ("data.image_size=96", "training.progressive=0.34", "training.epochs=4", "training.batch_size=16")
SIDES = [32, 64, 64, 96]
"""Of its epochs: 0.34, 0.56, 0.78 and 1 of 96, to the nearest 32."""


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[int]]:
    """Sides of all training steps' views, of the pool's, and of the images that are evaluated."""
    sides: dict[str, list[int]] = {"train": [], "weak": [], "strong": [], "evaluate": []}
    step = Stepper.step

    def watched(stepper: Stepper, batch: Batch, unlabelled: PoolBatch | None, *rest: Any) -> Stepped:
        sides["train"].append(batch.inputs.shape[-1])
        if unlabelled is not None:
            sides["weak"].append(unlabelled.weak.shape[-1])
            sides["strong"].append(unlabelled.strong.shape[-1])
        return step(stepper, batch, unlabelled, *rest)

    def evaluated(inputs: torch.Tensor, *rest: Any) -> torch.Tensor:
        sides["evaluate"].append(inputs.shape[-1])
        return shares_of(inputs, *rest)

    monkeypatch.setattr(Stepper, "step", watched)
    monkeypatch.setattr("workbench.train.network.shares_of", evaluated)
    return sides


def test_views_grow_and_evaluation_is_at_full_size(
    seen: dict[str, list[int]], sample: Path, tmp_path: Path
) -> None:
    trained = train(tiny(TRUNK, sample, *GROWING), tmp_path)
    assert trained.outcome.code == 0, trained.outcome
    steps = 3  # 40 images in batches of 16
    assert seen["train"] == [side for side in SIDES for _ in range(steps)]
    assert set(seen["evaluate"]) == {96}
    said = [text for text in trained.recorder.messages("info") if "pixels a side" in text]
    assert said == ["fit: training views of 32 pixels a side, 64 from epoch 2, 96 from epoch 4"]


def test_the_pools_views_grow_with_the_labelled_ones(
    seen: dict[str, list[int]], sample: Path, tmp_path: Path
) -> None:
    online = """
[pseudo_label]
strategy = "fixmatch"
labelled_fraction = 0.5
epochs_per_round = 4
unlabelled_ratio = 1
"""
    trained = train(tiny(TRUNK + online, sample, *GROWING), tmp_path)
    assert trained.outcome.code == 0, trained.outcome
    steps = len(seen["weak"]) // len(SIDES)
    assert seen["weak"] == seen["strong"] == [side for side in SIDES for _ in range(steps)]
    assert seen["train"][-len(seen["weak"]) :] == seen["weak"]


@pytest.mark.parametrize("at", [2, 5, 11])
def test_resumed_within_any_size_it_ends_as_if_undisturbed(at: int, sample: Path, tmp_path: Path) -> None:
    recipe = tiny(TRUNK, sample, *GROWING, "training.checkpoint_seconds=0")
    undisturbed = train(recipe, tmp_path / "undisturbed")
    crashed = train(recipe, tmp_path / "crashed", recorder=Crash(at))
    assert "power" in crashed.outcome.reason
    resumed = go_on(crashed.directory, recipe, tmp_path / "crashed")
    assert resumed.results.weights_sha256 == undisturbed.results.weights_sha256


def test_off_changes_nothing(sample: Path, tmp_path: Path) -> None:
    full: list[Trained] = [
        train(tiny(TRUNK, sample, "training.epochs=1", *changes), tmp_path)
        for changes in ((), ("training.progressive=0",))
    ]
    assert full[0].results.weights_sha256 == full[1].results.weights_sha256


@pytest.mark.parametrize("backbone", ["vit_b_32", "maxvit_t"])
def test_a_network_that_is_built_for_one_size_is_refused(backbone: str) -> None:
    recipe = _growing(backbone, 224)
    with pytest.raises(UserError, match=f"{backbone}, built for 224 pixels a side, cannot take views of 128"):
        check_network(recipe)


def test_a_network_is_refused_views_that_are_too_small_for_it() -> None:
    with pytest.raises(UserError, match="cannot take views of 64"):
        check_network(_growing("inception_v3", 128))


def test_a_network_of_any_size_is_taken() -> None:
    check_network(_growing("swin_t", 224))


def _growing(backbone: str, size: int) -> Recipe:
    return tiny(
        TRUNK,
        Path("unused"),
        f"model.backbone='{backbone}'",
        f"data.image_size={size}",
        "training.progressive=0.5",
        "model.weights='none'",
        "training.epochs=8",
    )
