"""How many threads small work gets."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one CPU thread.

    A head on cached features is a few million multiplications a step: handing them to other threads costs
    more than they save, and on a busy machine each hand-over waits for the slowest.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
