"""Memory that is freed is used again."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from workbench.train.host import keep_freed_memory

BYTES = 200 * 2**20
PROGRAM = f"""
import resource, sys
import torch
from workbench.train.host import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
for round in range(6):
    if round == 3:  # by then it has found its place between what else the process keeps
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.empty({BYTES}, dtype=torch.uint8).fill_(1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(mode: str) -> int:
    """Pages that the kernel had to map while a large tensor was made and dropped three times."""
    command = [sys.executable, "-c", PROGRAM, mode]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(not keep_freed_memory(), reason="another C library than glibc")
def test_a_large_tensor_that_was_dropped_costs_no_new_pages() -> None:
    pages = BYTES // resource.getpagesize()
    assert _faults("keep") < pages / 10
    assert _faults("leave") > _faults("keep")
