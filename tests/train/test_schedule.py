"""The learning rate as a function of the step, against torch's own schedulers."""

from __future__ import annotations

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR, StepLR

from workbench.recipe import Optimizer
from workbench.train.optim import rate_multiplier

PEAK = 0.3


def _optimizer() -> torch.optim.SGD:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)


def _rates(
    optimizer: torch.optim.Optimizer, scheduler: LRScheduler, steps: int, *, every: int = 1
) -> list[float]:
    rates = []
    for step in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if (step + 1) % every == 0:
            scheduler.step()
    return rates


def _ours(steps_per_epoch: int, epochs: int, **knobs: object) -> list[float]:
    optimizer = Optimizer.model_validate(knobs)
    return [
        PEAK * rate_multiplier(optimizer, step, steps_per_epoch, epochs)
        for step in range(steps_per_epoch * epochs)
    ]


@pytest.mark.parametrize(("steps", "epochs"), [(1, 1), (3, 7), (10, 4), (46, 20)])
def test_cosine_is_torchs_cosine(steps: int, epochs: int) -> None:
    optimizer = _optimizer()
    expected = _rates(optimizer, CosineAnnealingLR(optimizer, steps * epochs), steps * epochs)
    assert _ours(steps, epochs, schedule="cosine") == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("step_epochs", "factor"), [(1, 0.5), (3, 0.1), (10, 0.1)])
def test_steps_are_torchs_steps(step_epochs: int, factor: float) -> None:
    optimizer = _optimizer()
    expected = _rates(optimizer, StepLR(optimizer, step_epochs, factor), 5 * 12, every=5)
    found = _ours(5, 12, schedule="step", step_epochs=step_epochs, step_factor=factor)
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("steps", "epochs"), [(4, 1), (7, 3), (10, 10), (46, 20)])
def test_one_cycle_is_torchs_one_cycle(steps: int, epochs: int) -> None:
    optimizer = _optimizer()
    scheduler = OneCycleLR(optimizer, PEAK, total_steps=steps * epochs, cycle_momentum=False)
    # torch cannot step past the last rate.
    expected = [PEAK / 25]
    for _ in range(steps * epochs - 1):
        optimizer.step()
        scheduler.step()
        expected.append(optimizer.param_groups[0]["lr"])
    assert _ours(steps, epochs, schedule="one_cycle") == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("total", [1, 2, 3])
def test_one_cycle_has_a_rate_for_stages_of_a_few_steps(total: int) -> None:
    assert all(0 < rate <= PEAK for rate in _ours(total, 1, schedule="one_cycle"))


def test_constant_stays() -> None:
    assert _ours(4, 3, schedule="constant") == [PEAK] * 12


def test_a_warm_up_rises_evenly_to_the_peak_which_the_schedule_goes_on_from() -> None:
    rates = _ours(4, 5, schedule="constant", warmup_epochs=1.0)
    assert rates[:5] == pytest.approx([PEAK * n / 5 for n in (1, 2, 3, 4, 5)])
    assert set(rates[4:]) == {PEAK}
    cosine = _ours(4, 5, schedule="cosine", warmup_epochs=1.0)
    assert cosine[:5] == pytest.approx(rates[:5])
    assert cosine[4:] == pytest.approx(_ours(4, 4, schedule="cosine"))


def test_a_warm_up_may_last_part_of_an_epoch() -> None:
    assert _ours(10, 1, schedule="constant", warmup_epochs=0.2)[:3] == pytest.approx(
        [PEAK / 3, 2 * PEAK / 3, PEAK]
    )
