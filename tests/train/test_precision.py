"""Which arithmetic a run uses."""

from __future__ import annotations

import copy
import time
from pathlib import Path

import pytest
import torch

from tests.model.small import images, random_network, snapshot
from workbench.train import precision as module
from workbench.train.precision import Precision, choose_precision, timing_key

CPU = torch.device("cpu")


@pytest.mark.parametrize("wanted", ["fp32", "bf16"])
def test_what_the_recipe_says_is_taken(wanted: str) -> None:
    chosen = choose_precision(wanted, random_network(), 32, CPU, trains_on_images=True)  # type: ignore[arg-type]
    assert (chosen.training, chosen.inference) == (wanted, wanted)


def test_auto_on_a_cpu_without_bf16_is_fp32_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "computes_in", lambda dtype, device: False)
    chosen = choose_precision("auto", random_network(), 32, CPU, trains_on_images=True)
    assert chosen == Precision("fp32", "fp32", "this CPU has no bf16")


@pytest.mark.parametrize(
    ("training_gain", "inference_gain", "expected"),
    [(2.0, 3.0, ("bf16", "bf16")), (0.7, 2.0, ("fp32", "bf16")), (1.05, 1.05, ("fp32", "fp32"))],
)
def test_auto_decides_training_and_inference_apart_by_what_was_timed(
    monkeypatch: pytest.MonkeyPatch, training_gain: float, inference_gain: float, expected: tuple[str, str]
) -> None:
    gains = iter([inference_gain, training_gain])
    monkeypatch.setattr(module, "computes_in", lambda dtype, device: True)
    monkeypatch.setattr(module, "_gain", lambda trial: next(gains))
    chosen = choose_precision("auto", random_network(), 32, CPU, trains_on_images=True)
    assert (chosen.training, chosen.inference) == expected
    assert "timed here" in chosen.reason


def test_what_was_timed_once_is_kept_and_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kept = tmp_path / "precision" / "key.json"
    gains = iter([2.0, 0.5])
    monkeypatch.setattr(module, "computes_in", lambda dtype, device: True)
    monkeypatch.setattr(module, "_gain", lambda trial: next(gains))

    def choose(trains_on_images: bool) -> Precision:
        network = random_network()
        return choose_precision("auto", network, 32, CPU, trains_on_images=trains_on_images, kept=kept)

    first = choose(False)
    assert "timed here" in first.reason
    whole = choose(True)  # times training alone: how inference goes is known
    again = choose(True)  # a third timing would find nothing to return
    assert (whole.training, whole.inference) == (again.training, again.inference) == ("fp32", "bf16")
    assert "timed on this machine before" in again.reason
    kept.write_bytes(b"damaged")
    gains = iter([0.5])
    assert choose(False).inference == "fp32"


def test_the_key_of_a_timing_tells_networks_apart() -> None:
    keys = {
        timing_key(name, "default", layers, size)
        for name in ("resnet18", "resnet50")
        for layers in ("all", ("head",))
        for size in (128, 224)
    }
    assert len(keys) == 8


def test_training_on_features_is_never_timed_nor_in_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "computes_in", lambda dtype, device: True)
    monkeypatch.setattr(module, "_gain", lambda trial: 5.0)
    monkeypatch.delattr(module, "_training_trial")
    chosen = choose_precision("auto", random_network(), 32, CPU, trains_on_images=False)
    assert (chosen.training, chosen.inference) == ("fp32", "bf16")


def test_timing_leaves_the_network_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "computes_in", lambda dtype, device: True)
    network = random_network()
    before, mode = copy.deepcopy(snapshot(network)), network.training
    chosen = choose_precision("auto", network, 32, CPU, trains_on_images=True)
    assert chosen.training in ("fp32", "bf16")
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert network.training == mode


@pytest.mark.parametrize("use", ["training", "inference"])
def test_autocast_follows_the_use(use: str) -> None:
    mixed = Precision("fp32", "bf16", "")
    network = random_network().eval()
    with torch.no_grad(), mixed.autocast(CPU, use):  # type: ignore[arg-type]
        dtype = network(images(2, 32)).dtype
    assert dtype == (torch.bfloat16 if use == "inference" else torch.float32)


class _Clock:
    """Processor time as a trial spends it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: dict[bool, list[float]]) -> None:
        self.now, self.trials = 0.0, 0
        self._seconds = seconds
        monkeypatch.setattr(time, "thread_time", lambda: self.now)

    def __call__(self, bf16: bool) -> None:
        self.now += self._seconds[bf16][min(self.trials // 2, len(self._seconds[bf16]) - 1)]
        self.trials += 1


@pytest.mark.parametrize(("fp32", "gain"), [(4.0, 4.0), (0.4, 0.4)])
def test_a_clear_winner_is_timed_once_beside_its_warming_up(
    monkeypatch: pytest.MonkeyPatch, fp32: float, gain: float
) -> None:
    clock = _Clock(monkeypatch, {False: [9.0, fp32], True: [99.0, 1.0]})
    assert module._gain(clock) == pytest.approx(gain)
    assert clock.trials == 2 * 2


def test_a_close_race_is_timed_again_and_the_best_of_each_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = _Clock(monkeypatch, {False: [9.0, 1.5, 1.2, 1.4], True: [9.0, 1.0, 1.1, 1.3]})
    assert module._gain(clock) == pytest.approx(1.2)
    assert clock.trials == 2 * (1 + module.TRIALS)
