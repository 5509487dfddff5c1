"""What the processes of a run add up, gather and agree on."""

from __future__ import annotations

import copy
import itertools
import os
from typing import Any

import numpy as np
import pytest
import torch

from tests.train.worlds import alone, in_world
from workbench.train.world import ALONE, World


def _asked(world: World) -> dict[str, Any]:
    """One of every question, with what tells the ranks apart."""
    mine = torch.tensor([1.0, 10.0]) * (world.rank + 1)
    kept = torch.arange(12.0).reshape(1, 3, 2, 2).contiguous(memory_format=torch.channels_last) + world.rank
    world.follow([kept])
    return {
        "sum": world.sum(mine.clone()).tolist(),
        "gather": [part.tolist() for part in world.gather(mine)],
        "join": world.join(np.full((world.rank + 1, 2), world.rank)).tolist(),
        "none": world.join(np.zeros((world.rank, 1), np.float32)).tolist(),
        "values": world.values(("rank", world.rank)),
        "agree": world.agree(lambda: f"of {world.rank}"),
        "any": world.any(world.rank == world.size - 1),
        "nobody": world.any(False),
        "follow": kept.flatten().tolist(),
    }


@pytest.mark.slow
def test_two_processes_meet() -> None:
    first, second = in_world(2, _asked)
    assert first == second
    assert first == {
        "sum": [3.0, 30.0],
        "gather": [[1.0, 10.0], [2.0, 20.0]],
        "join": [[0, 0], [1, 1], [1, 1]],
        "none": [[0.0]],
        "values": [("rank", 0), ("rank", 1)],
        "agree": "of 0",
        "any": True,
        "nobody": False,
        "follow": list(range(12)),
    }


def test_one_process_keeps_what_it_has() -> None:
    assert alone(_asked) == {
        "sum": [1.0, 10.0],
        "gather": [[1.0, 10.0]],
        "join": [[0, 0]],
        "none": [],
        "values": [("rank", 0)],
        "agree": "of 0",
        "any": True,
        "nobody": False,
        "follow": list(range(12)),
    }


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 64, 65])
@pytest.mark.parametrize("size", [1, 2, 3, 8])
@pytest.mark.parametrize("grain", [1, 4])
def test_shares_are_everything_once_and_in_order(count: int, size: int, grain: int) -> None:
    things = list(range(count))
    parts = [things[World(rank, size).share(count, grain)] for rank in range(size)]
    assert list(itertools.chain(*parts)) == things
    assert all(not part or part[0] % grain == 0 for part in parts)
    assert max(map(len, parts)) - min(map(len, parts)) <= (1 if grain == 1 else 2 * grain - 1)


def test_a_copy_of_what_holds_a_world_is_in_the_same_one() -> None:
    assert copy.deepcopy({"world": ALONE})["world"] is ALONE


def _second_leaves(world: World) -> None:
    if not world.is_first:
        os._exit(1)
    world.sum(torch.ones(1))


@pytest.mark.slow
def test_a_process_that_ends_is_missed() -> None:
    with pytest.raises(AssertionError, match=r"PeerLost: another process of the run has ended(.|\n)*rank 1"):
        in_world(2, _second_leaves)
