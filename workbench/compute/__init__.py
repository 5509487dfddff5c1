"""What a process computes on: the kinds of device there are, their arithmetic, and how they fail."""

from workbench.compute.accelerators import (
    ACCELERATORS,
    Accelerator,
    accelerator_of,
    default_device,
    fetched,
    find_device,
    runs_ahead,
)
from workbench.compute.arithmetic import (
    Dtype,
    arithmetic_name,
    autocast,
    computes_in,
    exact_float32,
    float32_name,
    full_precision,
    stated,
    times_convolutions,
)
from workbench.compute.trouble import Trouble, is_out_of_device_memory, is_want_of_memory, trouble_of

__all__ = [
    "ACCELERATORS",
    "Accelerator",
    "Dtype",
    "Trouble",
    "accelerator_of",
    "arithmetic_name",
    "autocast",
    "computes_in",
    "default_device",
    "exact_float32",
    "fetched",
    "find_device",
    "float32_name",
    "full_precision",
    "is_out_of_device_memory",
    "is_want_of_memory",
    "runs_ahead",
    "stated",
    "times_convolutions",
    "trouble_of",
]
