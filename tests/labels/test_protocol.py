"""What screen and engine say to each other comes over as it was said."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.drawing import drawn
from workbench.labels.protocol import Answer, Offer, Request, answer_of, line_of, request_of


@pytest.mark.parametrize("kind", [*get_args(Request), *get_args(Answer)], ids=lambda kind: kind.__name__)
def test_every_message_comes_over_as_it_was_said(kind: Any) -> None:
    back = request_of if kind in get_args(Request) else answer_of

    @given(drawn(kind))
    def check(message: Any) -> None:
        line = line_of(message)
        assert line.count(b"\n") == 1
        assert back(line) == message

    check()


@given(
    st.binary(max_size=40)
    | st.builds(lambda v: json.dumps(v).encode(), st.dictionaries(st.text(), st.integers()))
)
def test_what_is_no_message_is_a_value_error(line: bytes) -> None:
    for back in (request_of, answer_of):
        with pytest.raises(ValueError):
            back(line)


def test_a_request_says_what_it_leaves_out_by_its_defaults() -> None:
    assert request_of(b'{"kind": "offer", "serial": 3}\n') == Offer(3)
