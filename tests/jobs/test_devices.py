"""Which devices there are, as CUDA_VISIBLE_DEVICES tells them, with a driver made up at its seam."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runs.making import make_run
from workbench.jobs import device as module
from workbench.jobs import gpu_usage, usage
from workbench.jobs.device import Device, devices, torch_has_cuda, wanted_devices
from workbench.jobs.lease import try_lease
from workbench.jobs.nvml import Gpu, GpuLoad, read_gpus, read_loads
from workbench.jobs.visible import visible_gpus, visible_without_driver
from workbench.runs.process import write_process
from workbench.runs.waiting import queue_lock
from workbench.support.errors import UserError

GPUS = [
    Gpu(0, "GPU-aaaa-0000", "NVIDIA H100", 80 * 2**30),
    Gpu(1, "GPU-aabb-1111", "NVIDIA H100", 80 * 2**30),
    Gpu(2, "GPU-cccc-2222", "NVIDIA L4", 24 * 2**30),
]


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with three GPUs, and a torch that can use them."""
    monkeypatch.setattr(module, "read_gpus", lambda: GPUS)
    monkeypatch.setattr(module, "torch_has_cuda", lambda: True)


@pytest.mark.parametrize(
    ("variable", "indices"),
    [
        (None, [0, 1, 2]),
        ("0", [0]),
        ("2,0", [2, 0]),
        (" 1 , 2 ", [1, 2]),
        ("", []),
        ("-1", []),
        ("1,-1,2", [1]),
        ("0,7,1", [0]),
        ("7", []),
        ("0,0", []),
        ("GPU-cccc", [2]),
        ("GPU-cccc-2222,GPU-aaaa-0000", [2, 0]),
        ("GPU-aa", []),
        ("GPU-dddd", []),
        ("GPU-cccc,2", []),
        ("none", []),
        ("0;1", []),
        ("1,", [1]),
        ("²", []),
    ],
)
def test_the_variable_is_read_as_cuda_reads_it(variable: str | None, indices: list[int]) -> None:
    found = visible_gpus(GPUS, variable)
    assert [gpu.index for _, gpu in found if gpu] == indices
    assert [entry for entry, _ in found] == [GPUS[index].uuid for index in indices]


def test_a_part_of_a_divided_card_is_taken_as_it_is() -> None:
    assert visible_gpus(GPUS, "MIG-1234,MIG-5678") == [("MIG-1234", None), ("MIG-5678", None)]


@pytest.mark.parametrize(
    ("present", "variable", "entries"),
    [(2, None, ["0", "1"]), (2, "1", ["1"]), (2, "GPU-x,1", ["GPU-x", "1"]), (2, "", []), (2, "-1", [])],
)
def test_without_a_driver_the_variable_is_believed(
    present: int, variable: str | None, entries: list[str]
) -> None:
    assert visible_without_driver(present, variable) == entries


@pytest.mark.usefixtures("driver")
def test_a_gpu_has_one_lease_whatever_its_number_is_here() -> None:
    everywhere = devices({})
    hidden = devices({"CUDA_VISIBLE_DEVICES": "2"})
    assert [device.name for device in everywhere] == ["cuda:0", "cuda:1", "cuda:2", "cpu"]
    assert [device.name for device in hidden] == ["cuda:0", "cpu"]
    assert hidden[0].key == everywhere[2].key == "GPU-cccc-2222"
    assert hidden[0].visible == "GPU-cccc-2222"
    assert hidden[0].label == "NVIDIA L4, 24.0 GiB"


@pytest.mark.usefixtures("driver")
@pytest.mark.parametrize(
    ("name", "variable", "found"),
    [
        ("auto", "1,2", ["GPU-aabb-1111", "GPU-cccc-2222"]),
        ("auto", "", ["cpu"]),
        ("cuda", "1,2", ["GPU-aabb-1111", "GPU-cccc-2222"]),
        ("cuda:1", "1,2", ["GPU-cccc-2222"]),
        ("cpu", "1,2", ["cpu"]),
    ],
)
def test_a_device_option_means_these_devices(name: str, variable: str, found: list[str]) -> None:
    wanted = wanted_devices(name, {"CUDA_VISIBLE_DEVICES": variable})
    assert [device.key for device in wanted] == found


@pytest.mark.usefixtures("driver")
@pytest.mark.parametrize("name", ["cuda:2", "cuda:-1", "cuda:x", "gpu", "", "CPU"])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(UserError, match="no device") as error:
        wanted_devices(name, {"CUDA_VISIBLE_DEVICES": "0,1"})
    assert error.value.allowed == "auto, cuda, cuda:0, cuda:1, cpu"


@pytest.mark.usefixtures("driver")
def test_cuda_is_refused_where_no_gpu_is_visible() -> None:
    with pytest.raises(UserError) as error:
        wanted_devices("cuda", {"CUDA_VISIBLE_DEVICES": "-1"})
    assert error.value.allowed == "auto, cpu"


def test_a_torch_that_cannot_use_gpus_leaves_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "read_gpus", lambda: GPUS)
    monkeypatch.setattr(module, "torch_has_cuda", lambda: False)
    assert [device.name for device in devices({})] == ["cpu"]


def test_what_torch_was_built_for_is_read_without_importing_it() -> None:
    import torch

    assert torch_has_cuda() is (torch.version.cuda is not None)


@pytest.mark.usefixtures("driver")
def test_a_lease_is_named_by_a_safe_file_name() -> None:
    (device, *_) = devices({"CUDA_VISIBLE_DEVICES": "MIG-../../etc/x"})
    assert device.key == "MIG-______etc_x"


def test_without_an_nvidia_driver_there_are_no_gpus() -> None:
    gpus = read_gpus()
    if gpus is not None:
        pytest.skip("this machine has an NVIDIA driver")
    assert read_loads() == []
    assert gpu_usage() == []


def test_memory_of_own_runs_is_told_from_that_of_others(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(home / "runs")
    own = write_process(run, "cuda:0").pid
    with queue_lock():
        lease = try_lease(Device("cuda:0", "H100", "GPU-aaaa-0000", "GPU-aaaa-0000"), run)
    assert lease is not None
    load = GpuLoad(GPUS[0], 0.75, 30 * 2**30, ((own, 10 * 2**30), (1, 5 * 2**30)))
    monkeypatch.setattr(usage, "read_loads", lambda: [load])
    (found,) = gpu_usage()
    lease.release()
    assert (found.own_bytes, found.other_bytes) == (10 * 2**30, 20 * 2**30)
    assert (found.index, found.name, found.utilisation) == (0, "NVIDIA H100", 0.75)
