"""Whole runs on a GPU that is not there, a process each; `absent_gpu` tells what they can and cannot see."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.train.absent_gpu import CASES

pytestmark = pytest.mark.slow


def _run(tmp_path: Path, case: str, *planted: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.train.absent_gpu", case, str(tmp_path), *planted]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("case", CASES)
def test_a_run_goes_through_a_gpus_branches_without_a_mix_up_or_a_wait(case: str, tmp_path: Path) -> None:
    ended = _run(tmp_path, case)
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    operations, in_lane, looks = (int(word) for word in ended.stdout.split() if word.isdecimal())
    assert operations > 5000  # it did run there
    assert in_lane or case not in ("supervised", "kept_maps", "fixmatch")  # drawn beside the steps
    assert looks


@pytest.mark.parametrize(
    ("planted", "said"),
    [
        ("mixup", "MixUp: add of tensors on ['cpu', 'meta']"),
        ("read", "HostRead: _local_scalar_dense asks"),
        ("read each", "HostRead: _to_copy asks"),
        ("wait for each", "HostRead: the host waited for a batch's results"),
        ("unjoined", "uses what another makes in the lane"),
        ("let go", "Race: index_select in the lane uses what another makes in the steps"),
    ],
)
def test_a_fault_that_is_planted_is_found(planted: str, said: str, tmp_path: Path) -> None:
    ended = _run(tmp_path, "supervised", planted)
    assert ended.returncode == 1
    assert said in ended.stdout
