"""The device that a command in the foreground computes on: it never waits, so it takes one that is free."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from workbench.support.errors import UserError

if TYPE_CHECKING:
    import torch


def foreground_device(name: str) -> torch.device:
    """`auto`, `cpu`, `cuda`, `cuda:N` or several with commas; of several devices one that no run has.

    Raises:
        UserError: no such device here, or this torch has no code for it.
    """
    from workbench.compute import find_device
    from workbench.jobs.device import wanted_devices
    from workbench.jobs.lease import choose_free

    chosen = choose_free(wanted_devices(name))
    if chosen.is_slice:
        os.environ.update(chosen.alone)  # CUDA shows a process one slice, the one that it names
    try:
        return find_device(chosen.name_alone if chosen.is_slice else chosen.name)
    except UserError:
        if name != "auto":
            raise
        return find_device(name)  # the driver has it, and torch cannot use it
