"""Turns, their ratios, and petbench's own clock."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.ours import EpochClock, is_training
from benchmarks.same_accuracy import Seen, reach
from benchmarks.turns import Epoch, Spread, Turn, ratios, rounds_of
from workbench.runs.events import EpochDone

positive = st.floats(0.01, 1000, allow_nan=False)


class Counting:
    """A side that writes down whose turn it was."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self._log = log

    def epoch(self) -> Epoch:
        """One more."""
        self._log.append(self.name)
        return Epoch(Turn(len(self._log), 1.0), Turn(0, 0.0), math.nan)


def test_the_median_of_a_rounds_ratios_is_reported_not_the_ratio_of_the_medians() -> None:
    # Rounds 1 and 2 were slowed alike on both sides, round 3 hit one side: 10/10, 20/20, 10/40.
    spread = ratios([10.0, 20.0, 10.0], [10.0, 20.0, 40.0])
    assert spread == Spread(median=1.0, low=0.25, high=1.0, count=3)


def test_sides_with_unequal_turns_are_refused() -> None:
    with pytest.raises(ValueError):
        ratios([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="nothing was measured"):
        ratios([], [])


@given(st.lists(st.tuples(positive, positive), min_size=1))
def test_swapping_the_sides_turns_the_spread_over(pairs: list[tuple[float, float]]) -> None:
    upper, lower = [a for a, _ in pairs], [b for _, b in pairs]
    there, back = ratios(upper, lower), ratios(lower, upper)
    assert there.low == pytest.approx(1 / back.high)
    assert there.low <= there.median <= there.high


def test_sides_take_turns_and_the_first_round_does_not_count() -> None:
    log: list[str] = []
    found = rounds_of([Counting("a", log), Counting("b", log)], rounds=2)
    assert log == ["a", "b"] * 3
    assert [epoch.training.images for epoch in found["a"]] == [3, 5]


def test_sides_that_are_warm_count_from_the_first_round() -> None:
    log: list[str] = []
    found = rounds_of([Counting("a", log)], rounds=2, warm=True)
    assert [epoch.training.images for epoch in found["a"]] == [1, 2]


def test_a_turn_of_others_between_epochs_is_not_on_petbenchs_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("benchmarks.ours.time.perf_counter", lambda: now[0])

    def others(_: int) -> None:
        now[0] += 100

    clock = EpochClock(others)
    clock.start()
    for epoch in (1, 2):
        now[0] += 4
        clock.progress(f"fit epoch {epoch}", 8, 8)
        now[0] += 1
        clock.progress("fit validation", 37, 37)
        clock.event(EpochDone("fit", 0, epoch, "train", 1.0, 0.5, 1e-3, 64.0, 3.5))
        clock.event(EpochDone("fit", 0, epoch, "val", 1.0, 0.25, 1e-3, 37.0, 1.0))
    assert clock.epochs == [Epoch(Turn(224, 4.0), Turn(37, 1.0), 0.25)] * 2


def test_on_cached_features_the_loops_own_seconds_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("benchmarks.ours.time.perf_counter", lambda: now[0])
    clock = EpochClock()
    clock.start()
    now[0] += 1.0
    clock.event(EpochDone("fit", 0, 1, "train", 1.0, 0.5, 1e-3, 100.0, 0.25))
    clock.event(EpochDone("fit", 0, 1, "val", 1.0, 0.5, 1e-3, 10.0, 0.5))
    assert clock.epochs == [Epoch(Turn(25, 0.25), Turn(5, 0.75), 0.5)]


def test_validation_is_not_taken_for_training() -> None:
    assert is_training("student r2 epoch 13")
    assert not is_training("fit validation")


def test_both_sides_are_timed_to_the_lower_of_their_bests() -> None:
    ours = [Seen(5.0, 0.5), Seen(6.0, 0.8), Seen(9.0, 0.9)]
    theirs = [Seen(30.0, 0.7), Seen(60.0, 0.8), Seen(90.0, 0.75)]
    assert reach(ours, theirs) == (0.8, 6.0, 60.0)
    assert reach(theirs, ours) == (0.8, 60.0, 6.0)
