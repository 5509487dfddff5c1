"""What a process reads of its rank in its environment."""

from __future__ import annotations

import pytest

from workbench.support.errors import UserError
from workbench.support.ranks import Rank, rank_here


def test_a_process_finds_the_rank_that_it_was_given() -> None:
    rank = Rank(number=3, size=4, local=1)
    assert rank_here(rank.variables("10.0.0.1", 29500)) == rank
    assert not rank.is_first
    assert Rank(0, 2, 0).is_first


def test_without_others_it_is_alone() -> None:
    assert rank_here({}) is None
    assert rank_here({"WORLD_SIZE": "1", "RANK": "0"}) is None


def test_its_place_on_its_host_is_its_rank_unless_said() -> None:
    variables = Rank(1, 2, 1).variables("localhost", 1)
    del variables["LOCAL_RANK"]
    assert rank_here(variables) == Rank(1, 2, 1)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"RANK": "2"}, "RANK"),
        ({"RANK": "-1"}, "RANK"),
        ({"RANK": "¹"}, "RANK"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE"),
        ({"LOCAL_RANK": ""}, "LOCAL_RANK"),
        ({"MASTER_ADDR": ""}, "MASTER_ADDR"),
        ({"MASTER_PORT": ""}, "MASTER_PORT"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, str], named: str) -> None:
    with pytest.raises(UserError) as refused:
        rank_here(Rank(1, 2, 1).variables("localhost", 1) | change)
    assert refused.value.where == named
