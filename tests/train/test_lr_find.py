"""The learning-rate range test: what it makes of losses, and that it leaves nothing behind."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.train.making import HEAD, PSEUDO, TRUNK, places, tiny
from workbench.runs.events import Silent
from workbench.support.errors import UserError
from workbench.train.lr_find import SMOOTHING, judge, range_test, smooth

RATES = [10 ** (-6 + step / 10) for step in range(60)]


def _bowl(rate: float) -> float:
    """Flat, then falling around 1e-3, least near 1e-2, then steeply up."""
    place = math.log10(rate)
    return 3.6 - 2 / (1 + math.exp(-4 * (place + 3))) + math.exp(4 * (place + 1))


def test_the_suggestion_lies_where_the_loss_falls() -> None:
    seen = judge(RATES, [_bowl(rate) for rate in RATES])
    assert 3e-4 < seen.steepest < 5e-3
    assert seen.least_tenth < 0.1
    assert seen.suggestion == min(seen.steepest, seen.least_tenth)


def test_the_smoothed_loss_is_an_unbiased_moving_average() -> None:
    assert smooth([2.0, 2.0, 2.0]) == pytest.approx([2.0, 2.0, 2.0])
    first, second = smooth([1.0, 3.0])
    assert first == pytest.approx(1.0)
    assert second == pytest.approx((SMOOTHING * 1.0 + 3.0) / (SMOOTHING + 1))


def test_losses_that_are_not_finite_are_left_out_and_too_few_are_refused() -> None:
    seen = judge(RATES, [*map(_bowl, RATES[:-1]), math.inf], planned=60)
    assert len(seen.rates) == 59
    assert seen.diverged
    with pytest.raises(UserError, match="ran away after 3 steps"):
        judge(RATES[:3], [1.0, 1.0, 1.0])


@pytest.mark.parametrize(("base", "on_features"), [(HEAD, True), (TRUNK, False), (HEAD + PSEUDO, True)])
def test_it_runs_on_cached_features_and_through_the_trunk(
    base: str, on_features: bool, sample: Path, tmp_path: Path
) -> None:
    seen = range_test(tiny(base, sample), places(tmp_path), Silent(), low=1e-5, high=1.0, steps=24)
    assert seen.on_features is on_features
    assert seen.rates[0] == pytest.approx(1e-5)
    assert all(
        b / a == pytest.approx(1e5 ** (1 / 23)) for a, b in zip(seen.rates, seen.rates[1:], strict=False)
    )
    assert 1e-6 <= seen.suggestion <= 1.0
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("asked", "taken"),
    [(8, 8), (20, 20), (64, 20)],  # of 20 labelled images
)
def test_it_tells_how_many_images_a_step_really_takes(
    sample: Path, tmp_path: Path, asked: int, taken: int
) -> None:
    recipe = tiny(HEAD + PSEUDO, sample, f"training.batch_size={asked}")
    assert range_test(recipe, places(tmp_path), Silent(), steps=20).batch_size == taken


def test_it_stops_where_the_loss_runs_away(sample: Path, tmp_path: Path) -> None:
    recipe = tiny(HEAD, sample, 'optimizer.name="sgd"')
    seen = range_test(recipe, places(tmp_path), Silent(), low=1e-4, high=1e9, steps=200)
    assert seen.diverged
    assert len(seen.rates) < 200


def test_it_is_the_same_twice(sample: Path, tmp_path: Path) -> None:
    one, two = (range_test(tiny(HEAD, sample), places(tmp_path), Silent(), steps=30) for _ in range(2))
    assert one == two


def test_a_range_the_wrong_way_round_is_refused(sample: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no range"):
        range_test(tiny(HEAD, sample), places(tmp_path), Silent(), low=1.0, high=0.1)
