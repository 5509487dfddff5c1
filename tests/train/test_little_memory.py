"""Too little memory on the device, wherever that shows: the real errors, from the calls that raise them."""

from __future__ import annotations

import copy
import json
import signal
import socket
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.compute.test_trouble import OF_CUDNN, OF_TORCH, of_driver
from tests.loader.conftest import Recorder
from tests.train.making import HEAD, PSEUDO, TRUNK, differing, go_on, tiny, train
from tests.train.test_step import CPU, FP32, _batch, _network
from workbench.compute.accelerators import Cpu
from workbench.loader import batches as batches_module
from workbench.recipe import Optimizer
from workbench.runs.events import StepDone
from workbench.support.errors import RunFailed
from workbench.train import memory as module
from workbench.train import worker
from workbench.train.feature_bank import BankRows
from workbench.train.objectives import Supervised
from workbench.train.optim import make_optimizer
from workbench.train.predict import Predicted, load_predictor
from workbench.train.step import Stepper

ERRORS = pytest.mark.parametrize("error", [OF_TORCH, OF_CUDNN], ids=["torch", "cudnn"])
ANNA = "anna's python (pid 4242, 14.0 GiB); 63.0 MiB are free"


@pytest.fixture
def shared_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processor counts as a device whose memory somebody else holds."""
    monkeypatch.setattr(Cpu, "has_own_memory", True)
    monkeypatch.setattr(Cpu, "free_bytes", lambda self, device: 0)  # no store goes there
    monkeypatch.setattr(module, "others_on", lambda name, own: ANNA)


def _small_memory(monkeypatch: pytest.MonkeyPatch, most: int, error: Exception, *, training: bool) -> None:
    """Convolutions of more than `most` images find no memory."""

    def convolved(layer: nn.Conv2d, inputs: Tensor, *rest: Any) -> Tensor:
        if len(inputs) > most and torch.is_grad_enabled() is training:
            raise error
        outputs: Tensor = forward(layer, inputs, *rest)
        return outputs

    forward = nn.Conv2d._conv_forward
    monkeypatch.setattr(nn.Conv2d, "_conv_forward", convolved)


@ERRORS
def test_a_step_halves_its_passes_whoever_says_that_memory_is_short(
    error: Exception, sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _small_memory(monkeypatch, 4, error, training=True)
    trained = train(tiny(TRUNK, sample, "training.epochs=1", "training.ema=0"), tmp_path)
    assert trained.outcome.code == 0, trained.outcome
    assert trained.recorder.messages("warning")[:1] == [
        "out of device memory: going on with 4 images a pass; batches stay 8"
    ]


@ERRORS
@pytest.mark.parametrize("base", [HEAD, TRUNK], ids=["features", "validation"])
def test_inference_halves_its_passes_and_says_the_same_of_the_images(
    base: str, error: Exception, sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny(base, sample, "training.epochs=1")
    plain = train(recipe, tmp_path / "plain")
    _small_memory(monkeypatch, 8, error, training=False)
    trained = train(recipe, tmp_path / "small")
    assert trained.outcome.code == 0, trained.outcome
    said = [text for text in trained.recorder.messages("warning") if "inference" in text]
    assert said[-1].startswith("out of device memory: inference goes on with ")
    assert trained.results.test is not None
    assert plain.results.test is not None
    assert trained.results.test.loss == pytest.approx(plain.results.test.loss, rel=1e-4)


@pytest.mark.usefixtures("shared_gpu")
def test_inference_that_finds_no_room_for_one_image_ends_the_run_with_who_else_holds_the_memory(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*_: Any) -> Tensor:
        raise OF_TORCH

    monkeypatch.setattr("workbench.train.inference.features_of", none_left)
    outcome = train(tiny(HEAD, sample), tmp_path).outcome
    assert outcome.code == 1
    assert outcome.reason == "out of device memory with one image at a time in inference"
    assert ANNA in outcome.advice
    assert "fault in petbench" not in outcome.advice


@ERRORS
def test_a_prediction_halves_its_passes_and_says_the_same(
    error: Exception, sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny(TRUNK, sample, "training.epochs=1")
    predictor = load_predictor(train(recipe, tmp_path).directory, recipe, CPU)
    pictures = sorted((sample / "images").glob("*.jpg"))[:7]

    def said() -> list[np.ndarray[Any, Any]]:
        found = predictor.predict(pictures)
        return [one.probabilities for one in found if isinstance(one, Predicted)]

    plain = said()
    _small_memory(monkeypatch, 2, error, training=False)
    assert len(plain) == 7
    np.testing.assert_allclose(np.stack(said()), np.stack(plain), rtol=1e-4)
    _small_memory(monkeypatch, 0, error, training=False)
    with pytest.raises(RunFailed, match="with one image at a time"):
        said()


def _no_zeros(monkeypatch: pytest.MonkeyPatch, calls: set[int]) -> None:
    """These calls for zeros, from the first of the optimiser's on, find no memory."""
    made = 0

    def zeros(like: Tensor, **options: Any) -> Tensor:
        nonlocal made
        made += 1
        if made in calls:
            raise OF_TORCH
        return Tensor.new_zeros(like, like.shape)

    monkeypatch.setattr(torch, "zeros_like", zeros)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("call", [1, 2, 3, 4])
