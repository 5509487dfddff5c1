"""Which devices there are, as CUDA_VISIBLE_DEVICES tells them, with a driver made up at its seam."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.runs.making import make_run
from workbench.jobs import device as module
from workbench.jobs import gpu_usage
from workbench.jobs import lease as leases
from workbench.jobs.device import (
    Device,
    demand_of,
    devices,
    environment_of,
    listed_device,
    platform_said,
    torch_platform,
    visible_gpus,
    visible_without_driver,
    wanted_devices,
)
from workbench.jobs.lease import order_free, others_on, try_lease
from workbench.jobs.nvml import Gpu, GpuLoad, read_gpus, read_loads
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
    monkeypatch.setattr(module, "torch_platform", lambda: "cuda")


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
        ("all", "1,2", ["GPU-aabb-1111", "GPU-cccc-2222"]),
        ("all", "", ["cpu"]),
        ("cuda:1,cuda:0", "1,2", ["GPU-cccc-2222", "GPU-aabb-1111"]),
        ("cuda:0, cpu,cuda:0", "1,2", ["GPU-aabb-1111", "cpu"]),
    ],
)
def test_a_device_option_means_these_devices(name: str, variable: str, found: list[str]) -> None:
    wanted = wanted_devices(name, {"CUDA_VISIBLE_DEVICES": variable})
    assert [device.key for device in wanted] == found


@pytest.mark.usefixtures("driver")
@pytest.mark.parametrize(
    "name", ["cuda:2", "cuda:-1", "cuda:x", "gpu", "", "CPU", "cuda:0,", "cuda:0,cuda:7"]
)
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
    monkeypatch.setattr(module, "torch_platform", lambda: None)
    assert [device.name for device in devices({})] == ["cpu"]


def test_what_torch_was_built_for_is_read_without_importing_it() -> None:
    import torch

    assert torch_platform() == ("rocm" if torch.version.hip else "cuda" if torch.version.cuda else None)


@pytest.mark.parametrize(
    ("lines", "platform"),
    [
        ("cuda: Optional[str] = '13.0'\nhip: Optional[str] = None\n", "cuda"),
        ("cuda: Optional[str] = None\nhip: Optional[str] = '6.4.43482'\n", "rocm"),
        ("cuda = None\nhip = None\n", None),
        ("cuda = '12.4'\ngit_version = 'cuda'\n", "cuda"),
    ],
)
def test_a_torch_for_cuda_is_told_from_one_for_rocm(lines: str, platform: str | None) -> None:
    assert platform_said(f"__version__ = '2.11.0'\n{lines}") == platform


AMD = "simd_count 304\nsimd_id_base 2147487744\nunique_id 7390385129482920011\n"
"""As amdkfd tells of a GPU; of a processor `simd_count` is 0."""


@pytest.mark.parametrize(
    ("environment", "entries"),
    [
        ({}, ["0", "1"]),
        ({"HIP_VISIBLE_DEVICES": "1"}, ["1"]),
        ({"CUDA_VISIBLE_DEVICES": "1"}, ["1"]),
        ({"HIP_VISIBLE_DEVICES": "0", "CUDA_VISIBLE_DEVICES": "1"}, ["0"]),
        ({"HIP_VISIBLE_DEVICES": "7"}, []),
    ],
)
def test_a_torch_for_rocm_has_amds_gpus(
    environment: dict[str, str], entries: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for node, text in enumerate(["simd_count 0\nunique_id 0\n", AMD, AMD]):
        (tmp_path / str(node)).mkdir()
        (tmp_path / str(node) / "properties").write_text(text)
    monkeypatch.setattr(module, "_KFD", tmp_path)
    monkeypatch.setattr(module, "torch_platform", lambda: "rocm")
    *gpus, cpu = devices(environment)
    assert cpu.name == "cpu"
    assert [gpu.visible for gpu in gpus] == entries
    assert [gpu.name for gpu in gpus] == [f"cuda:{place}" for place in range(len(entries))]
    assert len({gpu.key for gpu in gpus}) == len(gpus)
    assert all(environment_of([gpu]) == {"HIP_VISIBLE_DEVICES": gpu.visible} for gpu in gpus)
    together = {"HIP_VISIBLE_DEVICES": ",".join(entries)} if entries else {}
    assert environment_of(gpus) == together


class Divided:
    """NVML of a machine with a whole card and one that MIG divides in two."""

    NVML_DEVICE_MIG_ENABLE = 1

    class NVMLError(Exception):
        """Whatever goes wrong."""

    def __getattr__(self, name: str) -> Any:
        answers: dict[str, Any] = {
            "nvmlInit": lambda: None,
            "nvmlShutdown": lambda: None,
            "nvmlDeviceGetCount": lambda: 2,
            "nvmlDeviceGetHandleByIndex": lambda index: ("GPU-whole", "GPU-divided")[index],
            "nvmlDeviceGetUUID": lambda handle: handle,
            "nvmlDeviceGetName": lambda handle: "NVIDIA A100",
            "nvmlDeviceGetMemoryInfo": lambda handle: SimpleNamespace(
                total=40 * 2**30, used=(30 if handle == "MIG-a" else 1) * 2**30
            ),
            "nvmlDeviceGetMigMode": self._mode,
            "nvmlDeviceGetMaxMigDeviceCount": lambda handle: 7,
            "nvmlDeviceGetMigDeviceHandleByIndex": self._slice,
            "nvmlDeviceGetUtilizationRates": lambda handle: SimpleNamespace(gpu=50),
            "nvmlDeviceGetComputeRunningProcesses": lambda handle: [],
        }
        return answers[name]

    def _mode(self, handle: str) -> list[int]:
        if handle == "GPU-whole":
            raise self.NVMLError("Not Supported")
        return [1, 1]

    def _slice(self, handle: str, number: int) -> str:
        if number > 1:
            raise self.NVMLError("Not Found")
        return ("MIG-a", "MIG-b")[number]


@pytest.fixture
def divided(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a whole card and a divided one."""
    monkeypatch.setitem(sys.modules, "pynvml", Divided())
    monkeypatch.setattr(module, "torch_platform", lambda: "cuda")


