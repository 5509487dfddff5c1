"""What the host waits for, and when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from workbench.compute import fetched
from workbench.compute.accelerators import Cpu
from workbench.compute.lanes import BEHIND, Fetched

CPU = torch.device("cpu")


@pytest.mark.parametrize("runs_ahead", [False, True])
def test_results_come_in_order_and_are_waited_for_once_more_is_queued(
    runs_ahead: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    @dataclass
    class Told:
        tensor: Tensor

        def wait(self) -> Tensor:
            said.append(f"wait {int(self.tensor)}")
            return self.tensor

    def fetch(own: Cpu, tensor: Tensor) -> Fetched:
        said.append(f"fetch {int(tensor)}")
        return Told(tensor)

    def results() -> Iterator[tuple[Tensor, str]]:
        for number in range(4):
            yield torch.tensor(number), "abcd"[number]

    monkeypatch.setattr(Cpu, "fetch", fetch)
    monkeypatch.setattr(Cpu, "runs_ahead", runs_ahead)
    assert [(int(tensor), beside) for tensor, beside in fetched(results(), CPU)] == list(enumerate("abcd"))
    behind = BEHIND if runs_ahead else 0
    for number in range(4):
        before = said.index(f"wait {number}")
        assert said[:before].count(f"fetch {min(3, number + behind)}") == 1