def test_a_moment_that_finds_no_memory_leaves_nothing_half_done(
    name: Any, call: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once there is room the step is the one that it would have been."""
    networks = [_network(), _network()]
    rooms: list[int] = []
    with monkeypatch.context() as patch:
        for number, network in enumerate(networks):
            optimizer = make_optimizer(
                Optimizer(name=name, learning_rate=0.1),
                [{"params": [p], "lr": 0.1, "weight_decay": 0.0} for p in network.parameters()],
            )

            def make_room() -> bool:
                rooms.append(1)
                return True

            stepper = Stepper(
                network, optimizer, FP32, CPU, Recorder(), Supervised(), on_features=False, micro_batch=0,
                make_room=make_room,
            )  # fmt: skip
            if number:
                _no_zeros(patch, {call})
            stepper.step(_batch(6))
            stepper.step(_batch(6))
    assert rooms == [1]
    for plain, short in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        assert torch.equal(plain, short)


@pytest.mark.usefixtures("shared_gpu")
def test_moments_that_find_no_room_at_all_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    network = _network()
    before = copy.deepcopy(network.state_dict())
    groups = [{"params": list(network.parameters()), "lr": 0.1, "weight_decay": 0.0}]
    optimizer = make_optimizer(Optimizer(name="adam"), groups)
    stepper = Stepper(
        network, optimizer, FP32, CPU, Recorder(), Supervised(), on_features=False, micro_batch=0
    )
    _no_zeros(monkeypatch, set(range(100)))
    with pytest.raises(RunFailed, match="what the optimiser keeps of each weight") as error:
        stepper.step(_batch(6))
    assert 'optimizer.name = "sgd"' in error.value.advice
    assert ANNA in error.value.advice
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def _no_views(monkeypatch: pytest.MonkeyPatch, calls: set[int]) -> None:
    """These batches of views, counted from 1, find no memory."""
    drawn = 0

    def rendered(*arguments: Any) -> Tensor:
        nonlocal drawn
        drawn += 1
        if drawn in calls:
            raise OF_TORCH
        views: Tensor = render(*arguments)
        return views

    render: Any = getattr(batches_module, "render")  # noqa: B009  # imported there
    monkeypatch.setattr(batches_module, "render", rendered)


def test_a_batch_drawn_ahead_that_finds_no_memory_is_drawn_in_its_turn(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Cpu, "runs_ahead", True)
    plain = train(tiny(TRUNK, sample), tmp_path / "plain")
    _no_views(monkeypatch, {4})
    trained = train(tiny(TRUNK, sample), tmp_path / "small")
    assert trained.recorder.messages("warning")[:1] == [
        "out of device memory: batches are drawn one at a time from now on"
    ]
    assert trained.results.weights_sha256 == plain.results.weights_sha256


@pytest.mark.usefixtures("shared_gpu")
def test_a_batch_that_never_finds_memory_ends_the_run_and_keeps_what_it_has(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        _no_views(patch, set(range(4, 100)))
        trained = train(tiny(TRUNK, sample, "training.checkpoint_seconds=0"), tmp_path)
    assert trained.outcome.code == 1
    assert trained.outcome.reason == "out of device memory for a batch of 8 images"
    assert "lower training.batch_size" in trained.outcome.advice
    assert ANNA in trained.outcome.advice
    whole = train(tiny(TRUNK, sample), tmp_path / "plain")
    resumed = go_on(trained.directory, tiny(TRUNK, sample), tmp_path)
    assert resumed.results.weights_sha256 == whole.results.weights_sha256


@pytest.mark.usefixtures("shared_gpu")
@pytest.mark.parametrize(
    ("error", "said", "advised"),
    [
        (OF_CUDNN, "the device is out of memory", ANNA),
        (of_driver("CUDA-capable device(s) is/are busy or unavailable"), "in use by another program", ANNA),
        (
            of_driver("no kernel image is available for execution on the device"),
            "has no code for this GPU",
            "petbench doctor",
        ),
        (of_driver("unspecified launch failure"), "the GPU failed", "nvidia-smi"),
    ],
    ids=["memory", "busy", "no code", "lost"],
)
def test_what_a_device_cannot_do_is_not_called_a_fault_of_petbench(
    error: Exception,
    said: str,
    advised: str,
    sample: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: Any) -> None:
        raise error

    monkeypatch.setattr("workbench.train.learner.Learner.follow", broken)
    outcome = train(tiny(TRUNK, sample), tmp_path).outcome
    assert outcome.code == 1
    assert said in outcome.reason
    assert advised in outcome.advice
    assert "fault in petbench" not in outcome.advice
    assert "petbench resume" in outcome.advice


def test_a_worker_whose_card_another_program_has_for_itself_says_so_before_it_is_given_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(name: str) -> torch.device:
        raise of_driver("CUDA-capable device(s) is/are busy or unavailable")

    ours, theirs = socket.socketpair()
    monkeypatch.setattr(worker, "find_device", busy)
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)  # this process hears its own
    assert worker.main([str(theirs.detach()), "--data-dir", str(tmp_path)]) == 2
    said = json.loads(ours.makefile().readline())
    assert "in use by another program" in said["reason"]
    ours.close()


def test_features_that_stay_on_the_disk_train_the_same_weights(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny(HEAD + PSEUDO, sample, "model.backbone=['resnet18', 'shufflenet_v2_x0_5']")
    held = train(recipe, tmp_path)
    read = Counter[str]()

    def counted(rows: BankRows, dim: int, index: Tensor) -> Tensor:
        read["rows"] += len(index)
        found: Tensor = select(rows, dim, index)
        return found

    select = BankRows.index_select
    monkeypatch.setattr(BankRows, "index_select", counted)
    monkeypatch.setattr(module, "KEPT_SHARE", 0.0)
    monkeypatch.setattr("workbench.loader.batches._DENSE_BYTES", 0)
    streamed = train(recipe, tmp_path)
    assert streamed.outcome.code == held.outcome.code == 0
    assert read["rows"] > len(streamed.events(StepDone))
    losses = [[step.loss for step in one.events(StepDone)] for one in (held, streamed)]
    assert losses[0] == losses[1]
    assert differing(held.weights(), streamed.weights()) == set()
    assert held.results.test == streamed.results.test
