"""The table of accelerators: all that petbench asks of a kind of device; nobody else asks for its name.

Another one (MPS, XPU) is another entry here, and one in `workbench.jobs.device` if background runs are to
have it; AMD's cards are torch's "cuda" in builds for ROCm.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, Protocol, TypeVar

import psutil
import torch
from torch import Tensor

from workbench.compute.lanes import BEHIND, CudaFetched, CudaLane, Fetched, HeldByHost, Lane, in_turn
from workbench.support.errors import UserError

T = TypeVar("T")

# The driver reads it when it is first asked. NVML, leases and nvidia-smi count cards so; CUDA by itself puts
# the fastest first.
os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"

Dtype = Literal["fp32", "bf16", "fp16"]
"""What a forward pass computes in, by the recipe's names."""

_NATIVE_BF16 = 8
"""Major compute capability of Ampere, the first with bf16 and TF32 (CUDA C++ Programming Guide, table of
arithmetic)."""
_TENSOR_CORES = 7
"""Of Volta, the first whose fp16 is faster than fp32 in every card that is sold for it."""


class Accelerator(Protocol):
    """A kind of device, as torch names it. A device given is of this kind."""

    word: str
    """What people call it."""
    runs_ahead: bool
    """The host queues work and goes on: it draws batches ahead, copies from pinned memory, waits to time."""
    has_own_memory: bool
    """Decoded images may lie in it; a run has to make do with it."""
    compiles: bool
    """`training.compile = "auto"` may pay."""
    times_arithmetic: bool
    """Which arithmetic is faster depends on the network and is timed; else what `supports` says decides."""
    times_convolutions: bool
    """Its library can choose algorithms by timing them for each size."""

    def count(self) -> int:
        """How many there are for this process."""

    def label(self, device: torch.device) -> str:
        """What it is, as the provenance keeps it."""

    def runtime(self) -> str:
        """What torch was built for; "" where that says nothing."""

    def free_bytes(self, device: torch.device) -> int:
        """Memory that nobody has."""

    def peak_bytes(self, device: torch.device) -> int:
        """The most memory used since `begin_peak`."""

    def begin_peak(self, device: torch.device) -> None:
        """Measure the peak from now on."""

    def release(self, device: torch.device) -> None:
        """Give back what is kept for later allocations."""

    def settle(self, device: torch.device) -> None:
        """Wait until all that was queued is done."""

    def seed(self, seed: int, device: torch.device) -> None:
        """Seed its own random numbers."""

    def pinned(self, tensor: Tensor) -> Tensor:
        """A tensor of the host from which a copy need not be waited for."""

    def lane(self, device: torch.device) -> Lane | None:
        """Where batches are made ahead, the same for all; None where nothing is queued."""

    def hold(self, tensor: Tensor) -> None:
        """Give its memory to nobody before what this thread's queue has been given so far is done."""

    def fetch(self, tensor: Tensor) -> Fetched:
        """Begin to copy a tensor to the host."""

    def supports(self, dtype: Literal["bf16", "fp16", "tf32"], device: torch.device) -> bool:
        """Whether it computes so itself, without emulating it and faster than in fp32."""

    def refusal(self, device: torch.device) -> str | None:
        """Why this torch has no code for it; None: it has."""

    def begin_world(self, device: torch.device) -> str | None:
        """Prepare to meet other processes' devices: torch's backend for that; None: by way of the host."""


