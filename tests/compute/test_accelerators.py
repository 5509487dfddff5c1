"""The table of accelerators: what is asked of a device, and of the torch that is to use it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import workbench
from workbench.compute import ACCELERATORS, accelerator_of, computes_in, default_device, find_device
from workbench.compute.accelerators import has_code_for, wheel_for
from workbench.support.errors import UserError

CPU = torch.device("cpu")
T4, V100, P100, H100 = (7, 5), (7, 0), (6, 0), (9, 0)
# What builds say of themselves: torch 2.5 for CUDA 12.4, and one for CUDA 13.0.
CU124 = ["sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90"]
CU130 = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120"]


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """A machine with a T4 and an H100, as torch would tell of them; no GPU is needed to be asked about."""
    capabilities = [T4, H100]

    def number(device: torch.device | int) -> int:
        return device if isinstance(device, int) else device.index or 0

    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(capabilities))
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capabilities[number(device)])
    monkeypatch.setattr(
        torch.cuda, "get_device_name", lambda device: ["Tesla T4", "NVIDIA H100"][number(device)]
    )
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: CU130)
    return capabilities


def test_nobody_but_the_table_asks_for_a_kind_of_device() -> None:
    """Another accelerator is another entry: no `device.type == "cuda"`, no torch.cuda anywhere else."""
    package = Path(workbench.__file__).parent
    asks = re.compile(r"""device\.type (?:==|!=|in|not in) ["'(]|torch\.(?:cuda|mps|xpu|accelerator)\.""")
    found = [
        f"{path.relative_to(package)}: {line.strip()}"
        for path in package.rglob("*.py")
        for line in path.read_text().splitlines()
        if path.parent.name != "compute" and asks.search(line)
    ]
    assert found == []


def test_on_this_machine_something_computes() -> None:
    device = default_device()
    assert accelerator_of(device).count() >= 1
    assert find_device("cpu") == CPU
    assert computes_in("fp32", device)
    assert not ACCELERATORS["cpu"].runs_ahead


@pytest.mark.usefixtures("cards")
@pytest.mark.parametrize(
    ("index", "bf16", "fp16", "tf32"), [(0, False, True, False), (1, True, True, True)], ids=["T4", "H100"]
)
def test_arithmetic_is_asked_of_the_device_that_is_given(
    index: int, bf16: bool, fp16: bool, tf32: bool
) -> None:
    """torch's own question is of the current device, here the H100."""
    device, cuda = torch.device(f"cuda:{index}"), ACCELERATORS["cuda"]
    assert (computes_in("bf16", device), computes_in("fp16", device)) == (bf16, fp16)
    assert cuda.supports("tf32", device) is tf32


@pytest.mark.parametrize(
    ("capability", "built_for", "runs"),
    [
        (T4, CU130, True),
        (V100, CU130, False),
        (V100, CU124, True),
        (P100, CU130, False),
        (H100, CU130, True),
        ((8, 9), CU124, True),  # an L4 runs sm_86
        ((6, 1), CU124, True),
        ((10, 0), CU124, False),
        ((12, 0), CU130, True),
        ((13, 0), CU130, True),  # by PTX
        ((9, 0), ["sm_90a"], True),
        ((9, 1), ["sm_90a"], False),
        ((8, 6), ["sm_87"], False),
    ],
)
def test_a_card_runs_what_was_built_for_its_generation_or_ptx_of_an_earlier_one(
    capability: tuple[int, int], built_for: list[str], runs: bool
) -> None:
    assert has_code_for(capability, built_for) is runs


def test_a_card_that_torch_has_no_code_for_is_refused_with_the_wheel_to_install(
    cards: list[tuple[int, int]],
) -> None:
    cards[0] = V100
    with pytest.raises(UserError) as error:
        find_device("cuda:0")
    assert "compute capability 7.0" in str(error.value)
    assert "sm_75" in str(error.value)
    assert "whl/cu126" in str(error.value)
    assert find_device("cuda:1") == torch.device("cuda:1")


def test_the_newest_cards_are_told_a_newer_build() -> None:
    assert "cu128" in wheel_for((12, 0))
    assert "cu126" in wheel_for(V100)


def test_cards_are_numbered_as_the_driver_and_the_leases_number_them() -> None:
    """CUDA's own order is the fastest first; what the user's environment says would part the two."""
    code = "import os, workbench.compute; print(os.environ['CUDA_DEVICE_ORDER'])"
    environment = {**os.environ, "CUDA_DEVICE_ORDER": "FASTEST_FIRST"}
    said = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert said.stdout == "PCI_BUS_ID\n"


@pytest.mark.usefixtures("cards")
@pytest.mark.parametrize("name", ["cuda:2", "meta", "gpu"])
def test_a_device_that_torch_does_not_see_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="no device"):
        find_device(name)
