"""The moving average is torch's, in less time."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from workbench.recipe.online import EMA
from workbench.train.learner import MovingAverage

DECAY = 0.8


@pytest.mark.parametrize("steps", [5, 65, 130, 2000])
def test_by_the_runs_length_an_average_keeps_most_of_the_way_that_the_weights_went(steps: int) -> None:
    module = nn.Linear(1, 1, bias=False)
    shares = []
    for decay in (EMA.decay(steps), 0.999):
        module.weight.data.fill_(0.0)
        average = MovingAverage(module, decay)
        for _ in range(steps):
            module.weight.data += 1.0
            average.update_parameters(module)
        (moved,) = average.module.parameters()
        shares.append(float(moved) / steps)
    assert 0.85 < shares[0] <= 1
    assert shares[1] < 0.6  # what the published decay keeps of a run this short


def _module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(2)).train()


def _learn(module: nn.Module, step: int) -> None:
    random = torch.Generator().manual_seed(step)
    module(torch.randn(4, 3, 6, 6, generator=random))  # moves the running statistics
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=random))


def test_weights_statistics_and_counters_are_torchs_own_to_the_last_bit() -> None:
    module = _module()
    _learn(module, 99)
    ours = MovingAverage(module, DECAY)
    theirs = AveragedModel(
        module,
        multi_avg_fn=get_ema_multi_avg_fn(DECAY),  # type: ignore[no-untyped-call]
        use_buffers=True,
    )
    for step in range(5):
        _learn(module, step)
        ours.update_parameters(module)
        theirs.update_parameters(module)
    expected = theirs.state_dict()
    assert ours.state_dict().keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in ours.state_dict().items())


def test_a_restored_average_goes_on_where_it_stood() -> None:
    module = _module()
    _learn(module, 99)
    average = MovingAverage(module, DECAY)
    for step in range(3):
        _learn(module, step)
        average.update_parameters(module)
    later = MovingAverage(module, DECAY)
    later.load_state_dict(copy.deepcopy(average.state_dict()))
    for step in range(3, 5):
        _learn(module, step)
        average.update_parameters(module)
        later.update_parameters(module)
    expected = average.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in later.state_dict().items())


def test_two_updates_by_hand() -> None:
    module = nn.Linear(1, 1, bias=False)
    average = MovingAverage(module, 0.75)
    for weight in (4.0, 8.0, 0.0):
        with torch.no_grad():
            module.weight.fill_(weight)
        average.update_parameters(module)
    # 4, then 3/4 · 4 + 1/4 · 8 = 5, then 3/4 · 5.
    assert average.state_dict()["module.weight"].item() == 3.75