class Cpu:
    """The processor: nothing is queued, and memory is the machine's."""

    word = "CPU"
    runs_ahead = False
    has_own_memory = False
    compiles = False
    times_arithmetic = True
    times_convolutions = False

    def count(self) -> int:
        return 1

    def label(self, device: torch.device) -> str:
        return "cpu"

    def runtime(self) -> str:
        return ""

    def free_bytes(self, device: torch.device) -> int:
        return int(psutil.virtual_memory().available)

    def peak_bytes(self, device: torch.device) -> int:
        """The process's resident memory: of its whole life, as the system counts it."""
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB

    def begin_peak(self, device: torch.device) -> None:
        pass

    def release(self, device: torch.device) -> None:
        pass

    def settle(self, device: torch.device) -> None:
        pass

    def seed(self, seed: int, device: torch.device) -> None:
        pass  # the host's generator is its own

    def pinned(self, tensor: Tensor) -> Tensor:
        return tensor

    def lane(self, device: torch.device) -> Lane | None:
        return None

    def hold(self, tensor: Tensor) -> None:
        pass

    def fetch(self, tensor: Tensor) -> Fetched:
        return HeldByHost(tensor)

    def supports(self, dtype: Literal["bf16", "fp16", "tf32"], device: torch.device) -> bool:
        """bf16 alone: torch's fp16 on processors has no fast convolutions."""
        # torch has no public call for this in the versions we support.
        supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
        return dtype == "bf16" and bool(supported and supported())

    def refusal(self, device: torch.device) -> str | None:
        return None

    def begin_world(self, device: torch.device) -> str | None:
        return None


class Cuda:
    """NVIDIA's GPUs, and AMD's in a torch that was built for ROCm."""

    word = "GPU"
    runs_ahead = True
    has_own_memory = True
    compiles = True
    times_arithmetic = False
    times_convolutions = True

    def __init__(self) -> None:
        self._lanes: dict[torch.device, CudaLane] = {}

    def count(self) -> int:
        return torch.cuda.device_count() if torch.cuda.is_available() else 0

    def label(self, device: torch.device) -> str:
        return torch.cuda.get_device_name(device)

    def runtime(self) -> str:
        return f"ROCm {torch.version.hip}" if torch.version.hip else torch.version.cuda or ""

    def free_bytes(self, device: torch.device) -> int:
        return int(torch.cuda.mem_get_info(device)[0])

    def peak_bytes(self, device: torch.device) -> int:
        """By torch's allocator."""
        return torch.cuda.max_memory_allocated(device)

    def begin_peak(self, device: torch.device) -> None:
        torch.cuda.reset_peak_memory_stats(device)

    def release(self, device: torch.device) -> None:
        torch.cuda.empty_cache()

    def settle(self, device: torch.device) -> None:
        torch.cuda.current_stream(device).synchronize()

    def seed(self, seed: int, device: torch.device) -> None:
        index = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.default_generators[index].manual_seed(seed)

    def pinned(self, tensor: Tensor) -> Tensor:
        return tensor.pin_memory()

    def lane(self, device: torch.device) -> Lane | None:
        """One a device: the allocator keeps the memory of each apart."""
        if device not in self._lanes:
            self._lanes[device] = CudaLane(device)
        return self._lanes[device]

    def hold(self, tensor: Tensor) -> None:
        tensor.record_stream(torch.cuda.current_stream(tensor.device))

    def fetch(self, tensor: Tensor) -> Fetched:
        return CudaFetched(tensor)

    def supports(self, dtype: Literal["bf16", "fp16", "tf32"], device: torch.device) -> bool:
        """By the card that is given: torch's own question is of the current one."""
        if torch.version.hip:
            return dtype != "tf32"
        major = torch.cuda.get_device_capability(device)[0]
        return major >= (_TENSOR_CORES if dtype == "fp16" else _NATIVE_BF16)

    def refusal(self, device: torch.device) -> str | None:
        if torch.version.hip:
            return None  # its architectures have names, not numbers that can be compared
        capability, has_code = torch.cuda.get_device_capability(device), built_for()
        if not has_code or has_code_for(capability, has_code):
            return None
        return (
            f"{torch.cuda.get_device_name(device)} has compute capability {capability[0]}.{capability[1]}; "
            f"torch {torch.__version__} was built for {' '.join(has_code)}"
        )

    def begin_world(self, device: torch.device) -> str | None:
        """NCCL, which takes the current device for the process's own."""
        torch.cuda.set_device(device)
        return "nccl"


