"""The short way through a head's step gives what the long way gives."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.loader.conftest import Recorder
from tests.train.making import HEAD, PSEUDO, Trained, tiny, train
from workbench.loader import Batch
from workbench.recipe import Optimizer
from workbench.runs.events import EpochDone
from workbench.train import step as step_module
from workbench.train.objectives import Supervised
from workbench.train.optim import make_optimizer, optimizer_tensors, restore_optimizer, set_rates
from workbench.train.precision import Precision
from workbench.train.step import HeadStep, Stepper, head_step

CPU = torch.device("cpu")
FP32 = Precision("fp32", "fp32", "for the test")
CLASSES, WIDTH = 5, 24

OPTIMIZERS = {
    "adam": Optimizer(name="adam", learning_rate=1e-2, weight_decay=0.01),
    "adamw": Optimizer(name="adamw", learning_rate=1e-2, weight_decay=0.1),
    "sgd": Optimizer(name="sgd", learning_rate=1e-1, momentum=0.9, weight_decay=1e-3),
    "sgd without momentum": Optimizer(name="sgd", learning_rate=1e-1, momentum=0.0),
}


def _assert_close(ours: Tensor, theirs: Tensor) -> None:
    # A CPU gives the same bits; another library of matrix products may add up in another order.
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def _head(dropout: float = 0.0) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Dropout(dropout), nn.Linear(WIDTH, CLASSES))


def _optimizer(knobs: Optimizer, head: nn.Sequential) -> torch.optim.Optimizer:
    """Over the head's tensors in groups of their own, and a frozen one that comes before them."""
    frozen = nn.Parameter(torch.zeros(3), requires_grad=False)
    groups = [
        {"params": [parameter], "lr": knobs.learning_rate, "weight_decay": decay}
        for parameter, decay in zip((frozen, *head.parameters()), (0.0, knobs.weight_decay, 0.0), strict=True)
    ]
    return make_optimizer(knobs, groups)


def _batch(images: int, seed: int) -> Batch:
    random = torch.Generator().manual_seed(seed)
    targets = torch.softmax(3 * torch.randn(images, CLASSES, generator=random), dim=1)
    weights = torch.rand(images, generator=random) + 0.2
    inputs = torch.randn(images, WIDTH, generator=random)
    return Batch(inputs, targets, weights, float(weights.sum()), np.arange(images))


def _stepper(head: nn.Module, optimizer: torch.optim.Optimizer, smoothing: float, *, short: bool) -> Stepper:
    return Stepper(
        head, optimizer, FP32, CPU, Recorder(), Supervised(smoothing), on_features=short, micro_batch=0
    )


def _long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_module, "head_step", lambda *_: None)


def test_one_step_of_plain_gradient_descent_by_hand() -> None:
    head = _head()
    linear = head[1]
    assert isinstance(linear, nn.Linear)
    with torch.no_grad():
        linear.weight.zero_()
        linear.bias.zero_()
    optimizer = _optimizer(OPTIMIZERS["sgd without momentum"], head)
    way = head_step(head, optimizer, Supervised())
    assert way is not None
    inputs = torch.zeros(2, WIDTH)
    inputs[0, 0], inputs[1, 1] = 1, 2
    targets = torch.eye(CLASSES)[:2]
    loss, right = way.step(Batch(inputs, targets, torch.tensor([1.0, 3.0]), 4.0, np.arange(2)))
    # All classes are as likely: the loss is log 5, and the gradient of the logits w/Σw · (1/5 − target).
    assert loss.item() == pytest.approx(np.log(5))
    assert right.item() == 1  # the first class of equals
    expected = torch.zeros(CLASSES, WIDTH)
    expected[:, 0] = -0.1 * 0.25 * 1 * (torch.full((5,), 0.2) - targets[0])
    expected[:, 1] = -0.1 * 0.75 * 2 * (torch.full((5,), 0.2) - targets[1])
    torch.testing.assert_close(linear.weight.detach(), expected)
    shift = -0.1 * (0.2 - torch.tensor([0.25, 0.75, 0, 0, 0]))
    torch.testing.assert_close(linear.bias.detach(), shift)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(("dropout", "smoothing"), [(0.0, 0.0), (0.4, 0.0), (0.0, 0.1), (0.3, 0.2)])
