"""Batches prepared ahead are the same, and nothing of them is left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from workbench.compute.accelerators import Cpu
from workbench.loader.batches import DEPTH, Ahead, prepared

CPU = torch.device("cpu")


def _threads() -> int:
    return sum(thread.name == "batches" for thread in threading.enumerate())


def test_items_come_in_their_order_and_the_thread_ends_with_them() -> None:
    assert list(Ahead(iter(range(100)), CPU)) == list(range(100))
    assert _threads() == 0


def test_they_are_made_in_another_thread_and_no_further_ahead_than_it_says() -> None:
    made: list[int] = []
    enough = threading.Event()

    def items() -> Iterator[int]:
        for number in range(50):
            made.append(threading.get_ident())
            if len(made) == 1 + DEPTH + 1:
                enough.set()
            yield number

    ahead = Ahead(items(), CPU)
    assert next(ahead) == 0
    assert enough.wait(30), "taken one: two wait, and one is at hand for when there is room"
    assert len(made) == 1 + DEPTH + 1
    assert threading.get_ident() not in made
    ahead.close()
    assert len(made) == 1 + DEPTH + 1
    assert list(ahead) == []
    assert _threads() == 0


def test_an_error_comes_where_its_item_would_have() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("the disk is gone")

    ahead = Ahead(items(), CPU)
    assert [next(ahead), next(ahead)] == [1, 2]
    with pytest.raises(OSError, match="the disk is gone"):
        next(ahead)
    assert _threads() == 0
    assert list(ahead) == []


def test_batches_are_made_one_by_one_on_a_cpu_and_ahead_where_the_host_only_queues(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(3):
            made.append(threading.get_ident())
            yield number

    assert list(prepared(items(), CPU)) == [0, 1, 2]
    assert set(made) == {threading.get_ident()}
    made.clear()
    monkeypatch.setattr(Cpu, "runs_ahead", True)
    waiting = prepared(items(), CPU)
    assert (_threads(), made) == (0, [])  # nothing is made for nobody
    assert list(waiting) == [0, 1, 2]
    assert threading.get_ident() not in made
    assert _threads() == 0
