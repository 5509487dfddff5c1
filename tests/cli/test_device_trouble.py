"""The device of a command: which it takes, and one message without a traceback where it fails."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest
import torch

from tests.compute.test_trouble import OF_CUDNN, OF_TORCH, of_driver
from workbench.cli import main as module
from workbench.cli.devices import foreground_device
from workbench.jobs.device import Device
from workbench.support.errors import RunFailed, UserError

BUSY = of_driver("CUDA-capable device(s) is/are busy or unavailable")


def _code_of(error: Exception, monkeypatch: pytest.MonkeyPatch) -> int:
    def broken(**_: Any) -> None:
        raise error

    monkeypatch.setattr(sys, "argv", ["petbench", "predict"])
    monkeypatch.setattr(module, "app", broken)
    monkeypatch.setattr(module, "register", lambda: None)
    return module._code()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OF_TORCH, "the device is out of memory"),
        (OF_CUDNN, "--device cpu"),
        (BUSY, "in use by another program"),
        (MemoryError(), "this machine is out of memory"),
        (RunFailed("no room", advice="make some"), "make some"),
    ],
    ids=["torch", "cudnn", "busy", "machine", "named"],
)
def test_what_a_device_could_not_do_is_said_with_what_to_do(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _code_of(error, monkeypatch) == 1
    assert said in capsys.readouterr().err.replace("\n", " ")


def test_other_errors_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        _code_of(RuntimeError("shapes cannot be multiplied"), monkeypatch)


def _machine(monkeypatch: pytest.MonkeyPatch, usable: bool) -> list[str]:
    """Two cards of which a run has the first; torch can use them or not. Returns what torch is asked for."""
    asked: list[str] = []
    cards = [Device(f"cuda:{n}", "GPU", f"GPU-{n}", f"GPU-{n}") for n in range(2)]

    def find(name: str) -> torch.device:
        asked.append(name)
        if name.startswith("cuda") and not usable:
            raise UserError("torch sees 0 GPUs")
        return torch.device("cpu" if name == "auto" else name)

    monkeypatch.setattr("workbench.jobs.device.wanted_devices", lambda *_: cards)
    monkeypatch.setattr("workbench.jobs.lease.is_free", lambda key: key == "GPU-1")
    monkeypatch.setattr("workbench.compute.find_device", find)
    return asked


def test_a_command_in_the_foreground_takes_the_card_that_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    _machine(monkeypatch, usable=True)
    assert foreground_device("auto") == torch.device("cuda:1")


def test_auto_falls_back_to_what_torch_can_use_and_a_card_by_name_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = _machine(monkeypatch, usable=False)
    assert foreground_device("auto") == torch.device("cpu")
    assert asked == ["cuda:1", "auto"]
    with pytest.raises(UserError, match="torch sees 0 GPUs"):
        foreground_device("cuda")


def test_a_slice_of_a_divided_card_is_shown_to_the_process_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _machine(monkeypatch, usable=True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-a,MIG-b")
    one = Device("cuda:1", "A100 MIG 1g.5gb", "MIG-b", "MIG-b")
    monkeypatch.setattr("workbench.jobs.device.wanted_devices", lambda *_: [one])
    foreground_device("cuda:1")
    assert asked == ["cuda"]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "MIG-b"