def test_the_short_way_takes_the_same_steps(name: str, dropout: float, smoothing: float) -> None:
    heads = [_head(dropout) for _ in range(2)]
    optimizers = [_optimizer(OPTIMIZERS[name], head) for head in heads]
    steppers = [
        _stepper(head, optimizer, smoothing, short=short)
        for head, optimizer, short in zip(heads, optimizers, (True, False), strict=True)
    ]
    for step in range(12):
        batch = _batch(7 + step % 2, step)
        said = []
        for stepper, optimizer in zip(steppers, optimizers, strict=True):
            set_rates(optimizer, 1 / (1 + step))
            torch.manual_seed(step)
            said.append(stepper.step(batch))
        _assert_close(said[0].loss, said[1].loss)
        assert said[0].right == said[1].right
    for ours, theirs in zip(*(head.parameters() for head in heads), strict=True):
        _assert_close(ours, theirs)
    ours_state, theirs_state = (optimizer_tensors(optimizer) for optimizer in optimizers)
    assert ours_state.keys() == theirs_state.keys()
    for key, tensor in ours_state.items():
        _assert_close(tensor, theirs_state[key])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_restored_optimiser_goes_on_as_if_it_had_not_stopped(name: str) -> None:
    head = _head()
    optimizer = _optimizer(OPTIMIZERS[name], head)
    stepper = _stepper(head, optimizer, 0.1, short=True)
    for step in range(3):
        stepper.step(_batch(8, step))
    later = copy.deepcopy(head)
    restored = _optimizer(OPTIMIZERS[name], later)
    going_on = _stepper(later, restored, 0.1, short=True)  # made before the state is put back, as in a stage
    restore_optimizer(restored, copy.deepcopy(optimizer_tensors(optimizer)))
    for step in range(3, 6):
        assert torch.equal(stepper.step(_batch(8, step)).loss, going_on.step(_batch(8, step)).loss)
    for ours, theirs in zip(head.parameters(), later.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    "change",
    [
        lambda head: nn.Sequential(*head, nn.ReLU()),
        lambda head: head[1],
        lambda head: head.requires_grad_(False),
    ],
    ids=["deeper", "bare", "frozen"],
)
def test_what_is_no_learning_head_goes_the_long_way(change: Callable[[nn.Module], nn.Module]) -> None:
    head = _head()
    optimizer = _optimizer(OPTIMIZERS["adam"], head)
    assert head_step(head, optimizer, Supervised()) is not None
    assert head_step(change(head), optimizer, Supervised()) is None


def test_negative_labels_go_the_long_way() -> None:
    head = _head()
    objective = Supervised(negative_labels=True)
    assert head_step(head, _optimizer(OPTIMIZERS["adam"], head), objective) is None


def test_memory_that_runs_out_sends_the_step_the_long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    heads = [_head() for _ in range(2)]
    steppers = [_stepper(head, _optimizer(OPTIMIZERS["adamw"], head), 0.0, short=True) for head in heads]

    def none_left(way: HeadStep, batch: Batch) -> None:
        raise torch.OutOfMemoryError("tried to allocate more than there is")

    expected = steppers[0].step(_batch(8, 0))
    monkeypatch.setattr(HeadStep, "step", none_left)
    found = steppers[1].step(_batch(8, 0))
    _assert_close(found.loss, expected.loss)
    for ours, theirs in zip(*(head.parameters() for head in heads), strict=True):
        _assert_close(ours, theirs)


def _curve(trained: Trained) -> list[tuple[str, int, float, float]]:
    return [(e.stage, e.epoch, e.loss, e.accuracy) for e in trained.events(EpochDone)]


@pytest.mark.parametrize(
    "changes",
    [
        (),
        ("training.ema=0.9", "training.label_smoothing=0.1", "optimizer.schedule='cosine'"),
        ("model.dropout=0.3", "optimizer.name='sgd'", "training.class_weights='balanced'"),
    ],
    ids=["plain", "averaged", "noisy"],
)
def test_a_run_has_the_same_curves_and_weights_either_way(
    changes: tuple[str, ...], sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny(HEAD + PSEUDO, sample, *changes)
    short = train(recipe, tmp_path)
    _long_way(monkeypatch)
    long = train(recipe, tmp_path)
    for ours, theirs in zip(_curve(short), _curve(long), strict=True):
        assert ours[:2] == theirs[:2]
        assert ours[2:] == pytest.approx(theirs[2:], rel=1e-4)
    for name, tensor in short.weights().items():
        torch.testing.assert_close(tensor, long.weights()[name], rtol=1e-4, atol=1e-5)
