"""The part of the GPU's benchmark that needs none."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.gpu import covered


def test_overlapping_kernels_are_counted_once() -> None:
    assert covered([(0.0, 2.0), (5.0, 6.0), (1.0, 3.0), (1.0, 1.5)]) == 4.0


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20))))
def test_covered_time_is_the_number_of_seconds_in_any_span(spans: list[tuple[int, int]]) -> None:
    seconds = {second for start, length in spans for second in range(start, start + length)}
    assert covered((float(start), float(start + length)) for start, length in spans) == len(seconds)