@pytest.mark.usefixtures("divided")
def test_slices_of_a_divided_card_are_listed_and_leased_one_by_one() -> None:
    gpus = devices({})[:-1]
    assert [gpu.key for gpu in gpus] == ["GPU-whole", "MIG-a", "MIG-b"]
    assert [gpu.is_slice for gpu in gpus] == [False, True, True]
    assert environment_of(gpus[2:]) == {"CUDA_VISIBLE_DEVICES": "MIG-b"}
    (named, _) = devices({"CUDA_VISIBLE_DEVICES": "MIG-b"})
    assert (named.name, named.key, named.label) == ("cuda:0", "MIG-b", "NVIDIA A100, 40.0 GiB")
    # Of a card's own number or name CUDA takes the first slice.
    for entry in ("1", "GPU-div"):
        assert devices({"CUDA_VISIBLE_DEVICES": entry})[0].key == "MIG-a"
    assert [load.gpu.uuid for load in read_loads()] == ["GPU-whole", "MIG-a", "MIG-b"]


@pytest.mark.usefixtures("divided")
def test_the_free_device_with_the_most_memory_left_is_chosen(home: Path) -> None:
    run = make_run(home / "runs")
    whole, first, second = devices({})[:-1]
    assert order_free([first, second]) == ([second, first], [])
    assert order_free([second, whole]) == ([second, whole], [])  # of equals the first
    with queue_lock():
        lease = try_lease([second], run)
    assert lease is not None
    assert order_free([first, second]) == ([first], [second])
    with queue_lock():
        other = try_lease([first], run)
    assert other is not None
    assert order_free([second, first]) == ([], [second, first])  # all are taken: as they come
    lease.release()
    other.release()
    assert order_free(devices({})[-1:]) == (devices({})[-1:], [])


@pytest.mark.usefixtures("driver")
def test_who_else_computes_on_a_device_is_told_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    me = os.getpid()
    load = GpuLoad(GPUS[1], 1.0, 79 * 2**30, ((me, 60 * 2**30), (2**22 + 5, 19 * 2**30)))
    monkeypatch.setattr(leases, "read_loads", lambda: [load])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert others_on("cuda:1", own={me}) == f"somebody (pid {2**22 + 5}, 19.0 GiB); 1.0 GiB are free"
    assert f"(pid {me}, 60.0 GiB)" in others_on("cuda:1")
    assert others_on("cuda:0") == others_on("cpu") == ""
    assert listed_device("cuda") == listed_device("cuda:0")


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
        lease = try_lease([Device("cuda:0", "H100", "GPU-aaaa-0000", "GPU-aaaa-0000")], run)
    assert lease is not None
    load = GpuLoad(GPUS[0], 0.75, 30 * 2**30, ((own, 10 * 2**30), (1, 5 * 2**30)))
    monkeypatch.setattr(leases, "read_loads", lambda: [load])
    (found,) = gpu_usage()
    lease.release()
    assert (found.own_bytes, found.other_bytes) == (10 * 2**30, 20 * 2**30)
    assert (found.index, found.name, found.utilisation) == (0, "NVIDIA H100", 0.75)


_CARDS = [Device(f"cuda:{n}", "GPU", f"GPU-{n}", f"GPU-{n}") for n in range(3)]
_SLICES = [Device(f"cuda:{n}", "slice", f"MIG-{n}", f"MIG-{n}") for n in (3, 4)]
_PROCESSOR = [Device("cpu", "CPU", "cpu", "")]


@pytest.mark.parametrize(
    ("there", "asked", "devices", "processes", "count"),
    [
        (_CARDS, 2, 3, 2, 2),
        (_CARDS, "all", 3, 3, 3),
        (_CARDS + _SLICES, "all", 3, 3, 3),
        (_SLICES, "all", 2, 1, 1),
        (_CARDS + _SLICES, 1, 5, 1, 1),
        (_PROCESSOR, "all", 1, 1, 1),
        (_PROCESSOR, 2, 1, 2, 1),  # two processes have the one CPU together
    ],
)
def test_a_recipe_takes_so_many_gpus_or_so_many_processes_the_cpu(
    there: list[Device],
    asked: int,
    devices: int,
    processes: int,
    count: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "wanted_devices", lambda *_: there)
    monkeypatch.setattr(module, "usable_cores", lambda: 2)
    demand = demand_of("auto", asked)
    assert (len(demand.devices), demand.processes, demand.count) == (devices, processes, count)


@pytest.mark.parametrize(
    ("there", "asked", "said"),
    [
        (_CARDS, 4, "4 devices are more than there are: 3 GPUs (cuda:0, cuda:1, cuda:2) here"),
        (_SLICES, 2, "2 devices are more than there are: no GPUs that are not divided here"),
        (_CARDS[:1] + _PROCESSOR, 2, "2 devices are more than there are: 1 GPUs (cuda:0) here"),
        (_PROCESSOR, 3, "3 devices are more than there are: 2 CPU cores here"),
    ],
)
def test_more_than_there_are_is_refused_with_what_there_is(
    there: list[Device], asked: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "wanted_devices", lambda *_: there)
    monkeypatch.setattr(module, "usable_cores", lambda: 2)
    with pytest.raises(UserError) as refused:
        demand_of("auto", asked)
    assert refused.value.what == said
    assert refused.value.where == "training.devices"
