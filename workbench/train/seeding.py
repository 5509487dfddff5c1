"""Seeds for torch's own generators, which dropout and stochastic depth draw from."""

from __future__ import annotations

import torch

from workbench.support.fingerprint import fingerprint


def seed_of(*parts: object) -> int:
    """60 bits that stand for `parts`."""
    return int(fingerprint(list(parts))[:15], 16)


def seed_device(seed: int, device: torch.device) -> None:
    """`torch.manual_seed` for the CPU and one device.

    Torch's own also notes, for each kind of accelerator that is not in use, the stack of calls that led to
    it: a millisecond, and memory that is never given back.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[_index(device)].manual_seed(seed)


def _index(device: torch.device) -> int:
    return torch.cuda.current_device() if device.index is None else device.index
