"""fp16 with a scaled loss: torch's own arithmetic, steps that are left out, exact resumption."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.train.making import HEAD, TRUNK, Crash, go_on, tiny, train
from tests.train.test_online_runs import LENIENT
from workbench.recipe import Optimizer
from workbench.runs.events import EpochDone, Silent
from workbench.train import loss_scale as module
from workbench.train.checkpoint import load_newest
from workbench.train.loss_scale import INITIAL, LossScale
from workbench.train.optim import make_optimizer

CPU = torch.device("cpu")
FP16 = "training.precision='fp16'"


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))


def _optimizer(network: nn.Module, name: str) -> torch.optim.Optimizer:
    knobs = Optimizer(name=name, learning_rate=0.01)  # type: ignore[arg-type]
    return make_optimizer(knobs, [{"params": list(network.parameters()), "lr": 0.01, "weight_decay": 0.01}])


def _loss(network: nn.Module, step: int) -> Tensor:
    inputs = torch.randn(4, 6, generator=torch.Generator().manual_seed(step))
    with torch.autocast("cpu", torch.float16):
        logits: Tensor = network(inputs)
    return logits.float().square().mean()


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_steps_are_those_of_torchs_scaler_overflow_and_growth_included(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 3)
    ours, theirs = _network(), _network()
    optimizer, reference = _optimizer(ours, name), _optimizer(theirs, name)
    scale = LossScale(CPU)
    scaler = torch.amp.GradScaler("cpu", growth_interval=3)
    skipped = []
    for step in range(12):
        factor = 1e38 if step == 6 else 1.0  # an overflow between steps that are sound
        for network, step_of in ((ours, optimizer), (theirs, reference)):
            step_of.zero_grad(set_to_none=True)
            value = _loss(network, step) * factor
            (scale.scaled(value) if network is ours else scaler.scale(value)).backward()  # type: ignore[no-untyped-call]
        scale.step(optimizer)
        scaler.step(reference)
        scaler.update()
        skipped.append(bool(scale.skipped))
        assert scale.factor == scaler.get_scale()
    assert skipped[6]
    assert not all(skipped)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_a_step_that_is_left_out_changes_neither_weights_nor_moments(name: str) -> None:
    network = _network()
    optimizer, scale = _optimizer(network, name), LossScale(CPU)
    before = copy.deepcopy(network.state_dict())
    (scale.scaled(_loss(network, 0)) * float("inf")).backward()  # type: ignore[no-untyped-call]
    scale.step(optimizer)
    assert bool(scale.skipped)
    assert scale.factor == INITIAL / 2
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    kept = [value for state in optimizer.state.values() for value in state.values()]
    assert kept
    assert all(not value.any() for value in kept)


@pytest.mark.parametrize(
    "recipe",
    [TRUNK, TRUNK.replace('name = "adam"', 'name = "sgd"')],
    ids=["adam", "sgd"],
)
def test_a_run_in_fp16_resumes_to_the_same_weights_with_the_scale_that_it_had(
    recipe: str, sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scale grows every third step, so that a resumed run with another would not get there."""
    monkeypatch.setattr(module, "PATIENCE", 3)
    changes = (FP16, "training.checkpoint_seconds=0")
    whole = train(tiny(recipe, sample, *changes), tmp_path)
    crashed = train(tiny(recipe, sample, *changes), tmp_path, recorder=Crash(7))
    found = load_newest(crashed.directory.checkpoint, Silent())
    assert found is not None
    assert found[0]["scale/factor"] != INITIAL
    resumed = go_on(crashed.directory, tiny(recipe, sample, *changes), tmp_path)
    assert resumed.results.weights_sha256 == whole.results.weights_sha256
    assert whole.results.precision == "fp16"


def test_meta_pseudo_labels_scales_both_losses_and_resumes_exactly(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 3)
    recipe = (
        TRUNK
        + f"""
[pseudo_label]
strategy = "meta_pseudo_labels"
labelled_fraction = 0.5
epochs_per_round = 2
unlabelled_ratio = 1
{LENIENT["meta_pseudo_labels"]}
"""
    )
    changes = (FP16, "training.checkpoint_seconds=0")
    whole = train(tiny(recipe, sample, *changes), tmp_path)
    crashed = train(tiny(recipe, sample, *changes), tmp_path, recorder=Crash(9))
    found = load_newest(crashed.directory.checkpoint, Silent())
    assert found is not None
    assert {"scale/factor", "objective/scale/factor"} <= set(found[0])
    resumed = go_on(crashed.directory, tiny(recipe, sample, *changes), tmp_path)
    ours, theirs = ([(e.stage, e.epoch, e.loss) for e in t.events(EpochDone)] for t in (resumed, whole))
    assert ours == theirs[-len(ours) :]
    assert resumed.results.weights_sha256 == whole.results.weights_sha256


def test_a_step_that_is_left_out_is_no_failed_loss(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 0

    def overflows(scale: LossScale, loss: Tensor) -> Tensor:
        nonlocal steps
        steps += 1
        return scaled(scale, loss) * (float("inf") if steps in (2, 3) else 1.0)

    scaled = LossScale.scaled
    monkeypatch.setattr(LossScale, "scaled", overflows)
    trained = train(tiny(TRUNK, sample, FP16), tmp_path)
    assert trained.outcome.code == 0, trained.outcome
    (said, *_) = [text for text in trained.recorder.messages("info") if "left out" in text]
    found = re.fullmatch(
        r"fit: (\d) of 5 steps were left out, as gradients overflowed in fp16: loss scale (\d+)", said
    )
    assert found, said
    assert int(found[1]) >= 2
    assert int(found[2]) == INITIAL / 2 ** int(found[1])
    assert all(np.isfinite(e.loss) for e in trained.events(EpochDone))


def test_gradients_that_overflow_however_little_the_loss_is_scaled_end_the_run_with_advice(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LossScale, "scaled", lambda scale, loss: loss * float("inf"))
    monkeypatch.setattr(module, "BACKOFF", 1e-3)
    trained = train(tiny(TRUNK, sample, FP16), tmp_path)
    assert trained.outcome.code == 1
    assert "gradients overflow in fp16" in trained.outcome.reason
    assert 'training.precision = "fp32"' in trained.outcome.advice


def test_a_head_on_cached_features_learns_in_float32_without_a_scale(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(LossScale, "scaled")
    assert train(tiny(HEAD, sample, FP16), tmp_path).outcome.code == 0


def test_fp16_trains_to_nearly_the_losses_of_fp32(sample: Path, tmp_path: Path) -> None:
    plain = ("model.dropout=0", "finetune.batch_norm='frozen'", "training.epochs=1")
    losses = [
        [
            e.loss
            for e in train(tiny(TRUNK, sample, f"training.precision='{name}'", *plain), tmp_path).events(
                EpochDone
            )
        ]
        for name in ("fp32", "fp16")
    ]
    assert losses[1] == pytest.approx(losses[0], rel=2e-2)
    assert losses[1] != losses[0]