def has_code_for(capability: tuple[int, int], architectures: Sequence[str]) -> bool:
    """Whether a torch with code for `architectures` (`sm_80`, `compute_120`) runs on such a card.

    A cubin of sm_XY runs on X.Z with Z ≥ Y, PTX of compute_XY on that and all that came later (CUDA C++
    Programming Guide, "Binary Compatibility", "PTX Compatibility"); one with a letter on its own card alone.
    """
    major, minor = capability
    for name in architectures:
        kind, _, number = name.partition("_")
        if not number.isdecimal():
            if number[:-1] == f"{major}{minor}":
                return True
            continue
        its_major, its_minor = int(number[:-1]), int(number[-1])
        if kind == "compute" and (its_major, its_minor) <= (major, minor):
            return True
        if kind == "sm" and its_major == major and its_minor <= minor:
            return True
    return False


def built_for() -> tuple[str, ...]:
    """The architectures that this torch has code for; empty without a GPU that it can use."""
    return tuple(torch.cuda.get_arch_list())


def wheel_for(capability: tuple[int, int]) -> str:
    """Which build of torch has code for a card, in words that say how to get it."""
    index = "pip install torch torchvision --index-url https://download.pytorch.org/whl/"
    if capability < (7, 5):
        return (
            f"builds for CUDA 12.6 were the last for cards before Turing (7.5): {index}cu126 "
            "(it may be an older torch; petbench needs 2.5)"
        )
    if capability >= (10, 0):
        return f"Blackwell needs a build for CUDA 12.8 or newer: {index}cu128"
    return f"any build for CUDA 12 has code for it: {index}cu126"


ACCELERATORS: dict[str, Accelerator] = {"cuda": Cuda(), "cpu": Cpu()}
"""By torch's type of device, best first."""


def allow_tf32(*, convolutions: bool, products: bool) -> None:
    """Whether float32 may be computed in TF32, of all devices that have it; torch begins with True, False."""
    torch.backends.cudnn.allow_tf32 = convolutions
    torch.backends.cuda.matmul.allow_tf32 = products


def accelerator_of(device: torch.device) -> Accelerator:
    """What to ask about a device."""
    return ACCELERATORS[device.type]


def runs_ahead(device: torch.device) -> bool:
    """Whether the host only queues work for the device."""
    return accelerator_of(device).runs_ahead


def fetched(results: Iterable[tuple[Tensor, T]], device: torch.device) -> Iterator[tuple[Tensor, T]]:
    """Each tensor of the device on the host, and what came with it, in their order.

    Where the host runs ahead it waits for none before the device has the next ones to do.
    """
    own = accelerator_of(device)
    return in_turn(
        ((own.fetch(tensor), beside) for tensor, beside in results), BEHIND if own.runs_ahead else 0
    )


def default_device() -> torch.device:
    """The first device of the best kind that is here."""
    return torch.device(next(kind for kind, one in ACCELERATORS.items() if one.count()))


def find_device(name: str) -> torch.device:
    """`auto` (the first GPU, else the CPU), `cpu`, `cuda` or `cuda:N`.

    From here on the process computes float32 in float32; a run's recipe may say otherwise (`stated`).

    Raises:
        UserError: no such device here, or this torch has no code for it.
    """
    allow_tf32(convolutions=False, products=False)
    if name == "auto":
        return _usable(default_device())
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ACCELERATORS:
        raise UserError(f"no device {name!r}", where="--device", allowed="auto, cpu, cuda, cuda:N")
    here = accelerator_of(device)
    if (device.index or 0) >= here.count() and device.type != "cpu":
        raise UserError(
            f"no device {name!r}: torch sees {here.count()} {here.word}s",
            where="--device",
            hint="petbench doctor says what is wrong with the driver",
        )
    return _usable(device)


def _usable(device: torch.device) -> torch.device:
    """The device. Raises: UserError, where this torch cannot compute on it."""
    refusal = accelerator_of(device).refusal(device)
    if refusal is not None:
        raise UserError(
            f"this torch has no code for the {accelerator_of(device).word}: {refusal}",
            where="--device",
            hint=f"{wheel_for(torch.cuda.get_device_capability(device))}; or --device cpu",
        )
    return device
