"""Spans: whose time is whose, and that none of it is lost or counted twice."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.support import spans
from workbench.support.spans import Part, Recorder, each, recording, span, spanned


@dataclass
class Clock:
    """A clock that only goes when it is told to."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now

    def go(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_span_claims_what_no_span_inside_it_claims(clock: Clock) -> None:
    recorder = Recorder(clock)
    with recording(recorder):
        clock.go(1)
        with span(Part.DATA):
            clock.go(2)
            with span(Part.AUGMENTATION):
                clock.go(4)
            clock.go(8)
        clock.go(16)
    wall, own, beside = recorder.finish()
    assert wall == 31
    assert own.seconds == {Part.DATA: 10, Part.AUGMENTATION: 4, Part.OTHER: 17}
    assert (own.times[Part.DATA], own.times[Part.AUGMENTATION]) == (1, 1)
    assert not beside.seconds


def test_a_step_inside_an_evaluation_is_evaluation_but_the_trace_shows_the_step(clock: Clock) -> None:
    recorder = Recorder(clock)
    with recording(recorder), span(Part.EVALUATION):
        clock.go(1)
        with span(Part.AUGMENTATION, "views"), span(Part.DATA):
            clock.go(2)
        with span(Part.FEATURES):
            clock.go(4)
            with span(Part.FORWARD):
                clock.go(8)
    _, own, _ = recorder.finish()
    assert own.seconds == {Part.EVALUATION: 3, Part.FEATURES: 12, Part.OTHER: 0}
    assert own.times == {Part.EVALUATION: 1, Part.FEATURES: 1, Part.OTHER: 0}
    assert {(kept.label, kept.seconds) for kept in recorder.kept} == {
        ("evaluation", 15),
        ("views", 2),
        ("data", 2),
        ("features", 12),
        ("forward", 8),
    }


def test_steps_inside_a_named_stretch_keep_their_parts(clock: Clock) -> None:
    recorder = Recorder(clock)
    with recording(recorder), span(Part.OTHER, "teacher epoch 1"):
        clock.go(1)
        with span(Part.FORWARD):
            clock.go(2)
    _, own, _ = recorder.finish()
    assert own.seconds == {Part.OTHER: 1, Part.FORWARD: 2}


_TREES: st.SearchStrategy[Any] = st.recursive(
    st.floats(0, 10).map(lambda seconds: (seconds, Part.OTHER, [])),
    lambda inner: st.tuples(st.floats(0, 10), st.sampled_from(list(Part)), st.lists(inner, max_size=4)),
    max_leaves=20,
)


@given(st.lists(_TREES, max_size=5))
def test_however_spans_nest_the_parts_add_up_to_the_time_that_went_by(trees: list[Any]) -> None:
    clock = Clock(0.0)
    recorder = Recorder(clock)

    def live(tree: Any) -> None:
        seconds, part, inner = tree
        with span(part):
            clock.go(seconds)
            for one in inner:
                live(one)

    with recording(recorder):
        for tree in trees:
            live(tree)
    wall, own, _ = recorder.finish()
    assert wall == clock.now
    assert sum(own.seconds.values()) == pytest.approx(wall)
    assert all(seconds >= -1e-9 for seconds in own.seconds.values())


def test_other_threads_are_beside_and_take_nothing_from_the_whole(clock: Clock) -> None:
    recorder = Recorder(clock)

    def work() -> None:
        with span(Part.AUGMENTATION):
            clock.go(2)

    with recording(recorder), span(Part.FORWARD):
        clock.go(1)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    wall, own, beside = recorder.finish()
    assert (wall, own.seconds) == (3, {Part.FORWARD: 3, Part.OTHER: 0})
    assert beside.seconds == {Part.AUGMENTATION: 2}
    assert {kept.thread for kept in recorder.kept} == {0, 1}


def test_waiting_for_a_device_is_part_of_a_steps_span_and_told_apart(clock: Clock) -> None:
    recorder = Recorder(clock)
    recorder.settle = lambda: clock.go(5)
    with recording(recorder):
        with span(Part.FORWARD):
            clock.go(1)
        with span(Part.CHECKPOINT):
            clock.go(1)
    _, own, _ = recorder.finish()
    assert own.seconds == {Part.FORWARD: 6, Part.CHECKPOINT: 1, Part.OTHER: 0}
    assert own.waited == {Part.FORWARD: 5, Part.CHECKPOINT: 0, Part.OTHER: 0}


def test_an_error_ends_its_spans_without_waiting_for_the_device(clock: Clock) -> None:
    recorder = Recorder(clock)
    recorder.settle = lambda: clock.go(5)
    with recording(recorder), contextlib.suppress(ValueError), span(Part.FORWARD), span(Part.DATA):
        clock.go(1)
        raise ValueError
    with recording(recorder), span(Part.BACKWARD):
        clock.go(2)
    _, own, _ = recorder.finish()
    assert own.seconds == {Part.DATA: 1, Part.FORWARD: 0, Part.BACKWARD: 7, Part.OTHER: 0}


def test_the_wait_for_each_item_counts_and_the_use_of_it_does_not(clock: Clock) -> None:
    def items() -> Iterator[int]:
        for item in range(3):
            clock.go(1)
            yield item

    recorder = Recorder(clock)
    with recording(recorder):
        for _ in each(Part.DATA, items()):
            clock.go(10)
    _, own, _ = recorder.finish()
    assert own.seconds == {Part.DATA: 3, Part.OTHER: 30}


def test_a_decorated_function_is_a_span_and_returns_what_it_did(clock: Clock) -> None:
    @spanned(Part.LABELLING)
    def label(count: int, *, twice: bool) -> int:
        clock.go(count)
        return count * (1 + twice)

    recorder = Recorder(clock)
    with recording(recorder):
        assert label(3, twice=True) == 6
    assert recorder.finish()[1].seconds[Part.LABELLING] == 3
    assert label.__name__ == "label"


def test_while_nobody_records_there_are_no_spans() -> None:
    assert span(Part.FORWARD) is span(Part.DATA)
    with recording(None):
        assert span(Part.FORWARD) is span(Part.DATA)
    assert list(each(Part.DATA, [1, 2])) == [1, 2]


def test_two_recordings_at_once_are_refused(clock: Clock) -> None:
    with recording(Recorder(clock)), pytest.raises(RuntimeError), recording(Recorder(clock)):
        pass
    assert span(Part.FORWARD) is span(Part.DATA)


def test_of_too_many_spans_the_trace_keeps_the_long_ones_and_the_sums_all(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spans, "MOST_KEPT", 100)
    recorder = Recorder(clock)
    with recording(recorder):
        for number in range(1000):
            with span(Part.FORWARD):
                clock.go(1 + number % 7)
        with span(Part.EVALUATION):
            clock.go(1000)
    _, own, _ = recorder.finish()
    assert own.times[Part.FORWARD] == 1000
    assert own.seconds[Part.FORWARD] == sum(1 + number % 7 for number in range(1000))
    assert len(recorder.kept) <= 100
    assert recorder.kept[-1].seconds == 1000
    assert all(kept.seconds > recorder.shortest_kept for kept in recorder.kept)
